"""The transformers of a family of models, the factor a rule gives to each, and their grids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypedDict

from ..layer import stacks
from .gains import BlockRule
from .vocabulary import Outline


class TransformerInfo(TypedDict):
    """A transformer as the editor draws it.

    Attributes:
        block: part of the model its block is in, see `Layer.stage`.
        name: of its block, as the user may write it.
        layers: number of layers.
        pixels: side of the square of the picture that one of its queries covers.
    """

    block: str
    name: str
    layers: int
    pixels: int


class TransformerFactors(TypedDict):
    """What a rule makes of a reference; the browser reads it under these names.

    Attributes:
        factors: by transformer and layer.
        flipped: for each transformer whether cond and uncond are swapped, see `Gain`.
    """

    factors: list[list[float]]
    flipped: list[bool]


_LATENT = 8  # pixels of the picture in one of the latent


def transformer_infos(outline: Outline) -> list[TransformerInfo]:
    """The transformers in the order in which they run."""
    return [
        TransformerInfo(
            block=stack[0].stage,
            name=stack[0].block,
            layers=len(stack),
            pixels=_LATENT * 2 ** stack[0].depth,
        )
        for stack in stacks(outline.layers)
    ]


def outline_of(layers: int, outlines: Iterable[Outline]) -> str:
    """Name of the family with as many layers, "" if there is none; no two have as many."""
    return next((outline.name for outline in outlines if len(outline.layers) == layers), "")


def transformer_factors(
    rule: BlockRule, outline: Outline, references: int = 1
) -> TransformerFactors:
    """What a rule makes of the first of so many masked references.

    Raises:
        BadInput: the rule names what this family does not have.
    """
    layers = outline.layers
    gain_of = dict(zip(layers, rule.gains(layers, 0, references), strict=True))
    gains = [[gain_of[layer] for layer in stack] for stack in stacks(layers)]
    return TransformerFactors(
        factors=[[gain.factor for gain in stack] for stack in gains],
        flipped=[any(gain.swapped for gain in stack) for stack in gains],
    )


class LayerGrid(NamedTuple):
    """A grid of queries.

    Attributes:
        layers: number of layers on it.
    """

    height: int
    width: int
    layers: int


def layer_grids(latent: tuple[int, int], depths: Iterable[int]) -> list[LayerGrid]:
    """The distinct grids, the finest first.

    Args:
        latent: its height and width.
        depths: for each layer how often the latent is halved before it.
    """
    found: dict[tuple[int, int], int] = {}
    for depth in sorted(depths):
        grid = (_halved(latent[0], depth), _halved(latent[1], depth))
        found[grid] = found.get(grid, 0) + 1
    return [LayerGrid(*grid, layers) for grid, layers in found.items()]


def _halved(side: int, times: int) -> int:
    """A convolution with stride 2 rounds up, each time."""
    return -(-side // 2**times)
