"""The transformers of SD1.5 and SDXL with cross-attention, and the factor a rule gives to each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypedDict

from ..layer_address import LayerAddress, transformers
from .gains import BlockRule


class TransformerInfo(TypedDict):
    """A transformer as the editor draws it.

    Attributes:
        block: "input", "middle" or "output".
        name: diffusers' name of its block, e.g. "up.block_0", as the user may write it.
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


class _Unet(NamedTuple):
    levels: int
    side: int
    stacks: tuple[tuple[str, tuple[int, ...], int], ...]


# Blocks with cross-attention in the order in which they run: kind, the host's numbers, layers in
# each. SD2 is laid out as SD1.5, Kolors as SDXL.
_UNETS = {
    "SD1.5": _Unet(
        4,
        512,
        (("input", (1, 2, 4, 5, 7, 8), 1), ("middle", (0,), 1), ("output", (*range(3, 12),), 1)),
    ),
    "SDXL": _Unet(
        3,
        1024,
        (
            ("input", (4, 5), 2),
            ("input", (7, 8), 10),
            ("middle", (0,), 10),
            ("output", (0, 1, 2), 10),
            ("output", (3, 4, 5), 2),
        ),
    ),
}
_LATENT = 8  # pixels of the picture in one of the latent

FAMILIES = tuple(_UNETS)
"""Names of the outlines there are."""


def side(family: str) -> int:
    """Side in pixels of the pictures the models of this family are made for."""
    return _UNETS[family].side


def layers_of(family: str) -> list[LayerAddress]:
    """All layers in the order in which they run."""
    return [
        LayerAddress(block, number, layer)
        for block, numbers, count in _UNETS[family].stacks
        for number in numbers
        for layer in range(count)
    ]


def transformer_infos(family: str) -> list[TransformerInfo]:
    """The transformers in the order in which they run."""
    deepest = _UNETS[family].levels - 1
    infos: list[TransformerInfo] = []
    for (stage, level, _), stack in transformers(layers_of(family)).items():
        depth = {"down": level, "mid": deepest, "up": deepest - level}[stage]
        name = stage if stage == "mid" else f"{stage}.block_{level}"
        pixels = _LATENT * 2**depth
        block, layers = stack[0].block, len(stack)
        infos.append(TransformerInfo(block=block, name=name, layers=layers, pixels=pixels))
    return infos


def depths(family: str) -> list[int]:
    """For each layer in the order in which they run, how often the latent was halved before it."""
    return [
        (info["pixels"] // _LATENT).bit_length() - 1
        for info in transformer_infos(family)
        for _ in range(info["layers"])
    ]


def transformer_factors(rule: BlockRule, family: str, references: int = 1) -> TransformerFactors:
    """What a rule makes of the first of so many masked references.

    Raises:
        BadInput: the rule names what this family does not have.
    """
    layers = layers_of(family)
    gain_of = dict(zip(layers, rule.gains(layers, 0, references), strict=True))
    stacks = [[gain_of[layer] for layer in stack] for stack in transformers(layers).values()]
    return TransformerFactors(
        factors=[[gain.factor for gain in stack] for stack in stacks],
        flipped=[any(gain.swapped for gain in stack) for stack in stacks],
    )


class LayerGrid(NamedTuple):
    """A grid of queries.

    Attributes:
        layers: number of cross-attention layers on it.
    """

    height: int
    width: int
    layers: int


def layer_grids(latent: tuple[int, int], depths: Iterable[int]) -> list[LayerGrid]:
    """The distinct grids, the finest first.

    Args:
        latent: its height and width.
        depths: for each layer how often the UNet has halved the latent before it.
    """
    found: dict[tuple[int, int], int] = {}
    for depth in sorted(depths):
        grid = (_halved(latent[0], depth), _halved(latent[1], depth))
        found[grid] = found.get(grid, 0) + 1
    return [LayerGrid(*grid, layers) for grid, layers in found.items()]


def _halved(side: int, times: int) -> int:
    """A convolution with stride 2 rounds up, each time."""
    return -(-side // 2**times)
