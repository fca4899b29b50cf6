"""Keys and values of all layers, row by row, and what is handed out of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.ip_models.attention.keyvalue import (
    COND,
    NO_REFERENCE,
    UNCOND,
    KeyValues,
    KvScaling,
    Pair,
    Row,
)
from torch import Tensor

WIDTHS, TOKENS = (4, 8, 2), 5
CPU, SINGLE = torch.device("cpu"), torch.float32
BOTH = (Row(COND), Row(UNCOND))
SCALINGS = [scaling for scaling in KvScaling if scaling is not KvScaling.V_ONLY]


def layers(
    rows: int = 1, dtype: torch.dtype = SINGLE, tokens: int = TOKENS, seed: int = 6
) -> list[Pair]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(rows, tokens, width, generator=generator).to(dtype),
            torch.randn(rows, tokens, width, generator=generator).to(dtype),
        )
        for width in WIDTHS
    ]


def without(rows: int = 1, tokens: int = TOKENS, dtype: torch.dtype = SINGLE) -> list[Pair]:
    return layers(rows, dtype, tokens, seed=9)


def packed(rows: int = 1, dtype: torch.dtype = SINGLE) -> KeyValues:
    return KeyValues.pack(layers(rows, dtype), without(rows, dtype=dtype))


def uploads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each transfer from now on."""
    moved: list[int] = []
    original = Tensor.to

    def to(tensor: Tensor, *args: object) -> Tensor:
        if args[:1] == (CPU,):
            moved.append(tensor.nbytes)
        return original(tensor, *args)  # pyright: ignore

    monkeypatch.setattr(Tensor, "to", to)
    return moved


@pytest.mark.parametrize("numbers", [(0,), (1,), (1, 0), (0, 1), (0, 0, 1)], ids=str)
@pytest.mark.parametrize("position", range(len(WIDTHS)))
def test_each_layer_gets_back_what_was_packed_in_the_order_of_the_rows(
    position: int, numbers: tuple[int, ...]
) -> None:
    key, value = packed().on(tuple(Row(source) for source in numbers), CPU, SINGLE)[position]
    assert key.shape == value.shape == (len(numbers), TOKENS, WIDTHS[position])
    expected = layers()[position], without()[position]
    for row, source in enumerate(numbers):
        assert torch.equal(key[row], expected[source][0][0])
        assert torch.equal(value[row], expected[source][1][0])


def test_each_reference_has_a_row_of_layers_one_after_the_other() -> None:
    two = packed(2)
    assert (COND, UNCOND) == (0, 1)
    assert two.widths == WIDTHS and two.tokens == TOKENS and two.references == 2
    assert two.cond.shape == two.uncond.shape == (2, 2 * TOKENS * sum(WIDTHS))
    assert torch.equal(two.cond[0, : TOKENS * 4], layers(2)[0][0][0].flatten())
    assert two.nbytes == 2 * two.cond.nbytes


def test_no_reference_and_a_weight_of_nought_are_exactly_nothing() -> None:
    rows = (Row(NO_REFERENCE), Row(COND, 0.0), Row(COND))
    key, value = packed().on(rows, CPU, SINGLE)[1]
    assert not key[:2].any() and not value[:2].any()
    assert torch.equal(value[2], layers()[1][1][0])


def test_weighting_leaves_the_original_alone() -> None:
    original = packed()
    before = original.cond.clone(), original.uncond.clone()
    scaled = original.weighted([0, 0, 0], KvScaling.K_V)
    assert torch.equal(original.cond, before[0]) and torch.equal(original.uncond, before[1])
    assert torch.equal(original.on(BOTH, CPU, SINGLE)[0][1][:1], layers()[0][1])
    assert not any(half.any() for pair in scaled.on(BOTH, CPU, SINGLE) for half in pair)


@pytest.mark.parametrize("count", [2, 4])
def test_a_factor_is_needed_for_each_layer(count: int) -> None:
    with pytest.raises(ValueError, match="shorter|longer"):
        packed().weighted([1.0] * count, KvScaling.K_V)


