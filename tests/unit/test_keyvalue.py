"""Keys and values of all layers in one buffer, and what is handed out of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.ip_models.attention.keyvalue import COND, NO_REFERENCE, UNCOND, KeyValues, KvScaling, Row
from pack.ip_models.weights.gains import Gain
from torch import Tensor

WIDTHS, TOKENS = (4, 8, 2), 5
LIKE = torch.zeros(1)
BOTH = (Row(COND), Row(UNCOND))
Layers = list[tuple[Tensor, Tensor]]


def layers(rows: int = 2, dtype: torch.dtype = torch.float32) -> Layers:
    generator = torch.Generator().manual_seed(6)
    shapes = [(rows, TOKENS, width) for width in WIDTHS]
    return [
        (
            torch.randn(shape, generator=generator).to(dtype),
            torch.randn(shape, generator=generator).to(dtype),
        )
        for shape in shapes
    ]


def plain(*factors: float) -> list[Gain]:
    return [Gain(factor) for factor in factors]


@pytest.mark.parametrize("sources", [(0,), (1,), (1, 0), (0, 1), (0, 0, 1)], ids=str)
@pytest.mark.parametrize("position", range(len(WIDTHS)))
def test_each_layer_gets_back_what_was_packed_in_the_order_of_the_rows(
    position: int, sources: tuple[int, ...]
) -> None:
    rows = tuple(Row(source) for source in sources)
    key, value = KeyValues.pack(layers()).layer(position, rows, LIKE)
    expected_key, expected_value = layers()[position]
    assert key.shape == value.shape == (len(rows), TOKENS, WIDTHS[position])
    assert torch.equal(key, expected_key[list(sources)])
    assert torch.equal(value, expected_value[list(sources)])


def test_the_packed_buffer_has_the_rows_of_cond_first() -> None:
    packed = KeyValues.pack(layers())
    assert (COND, UNCOND) == (0, 1)
    assert packed.widths == WIDTHS and packed.tokens == TOKENS
    assert packed.packed.shape == (2, 2 * TOKENS * sum(WIDTHS))
    assert torch.equal(packed.packed[0, : TOKENS * 4], layers()[0][0][0].flatten())


def test_no_reference_and_a_weight_of_nought_are_exactly_nothing() -> None:
    packed = KeyValues.pack(layers()).weighted(plain(1, 1, 1), changing=True)
    key, value = packed.layer(1, (Row(NO_REFERENCE), Row(COND, 0.0), Row(COND)), LIKE)
    assert not key[:2].any() and not value[:2].any()
    assert torch.equal(value[2], layers()[1][1][0])


def test_a_factor_is_for_the_values_and_not_for_the_keys() -> None:
    factors = [0.5, 0.0, -2.0]
    scaled = KeyValues.pack(layers()).weighted(plain(*factors))
    for position, factor in enumerate(factors):
        key, value = scaled.layer(position, BOTH, LIKE)
        assert torch.equal(key, layers()[position][0])
        assert torch.equal(value, layers()[position][1] * factor)


def test_weighting_leaves_the_original_alone() -> None:
    packed = KeyValues.pack(layers())
    before = packed.packed.clone()
    scaled = packed.weighted(plain(0, 0, 0))
    assert torch.equal(packed.packed, before)
    assert torch.equal(packed.layer(0, BOTH[:1], LIKE)[1], layers()[0][1][:1])
    assert not scaled.layer(0, BOTH[:1], LIKE)[1].any()


@pytest.mark.parametrize("count", [2, 4])
def test_a_gain_is_needed_for_each_layer(count: int) -> None:
    with pytest.raises(ValueError, match="shorter|longer"):
        KeyValues.pack(layers()).weighted([Gain()] * count)


def test_a_swapped_layer_has_no_reference_for_cond_and_that_of_cond_for_uncond() -> None:
    gains = [Gain(), Gain(0.5, swapped=True), Gain()]
    swapped = KeyValues.pack(layers()).weighted(gains)
    key, value = swapped.layer(1, BOTH, LIKE)
    assert not key[0].any() and not value[0].any()
    assert torch.equal(key[1], layers()[1][0][0])
    assert torch.equal(value[1], layers()[1][1][0] * 0.5)
    assert torch.equal(swapped.layer(0, BOTH, LIKE)[1], layers()[0][1])


def by_the_book(
    key: Tensor, value: Tensor, weight: float, scaling: KvScaling
) -> tuple[Tensor, Tensor]:
    """Section 4.2 of the specification, `C` being the width of the layer."""
    penalised = weight * key.shape[-1] / 1280
    if scaling is KvScaling.V_ONLY:
        return key, weight * value
    if scaling is KvScaling.K_V:
        return weight * key, weight * value
    if scaling is KvScaling.K_V_PENALTY:
        return penalised * key, penalised * value
    mean = value.mean(1, keepdim=True)
    return penalised * key, (value - mean) + penalised * mean


@settings(max_examples=40, deadline=None, database=None)
@given(
    scaling=st.sampled_from(list(KvScaling)),
    factor=st.floats(-3, 3),
    call=st.lists(st.floats(0.01, 3), min_size=1, max_size=3),
)
def test_scaling_follows_its_formula_with_the_weight_of_the_call(
    scaling: KvScaling, factor: float, call: list[float]
) -> None:
    packed = KeyValues.pack(layers(dtype=torch.float64))
    gains = plain(factor, factor, factor)
    rows = tuple(Row(COND, weight) for weight in call)
    key, value = packed.weighted(gains, scaling, changing=True).layer(1, rows, LIKE.double())
    for i, weight in enumerate(call):
        original = [half[:1] for half in layers(dtype=torch.float64)[1]]
        expected = by_the_book(original[0], original[1], factor * weight, scaling)
        assert torch.allclose(key[i], expected[0][0], atol=1e-12)
        assert torch.allclose(value[i], expected[1][0], atol=1e-12)


def test_joined_references_come_apart() -> None:
    single = layers(6)  # three references, positive rows first
    joined = [tuple(half.unflatten(0, (2, 3)).flatten(1, 2) for half in pair) for pair in single]
    packed = KeyValues.pack([(key, value) for key, value in joined])
    assert packed.references == 1 and packed.tokens == 3 * TOKENS
    apart = packed.apart(range(3))
    assert apart.references == 3 and apart.tokens == TOKENS
    rows = tuple(Row(i) for i in range(6))
    for position, (key, value) in enumerate(single):
        found = apart.layer(position, rows, LIKE)
        assert torch.equal(found[0], key)
        assert torch.equal(found[1], value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_is_that_of_the_query(dtype: torch.dtype) -> None:
    packed = KeyValues.pack(layers())
    key, value = packed.layer(1, (Row(COND),), torch.zeros(1, dtype=dtype))
    assert key.dtype is value.dtype is dtype
    assert torch.equal(value, layers()[1][1][:1].to(dtype))
    assert packed.packed.dtype is torch.float32


def test_all_layers_share_one_copy_until_it_is_released() -> None:
    packed = KeyValues.pack(layers())

    def storages() -> set[int]:
        pairs = [packed.layer(position, BOTH, LIKE) for position in range(len(WIDTHS))]
        return {half.untyped_storage().data_ptr() for pair in pairs for half in pair}

    first = storages()
    assert len(first) == 1 and storages() == first
    kept = packed.layer(0, BOTH, LIKE)[0]
    packed.release()
    assert storages() != first
    assert torch.equal(kept, layers()[0][0])


def test_only_the_rows_that_are_asked_for_are_copied() -> None:
    packed = KeyValues.pack(layers(40))
    assert packed.references == 20
    rows = tuple(Row(i) for i in (3, 4, 23, 24))
    copy = packed.layer(0, rows, LIKE)[0].untyped_storage().nbytes()
    assert copy == len(rows) * packed.packed[0].nbytes


def test_a_schedule_over_steps_moves_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = KeyValues.pack(layers()).weighted(plain(1, 1, 1), changing=True)
    packed.layer(0, (Row(COND, 0.9), Row(UNCOND, 0.9)), LIKE)
    packed.layer(0, (Row(COND, 0.9), Row(UNCOND, 0.0)), LIKE)
    moves: list[object] = []
    original = Tensor.to
    monkeypatch.setattr(Tensor, "to", lambda *args: (moves.append(args), original(*args))[1])
    value = packed.layer(0, (Row(COND, 0.5), Row(UNCOND, 0.5)), LIKE)[1]
    half = packed.layer(0, (Row(COND, 0.5), Row(UNCOND, 0.0)), LIKE)[1]
    assert moves == []
    assert torch.allclose(value, layers()[0][1] * 0.5)
    assert torch.equal(half[0], value[0]) and not half[1].any()
