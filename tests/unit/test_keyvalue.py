"""Keys and values of all layers in one buffer, and what is handed out of it."""

from __future__ import annotations

import pytest
import torch
from pack.ip_models.keyvalue import NEGATIVE, POSITIVE, KeyValues
from torch import Tensor

WIDTHS, TOKENS = (4, 8, 2), 5
LIKE = torch.zeros(1)
Layers = list[tuple[Tensor, Tensor]]


def layers() -> Layers:
    generator = torch.Generator().manual_seed(6)
    shapes = [(2, TOKENS, width) for width in WIDTHS]
    return [
        (torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))
        for shape in shapes
    ]


@pytest.mark.parametrize(
    "rows",
    [
        (POSITIVE,),
        (NEGATIVE,),
        (NEGATIVE, POSITIVE),
        (POSITIVE, NEGATIVE),
        (POSITIVE, POSITIVE, NEGATIVE),
    ],
    ids=str,
)
@pytest.mark.parametrize("position", range(len(WIDTHS)))
def test_each_layer_gets_back_what_was_packed_in_the_order_of_the_rows(
    position: int, rows: tuple[int, ...]
) -> None:
    key, value = KeyValues.pack(layers()).layer(position, rows, LIKE)
    expected_key, expected_value = layers()[position]
    assert key.shape == value.shape == (len(rows), TOKENS, WIDTHS[position])
    assert torch.equal(key, expected_key[list(rows)])
    assert torch.equal(value, expected_value[list(rows)])


def test_the_packed_buffer_has_the_positive_row_first() -> None:
    packed = KeyValues.pack(layers())
    assert (POSITIVE, NEGATIVE) == (0, 1)
    assert packed.widths == WIDTHS and packed.tokens == TOKENS
    assert packed.packed.shape == (2, 2 * TOKENS * sum(WIDTHS))
    assert torch.equal(packed.packed[0, : TOKENS * 4], layers()[0][0][0].flatten())
    assert packed.nbytes == 2 * 2 * TOKENS * sum(WIDTHS) * 4


def test_a_scale_is_for_the_values_and_not_for_the_keys() -> None:
    factors = [0.5, 0.0, -2.0]
    scaled = KeyValues.pack(layers()).scaled(factors)
    for position, factor in enumerate(factors):
        key, value = scaled.layer(position, (POSITIVE, NEGATIVE), LIKE)
        assert torch.equal(key, layers()[position][0])
        assert torch.equal(value, layers()[position][1] * factor)


def test_scaling_leaves_the_original_alone() -> None:
    packed = KeyValues.pack(layers())
    before = packed.packed.clone()
    packed.layer(0, (POSITIVE,), LIKE)
    scaled = packed.scaled([0.0] * 3)
    assert torch.equal(packed.packed, before)
    assert scaled.packed.data_ptr() != packed.packed.data_ptr()
    assert torch.equal(packed.layer(0, (POSITIVE,), LIKE)[1], layers()[0][1][:1])
    assert not scaled.layer(0, (POSITIVE,), LIKE)[1].any()


@pytest.mark.parametrize("factors", [[1.0] * 2, [1.0] * 4], ids=len)
def test_a_factor_is_needed_for_each_layer(factors: list[float]) -> None:
    with pytest.raises(ValueError, match="shorter|longer"):
        KeyValues.pack(layers()).scaled(factors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_is_that_of_the_query(dtype: torch.dtype) -> None:
    packed = KeyValues.pack(layers())
    key, value = packed.layer(1, (POSITIVE,), torch.zeros(1, dtype=dtype))
    assert key.dtype is value.dtype is dtype
    assert torch.equal(value, layers()[1][1][:1].to(dtype))
    assert packed.packed.dtype is torch.float32


def test_all_layers_share_one_copy_until_it_is_released() -> None:
    packed = KeyValues.pack(layers())

    def storages() -> set[int]:
        rows = (NEGATIVE, POSITIVE)
        pairs = [packed.layer(position, rows, LIKE) for position in range(len(WIDTHS))]
        return {half.untyped_storage().data_ptr() for pair in pairs for half in pair}

    first = storages()
    assert len(first) == 1 and storages() == first
    kept = packed.layer(0, (NEGATIVE, POSITIVE), LIKE)[0]
    packed.release()
    assert storages() != first
    assert torch.equal(kept, layers()[0][0][[NEGATIVE, POSITIVE]])


def test_other_rows_and_other_types_have_copies_of_their_own() -> None:
    packed = KeyValues.pack(layers())
    both = packed.layer(0, (NEGATIVE, POSITIVE), LIKE)[0]
    swapped = packed.layer(0, (POSITIVE, NEGATIVE), LIKE)[0]
    assert torch.equal(both[0], swapped[1]) and not torch.equal(both, swapped)
    assert packed.layer(0, (NEGATIVE, POSITIVE), LIKE.double())[0].dtype is torch.float64
    assert packed.layer(0, (NEGATIVE, POSITIVE), LIKE)[0].dtype is torch.float32
