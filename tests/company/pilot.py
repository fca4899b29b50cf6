"""The list of pilots: how each node of another pack is called, and why what is right is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from company.checkout import Checkout
from company.scene import Company, Scene

Fly = Callable[[Checkout, Scene], Company]
Make = Callable[[Scene], Company]


@dataclass(frozen=True)
class Pilot:
    """A node of another pack.

    Attributes:
        folder: name of the pack's repository.
        node: what the node is called in the table.
        fly: calls it; its docstring says which law holds.
        family: of the UNet it needs.
        size: pictures, height and width of the latent it needs.
    """

    folder: str
    node: str
    fly: Fly
    family: str = "sd1"
    size: tuple[int, int, int] = (2, 16, 24)

    @property
    def name(self) -> str:
        """What it is called, nothing else being so."""
        return f"{self.folder}: {self.node}" if self.folder else self.node


PILOTS: list[Pilot] = []


def pilot(
    folder: str, node: str, family: str = "sd1", size: tuple[int, int, int] = (2, 16, 24)
) -> Callable[[Fly], Fly]:
    """Enter a pilot into the list."""

    def enter(fly: Fly) -> Fly:
        PILOTS.append(Pilot(folder, node, fly, family, size))
        return fly

    return enter


def behaviour(name: str, size: tuple[int, int, int] = (2, 8, 12)) -> Callable[[Make], Make]:
    """Enter what a pack does without the pack."""

    def enter(make: Make) -> Make:
        def fly(_: Checkout, scene: Scene) -> Company:
            return make(scene)

        pilot("", name, size=size)(fly)
        return make

    return enter
