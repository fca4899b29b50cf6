"""Beside what other packs do: in either order, with and without guidance, mask and batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from company.behaviours import rows, slots  # noqa: F401 - enters them into the list
from company.checkout import Checkout
from company.meeting import REFUSED, RIGHT, meet
from company.pilot import PILOTS, Pilot
from company.scene import Scene

BEHAVIOURS = [pilot for pilot in PILOTS if not pilot.folder]
Scenes = Callable[[tuple[int, int, int]], Scene]


@pytest.fixture(scope="module")
def scenes() -> Iterator[Scenes]:
    """One scene for each size; gone before the host's modules are."""

    @cache
    def scene(size: tuple[int, int, int]) -> Scene:
        return Scene(size=size)

    yield scene
    scene.cache_clear()


@pytest.mark.parametrize("pilot", BEHAVIOURS, ids=lambda pilot: pilot.node)
def test_references_are_heard_once_where_they_belong(pilot: Pilot, scenes: Scenes) -> None:
    scene = scenes(pilot.size)
    company = pilot.fly(Checkout(Path()), scene)
    good = {RIGHT, REFUSED} if company.may_refuse else {RIGHT}
    outcomes = list(meet(scene, company))
    assert outcomes
    assert [outcome for outcome in outcomes if outcome.verdict not in good] == []