def by_the_book(
    key: Tensor, value: Tensor, weight: float, scaling: KvScaling
) -> tuple[Tensor, Tensor]:
    """Section 4.2 of the specification, `C` being the width of the layer."""
    penalised = weight * key.shape[-1] / 1280
    if scaling is KvScaling.K_V:
        return weight * key, weight * value
    if scaling is KvScaling.K_V_PENALTY:
        return penalised * key, penalised * value
    mean = value.mean(1, keepdim=True)
    return penalised * key, (value - mean) + penalised * mean


@settings(max_examples=40, deadline=None, database=None)
@given(
    scaling=st.sampled_from(SCALINGS),
    factor=st.floats(-3, 3),
    call=st.lists(st.floats(0.01, 3), min_size=1, max_size=3),
    source=st.sampled_from([COND, UNCOND]),
)
def test_scaling_follows_its_formula_with_the_weight_of_the_call(
    scaling: KvScaling, factor: float, call: list[float], source: int
) -> None:
    scaled = packed(dtype=torch.float64).weighted([factor] * 3, scaling, changing=True)
    rows = tuple(Row(source, weight) for weight in call)
    key, value = scaled.on(rows, CPU, torch.float64)[1]
    original = (layers, without)[source](dtype=torch.float64)[1]
    for i, weight in enumerate(call):
        expected = by_the_book(*original, factor * weight, scaling)
        assert torch.allclose(key[i], expected[0][0], atol=1e-12)
        assert torch.allclose(value[i], expected[1][0], atol=1e-12)


def test_without_a_slope_the_weight_of_a_call_is_left_to_the_attention() -> None:
    key, value = packed().on((Row(COND, 0.5),), CPU, SINGLE)[0]
    assert torch.equal(key, layers()[0][0]) and torch.equal(value, layers()[0][1])


def joined(rows: list[Pair]) -> list[Pair]:
    return [(key.flatten(0, 1)[None], value.flatten(0, 1)[None]) for key, value in rows]


@pytest.mark.parametrize("shared", [False, True])
def test_joined_references_come_apart(shared: bool) -> None:
    single, negative = layers(3), without(1 if shared else 3)
    together = KeyValues.pack(joined(single), joined(negative))
    assert together.references == 1 and together.tokens == 3 * TOKENS
    apart = together.apart(range(3))
    assert apart.references == 3 and apart.tokens == TOKENS
    assert len(apart.uncond) == (1 if shared else 3)
    found = apart.on(tuple(Row(i) for i in range(6)), CPU, SINGLE)
    for pair, one, other in zip(found, single, negative, strict=True):
        for half, positive, no_picture in zip(pair, one, other, strict=True):
            assert torch.equal(half[:3], positive)
            assert torch.equal(half[3:], no_picture.expand_as(positive))


