"""JSON of any length is read in one go, without a look for what nobody needs any more."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from pack.ip_models import json_text, limits

LISTS = "[" + ",".join(["[]"] * (limits.TABLES - 1)) + "]"


def collections(text: str) -> int:
    """How often Python looked for what nobody needs while a text was read."""
    begun: list[str] = []

    def note(phase: str, _: dict[str, Any]) -> None:
        begun.append(phase)

    gc.callbacks.append(note)
    try:
        assert len(json_text.read(text)) == limits.TABLES - 1
    finally:
        gc.callbacks.remove(note)
    return begun.count("start")


def test_nothing_is_collected_meanwhile_and_all_is_as_it_was_afterwards() -> None:
    assert gc.isenabled()
    assert collections(LISTS) <= 1  # the first thing that is made afterwards
    assert gc.isenabled()
    gc.disable()
    try:
        assert collections(LISTS) == 0 and not gc.isenabled()
    finally:
        gc.enable()


BAD = ("", "{", "[" * limits.TABLES, "[" + "1," * limits.ELEMENTS * 2 + "1]", "[" + LISTS + "]")


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_what_cannot_be_read_leaves_all_as_it_was(text: str) -> None:
    with pytest.raises(ValueError):
        json_text.read(text)
    assert gc.isenabled()
