"""Which image prompt is active in which call and chunk, and that stacks are never changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from pack.ip_models.attention.call import BatchMode, Call, CondChunk
from pack.ip_models.attention.keyvalue import COND, NO_REFERENCE, UNCOND, KeyValues, Row
from pack.ip_models.attention.masks import Crop, RegionMask
from pack.ip_models.attention.prompt import ImagePrompt, LayerPlace
from pack.ip_models.attention.stack import PromptStack
from pack.ip_models.unet.address import LayerAddress
from pack.ip_models.weights.schedule import Ramp, SigmaWindow

CHUNKS = (CondChunk(UNCOND), CondChunk(COND))
EARLY, LATE = SigmaWindow(start=14.6, end=5.0), SigmaWindow(start=5.0, end=0.0)
MIDDLE, OTHER = LayerAddress("middle", 0, 0), LayerAddress("input", 1, 0)
CPU, SINGLE = torch.device("cpu"), torch.float32
LABELS: dict[ImagePrompt, str] = {}


def prompt(
    window: SigmaWindow | None = None, label: str = "a", references: int = 1, **options: Any
) -> ImagePrompt:
    pair = torch.ones(references, 3, 4), torch.ones(references, 3, 4)
    options = {"mask": RegionMask(torch.ones(4, 4))} | options
    keys = KeyValues.pack([pair], [pair])
    made = ImagePrompt(keys=keys, layers={MIDDLE: LayerPlace(0)}, window=window, **options)
    LABELS[made] = label
    return made


def at(sigma: float | None) -> Call:
    return Call(CHUNKS, sigma=sigma)


def video(*frames: int, total: int, chunks: tuple[CondChunk, ...] = CHUNKS, **options: Any) -> Call:
    return Call(chunks, frames, total, **options)


def active(stack: PromptStack, sigma: float | None) -> list[str]:
    return [LABELS[one.prompt] for one in stack.at(at(sigma)).prompts]


def rows(one: ImagePrompt, call: Call) -> tuple[Row, ...]:
    found = one.at(call)
    assert found is not None
    return found.rows


@pytest.mark.parametrize(
    ("sigma", "inside"),
    [(14.7, False), (14.6, True), (9.0, True), (5.0, True), (4.999, False), (0.0, False)],
)
def test_a_window_holds_both_its_ends_and_nothing_beyond(sigma: float, inside: bool) -> None:
    assert EARLY.contains(sigma) is inside


def test_prompts_are_active_in_their_windows_and_in_their_order() -> None:
    stack = PromptStack()
    for window, label in [(LATE, "late"), (None, "always"), (EARLY, "early")]:
        stack = stack.add(prompt(window, label))
    assert active(stack, 9.0) == ["always", "early"]
    assert active(stack, 5.0) == ["late", "always", "early"]
    assert active(stack, 1.0) == ["late", "always"]
    assert active(stack, 99.0) == ["always"]


def test_a_window_between_two_noise_levels_is_never_active() -> None:
    stack = PromptStack().add(prompt(SigmaWindow(start=3.0, end=4.0)))
    assert active(stack, 3.5) == []


def test_the_noise_level_is_needed_only_where_somebody_asks_for_it() -> None:
    always = PromptStack().add(prompt(frames=(Ramp(1, 0),)))
    assert not PromptStack().needs_sigma and not always.needs_sigma
    assert always.add(prompt(EARLY)).needs_sigma
    assert always.add(prompt(steps=(Ramp(1, 0),))).needs_sigma
    assert active(always, None) == ["a"]


def test_a_noise_level_that_is_not_known_closes_no_window() -> None:
    stack = PromptStack().add(prompt(EARLY, "early")).add(prompt(LATE, "late"))
    assert active(stack, None) == ["early", "late"]


def test_windows_follow_the_noise_schedule_that_is_used() -> None:
    window = SigmaWindow(3.0, 1.0, percents=(0.0, 0.5))
    stack = PromptStack().add(prompt(window), prompt(EARLY), prompt())
    again = stack.under(lambda percent: 100 * (1 - percent))
    assert [one.window for one in again.prompts] == [
        SigmaWindow(100.0, 50.0, percents=(0.0, 0.5)),
        EARLY,
        None,
    ]
    assert again.prompts[2] is stack.prompts[2]
    assert stack.prompts[0].window == window


def test_cond_and_uncond_pick_their_rows() -> None:
    assert rows(prompt(), at(None)) == (Row(UNCOND), Row(COND))


def test_a_bound_reference_is_for_its_conditioning_only() -> None:
    mark = "the mark of a Bind node"
    both = CondChunk(COND, bindings=frozenset({mark, "another"}))
    chunks = (CondChunk(UNCOND), CondChunk(COND), both)
    bound = prompt(binding=mark)
    assert rows(bound, Call(chunks)) == (Row(NO_REFERENCE), Row(NO_REFERENCE), Row(COND))
    assert bound.at(at(None)) is None
    assert rows(prompt(), Call(chunks)) == (Row(UNCOND), Row(COND), Row(COND))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (BatchMode.REPEAT_LAST, [0, 1, 2, 2, 2, 2, 2]),
        (BatchMode.LOOP, [0, 1, 2, 0, 1, 2, 0]),
        (BatchMode.SPREAD, [0, 0, 0, 1, 1, 2, 2]),
    ],
)
def test_each_picture_gets_a_reference_of_its_own(mode: BatchMode, expected: list[int]) -> None:
    three = prompt(references=3, batch=mode, mask=RegionMask(torch.rand(3, 4, 4)))
    call = video(*range(7), total=7)
    uncond = [Row(3 + i) for i in expected]
    assert rows(three, call) == (*uncond, *(Row(i) for i in expected))
    found = three.at(call)
    assert found is not None and found.planes == tuple(expected)


def test_a_window_of_frames_gets_the_references_of_its_frames() -> None:
    five = prompt(references=5, batch=BatchMode.REPEAT_LAST)
    call = video(7, 3, 4, total=9, chunks=CHUNKS[1:])
    assert rows(five, call) == (Row(4), Row(3), Row(4))


def test_pictures_with_the_same_reference_share_one_row() -> None:
    two = prompt(references=2, batch=BatchMode.REPEAT_LAST)
    assert rows(two, video(5, 6, 7, total=9)) == (Row(3), Row(1))
    fading = prompt(frames=(Ramp(1, 0),))
    assert len(rows(fading, video(5, 6, total=9))) == 4
    assert len(rows(fading, video(5, total=9))) == 2


def test_weights_of_frames_and_steps_multiply() -> None:
    one = prompt(frames=(Ramp(values=(1.0, 0.5)),), steps=(Ramp(1, 0), Ramp(0.5, 0.5)))
    call = video(0, 1, total=2, chunks=CHUNKS[1:], step=1, steps=5)
    assert rows(one, call) == (Row(COND, 0.375), Row(COND, 0.1875))
    last = video(0, 1, total=2, chunks=CHUNKS[1:], step=4, steps=5)
    assert one.at(last) is None


def test_masks_follow_the_area_of_each_conditioning_and_the_picture() -> None:
    crop = Crop(0, 4, 8, 4, 8, 8)
    chunks = (CondChunk(UNCOND), CondChunk(COND, crop))
    mask = RegionMask(torch.rand(2, 8, 8))
    found = prompt(mask=mask).at(Call(chunks, (0, 1, 2), 3))
    assert found is not None
    assert found.crops == (None, crop) and found.planes == (0, 1, 1)
    ((_, entry),) = found.entries(CPU, SINGLE)
    assert entry.cover is not None
    assert entry.cover.on((4, 4, None), torch.zeros(1)).shape == (6, 16, 1)


def test_the_table_of_a_call_lists_what_each_prompt_adds_to_each_of_its_layers() -> None:
    one = prompt(mask=None)
    two = dataclasses.replace(
        one, layers={MIDDLE: LayerPlace(0, 0.5), OTHER: LayerPlace(0, 2.0)}, steps=(Ramp(1, 0),)
    )
    active = PromptStack((one, two)).at(Call(CHUNKS, step=1, steps=5))
    table = active.table(CPU, SINGLE)
    assert {slot: [one.factor for one in entries] for slot, entries in table.items()} == {
        MIDDLE: [1.0, 0.375],
        OTHER: [1.5],
    }
    entry = table[MIDDLE][0]
    assert entry.key.shape == entry.value.shape == (2, 3, 4) and entry.shares == 2
    assert entry.cover is None
    assert active.table(CPU, SINGLE) is table
    assert active.table(CPU, torch.float16)[MIDDLE][0].key.dtype is torch.float16


def test_a_swapped_layer_has_no_reference_for_cond_and_that_of_cond_for_uncond() -> None:
    pair, other = torch.full((1, 3, 4), 2.0), torch.full((1, 3, 4), 5.0)
    keys = KeyValues.pack([(pair, 3 * pair)], [(other, other)])
    layers = {MIDDLE: LayerPlace(0, 0.5, swapped=True), OTHER: LayerPlace(0)}
    table = PromptStack((ImagePrompt(keys, layers),)).at(at(None)).table(CPU, SINGLE)
    (swapped,), (plain,) = table[MIDDLE], table[OTHER]
    assert torch.equal(swapped.key, torch.cat([pair, 0 * pair]))
    assert torch.equal(swapped.value, torch.cat([3 * pair, 0 * pair]))
    assert torch.equal(plain.key, torch.cat([other, pair]))
    assert (swapped.factor, plain.factor) == (0.5, 1.0)


def test_pictures_with_weights_of_their_own_are_covered_one_by_one() -> None:
    fading = prompt(frames=(Ramp(values=(1.0, 0.5, 0.0)),), mask=None)
    found = fading.at(video(0, 1, 2, total=3))
    assert found is not None
    ((_, entry),) = found.entries(CPU, SINGLE)
    assert entry.factor == 1 and entry.shares == 6 and entry.cover is not None
    assert entry.cover.on(None, torch.zeros(1)).flatten().tolist() == [1, 0.5, 0] * 2
    assert not entry.key[[2, 5]].any()


@pytest.mark.parametrize(
    ("chunks", "references", "uniform"),
    [
        (CHUNKS, 1, False),
        (CHUNKS[1:], 1, True),
        (CHUNKS[1:] * 3, 1, True),
        ((CHUNKS[1], CondChunk(COND, Crop(0, 0, 1, 1, 2, 2))), 1, False),
        (CHUNKS[1:], 2, False),
    ],
)
def test_rows_need_no_name_where_all_attend_to_the_same(
    chunks: tuple[CondChunk, ...], references: int, uniform: bool
) -> None:
    stack = PromptStack((prompt(references=references, batch=BatchMode.LOOP),))
    assert stack.at(video(0, 1, total=2, chunks=chunks)).uniform is uniform


def test_adding_makes_a_new_stack() -> None:
    empty = PromptStack()
    one = empty.add(prompt(label="one"))
    left, right = one.add(prompt(label="left")), one.add(prompt(label="right"))
    assert active(empty, None) == []
    assert active(one, None) == ["one"]
    assert active(left, None) == ["one", "left"]
    assert active(right, None) == ["one", "right"]


@pytest.mark.parametrize(
    ("thing", "name"),
    [(prompt(), "window"), (PromptStack(), "prompts"), (PromptStack().at(at(None)), "prompts")],
    ids=["prompt", "stack", "active"],
)
def test_nothing_can_be_assigned(thing: Any, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(thing, name, None)


def test_cleaning_up_drops_the_copies_of_every_prompt() -> None:
    stack = PromptStack().add(prompt()).add(prompt(EARLY))

    def copies() -> list[int]:
        found = stack.at(at(None)).table(CPU, SINGLE)[MIDDLE]
        grids = [one.cover.on((2, 2, None), torch.zeros(1)) for one in found if one.cover]
        return [tensor.data_ptr() for tensor in [*(one.key for one in found), *grids]]

    kept = copies()
    assert len(kept) == 4
    assert copies() == kept
    stack.cleanup()
    assert all(len(one.keys._moved) == 0 for one in stack.prompts)  # pyright: ignore
    assert all(one.mask is not None and len(one.mask._moved) == 0 for one in stack.prompts)


def test_cleaning_up_needs_no_mask() -> None:
    bare = prompt(mask=None)
    keys = bare.keys
    assert isinstance(keys, KeyValues)
    keys.on((Row(0),), CPU, SINGLE)
    PromptStack((bare,)).cleanup()
    assert len(keys._moved) == 0 and not keys._uploaded