def test_what_all_share_without_a_reference_stands_for_as_many_times_itself() -> None:
    together = KeyValues.pack(joined(layers(3)), without(1))
    key, value = together.on((Row(UNCOND), Row(COND)), CPU, SINGLE)[1]
    assert together.uncond.nbytes * 3 == together.cond.nbytes
    assert torch.equal(key[:1], without()[1][0].repeat(1, 3, 1))
    assert torch.equal(value[:1], without()[1][1].repeat(1, 3, 1))
    assert torch.equal(value[1:], layers(3)[1][1].flatten(0, 1)[None])
    query = torch.randn(1, 7, WIDTHS[1], generator=torch.Generator().manual_seed(1))
    attend = torch.nn.functional.scaled_dot_product_attention
    assert torch.allclose(attend(query, key[:1], value[:1]), attend(query, *without()[1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_is_that_of_the_query(dtype: torch.dtype) -> None:
    original = packed()
    key, value = original.on((Row(COND),), CPU, dtype)[1]
    assert key.dtype is value.dtype is dtype
    assert torch.equal(value, layers()[1][1].to(dtype))
    assert original.cond.dtype is torch.float32


def test_all_layers_share_one_copy_until_it_is_released() -> None:
    original = packed()

    def storages() -> set[int]:
        pairs = original.on(BOTH, CPU, SINGLE)
        return {half.untyped_storage().data_ptr() for pair in pairs for half in pair}

    first = storages()
    assert len(first) == 1 and storages() == first
    kept = original.on(BOTH, CPU, SINGLE)[0][0]
    original.release()
    assert storages() != first
    assert torch.equal(kept[:1], layers()[0][0])


def test_only_the_rows_that_are_asked_for_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    twenty = packed(20)
    moved = uploads(monkeypatch)
    rows = tuple(Row(i) for i in (3, 4, 23, 24))
    copy = twenty.on(rows, CPU, SINGLE)[0][0].untyped_storage().nbytes()
    assert moved == [copy] == [len(rows) * twenty.cond[0].nbytes]


def test_every_row_is_uploaded_once_however_many_windows_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = KeyValues.pack(layers(20), without(1))
    moved = uploads(monkeypatch)
    for _ in range(3):
        for first in range(0, 17, 2):
            sources = [20] * 4 + list(range(first, first + 4))
            value = frames.on(tuple(Row(i) for i in sources), CPU, SINGLE)[1][1]
            assert torch.equal(value[4:], layers(20)[1][1][first : first + 4])
            assert torch.equal(value[:4], without()[1][1].expand(4, -1, -1))
    assert sum(moved) == 21 * frames.cond[0].nbytes


def test_what_is_held_on_a_device_is_bounded() -> None:
    """Besides what was made last; by windows that share a row, and by those that share none."""
    frames = KeyValues.pack(layers(20), without(1))
    row = frames.cond[0].nbytes
    frames.allow(8 * row)
    for windows in ([(i, 20) for i in range(20)], [(i, i + 1) for i in range(0, 20, 2)]):
        for window in windows:
            frames.on(tuple(Row(i) for i in window), CPU, SINGLE)
        assert sum(held.nbytes for held in frames._moved._held.values()) <= (4 + 2) * row
        assert len(frames._uploaded[CPU, SINGLE]) <= 4
        frames.release()


def test_what_grows_shares_the_bound_with_its_slope() -> None:
    grown = packed(20).weighted([1, 1, 1], KvScaling.K_V, changing=True)
    assert grown.slope is not None
    row = grown.cond[0].nbytes
    grown.allow(16 * row)
    for i in range(20):
        grown.on((Row(i, 0.5), Row(20 + i, 0.9)), CPU, SINGLE)
    stores = [grown._moved._held, grown.slope._moved._held]
    held = sum(one.nbytes for store in stores for one in store.values())
    kept = [keys._uploaded[CPU, SINGLE] for keys in (grown, grown.slope)]
    assert held + row * sum(map(len, kept)) <= (16 + 2 * 2) * row


def test_a_schedule_over_steps_moves_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = packed().weighted([1, 1, 1], KvScaling.K_V, changing=True)
    scaled.on((Row(COND, 0.9), Row(UNCOND, 0.9)), CPU, SINGLE)
    moved = uploads(monkeypatch)
    key, value = scaled.on((Row(COND, 0.5), Row(UNCOND, 0.5)), CPU, SINGLE)[0]
    half = scaled.on((Row(COND, 0.5), Row(UNCOND, 0.0)), CPU, SINGLE)[0][1]
    assert moved == []
    assert torch.allclose(value[:1], layers()[0][1] * 0.5)
    assert torch.allclose(key[:1], layers()[0][0] * 0.5)
    assert torch.equal(half[0], value[0]) and not half[1].any()


def test_the_mean_of_values_is_that_of_each_reference() -> None:
    first, second = layers(tokens=3, seed=1), layers(tokens=3, seed=2)
    joined = [
        (torch.cat((k, other_k), 1), torch.cat((v, other_v), 1))
        for (k, v), (other_k, other_v) in zip(first, second, strict=True)
    ]
    scaling, factors = KvScaling.K_MEAN_V_PENALTY, [100.0, 50.0, 300.0]
    together = KeyValues.pack(joined, without(tokens=3)).weighted(
        factors, scaling, changing=True, tokens_each=3
    )
    alone = [
        KeyValues.pack(one, without(tokens=3)).weighted(factors, scaling, changing=True)
        for one in (first, second)
    ]
    for weight in (1.0, 0.4):
        rows = (Row(COND, weight),)
        expected = [
            torch.cat(halves, 1)
            for pairs in zip(*(one.on(rows, CPU, SINGLE) for one in alone), strict=True)
            for halves in zip(*pairs, strict=True)
        ]
        found = [half for pair in together.on(rows, CPU, SINGLE) for half in pair]
        assert all(map(torch.equal, found, expected))
    plain = KeyValues.pack(joined, without(tokens=3)).weighted(factors, scaling)
    assert not torch.allclose(plain.cond, together.cond)
