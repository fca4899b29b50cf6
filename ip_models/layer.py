"""An attention layer of a diffusion model: all that weights, masks and the editor know of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """A layer that can attend to image tokens.

    Attributes:
        slot: by what the host and its own kind of model know it; nobody else looks into it.
        width: of its queries.
        context: width of the text it attends to.
        place: number of its transformer in the order in which they run, and its own in that.
        block: name of its block as users write it, e.g. "up.block_1".
        stage: part of the model the block is in, e.g. "output".
        depth: how often the latent is halved before it.
        projected: whether the text was wider and is projected by the model, as in Kolors.
    """

    slot: Hashable
    width: int
    context: int
    place: tuple[int, int]
    block: str
    stage: str
    depth: int = 0
    projected: bool = False


def stacks(layers: Iterable[Layer]) -> list[list[Layer]]:
    """The transformers with their layers, all in the order in which they run."""
    found: dict[int, list[Layer]] = {}
    for layer in sorted(layers, key=lambda layer: layer.place):
        found.setdefault(layer.place[0], []).append(layer)
    return list(found.values())
