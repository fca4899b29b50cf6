"""On which grids the layers of a UNet attend for a latent of some size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


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
