"""Who is heard at which noise level, and that stacks are never changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pack.ip_models.keyvalue import NEGATIVE, POSITIVE, KeyValues
from pack.ip_models.layers import LayerAddress
from pack.ip_models.masks import RegionMask
from pack.ip_models.prompt import ImagePrompt, PromptStack
from pack.ip_models.schedule import SigmaWindow

ROWS = (NEGATIVE, POSITIVE)
EARLY, LATE = SigmaWindow(start=14.6, end=5.0), SigmaWindow(start=5.0, end=0.0)


def prompt(window: SigmaWindow | None = None, label: str = "a") -> ImagePrompt:
    pair = torch.ones(2, 3, 4), torch.ones(2, 3, 4)
    return ImagePrompt(
        key_values=KeyValues.pack([pair]),
        positions={LayerAddress("middle", 0, 0): 0},
        window=window,
        mask=RegionMask(torch.ones(4, 4)),
        label=label,
    )


def heard(stack: PromptStack, sigma: float | None) -> list[str]:
    return [one.label for one in stack.at(sigma, ROWS).prompts]


@pytest.mark.parametrize(
    ("sigma", "inside"),
    [(14.7, False), (14.6, True), (9.0, True), (5.0, True), (4.999, False), (0.0, False)],
)
def test_a_window_holds_both_its_ends_and_nothing_beyond(sigma: float, inside: bool) -> None:
    assert EARLY.contains(sigma) is inside


def test_prompts_are_heard_while_their_windows_are_open_and_in_their_order() -> None:
    stack = PromptStack()
    for window, label in [(LATE, "late"), (None, "always"), (EARLY, "early")]:
        stack = stack.add(prompt(window, label))
    assert heard(stack, 9.0) == ["always", "early"]
    assert heard(stack, 5.0) == ["late", "always", "early"]
    assert heard(stack, 1.0) == ["late", "always"]
    assert heard(stack, 99.0) == ["always"]


def test_a_window_between_two_noise_levels_is_silent() -> None:
    stack = PromptStack().add(prompt(SigmaWindow(start=3.0, end=4.0)))
    assert heard(stack, 3.5) == []


def test_the_noise_level_is_needed_only_where_a_window_asks_for_it() -> None:
    always = PromptStack().add(prompt())
    assert not PromptStack().windowed and not always.windowed
    assert always.add(prompt(EARLY)).windowed
    assert heard(always, None) == ["a"]


def test_a_noise_level_that_is_not_known_closes_no_window() -> None:
    stack = PromptStack().add(prompt(EARLY, "early")).add(prompt(LATE, "late"))
    assert heard(stack, None) == ["early", "late"]


def test_the_rows_are_passed_on() -> None:
    assert PromptStack().add(prompt()).at(None, ROWS).rows == ROWS


def test_adding_makes_a_new_stack() -> None:
    empty = PromptStack()
    one = empty.add(prompt(label="one"))
    left, right = one.add(prompt(label="left")), one.add(prompt(label="right"))
    assert heard(empty, None) == []
    assert heard(one, None) == ["one"]
    assert heard(left, None) == ["one", "left"]
    assert heard(right, None) == ["one", "right"]


@pytest.mark.parametrize(
    ("thing", "name"),
    [(prompt(), "label"), (PromptStack(), "prompts"), (PromptStack().at(None, ROWS), "rows")],
    ids=["prompt", "stack", "active"],
)
def test_nothing_can_be_assigned(thing: Any, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(thing, name, None)


def test_cleaning_up_drops_the_copies_of_every_prompt() -> None:
    stack = PromptStack().add(prompt()).add(prompt(EARLY))
    like = torch.zeros(1)

    def copies() -> list[int]:
        keys = [one.key_values.layer(0, ROWS, like)[0].data_ptr() for one in stack.prompts]
        grids = [one.mask.on(2, 2, like).data_ptr() for one in stack.prompts if one.mask]
        return keys + grids

    kept = copies()
    assert copies() == kept
    stack.cleanup()
    assert all(not one.key_values._moved for one in stack.prompts)
    assert all(one.mask is not None and not one.mask._on_grid for one in stack.prompts)


def test_cleaning_up_needs_no_mask() -> None:
    bare = ImagePrompt(prompt().key_values, {}, None, None, "bare")
    bare.key_values.layer(0, ROWS, torch.zeros(1))
    PromptStack((bare,)).cleanup()
    assert not bare.key_values._moved
