"""A picture of any shape cut into squares in rows and columns, and what part of it each is.

What tiles are for in `tiles.py`, a closer look at one reference, they are not here: each becomes a
reference of its own, which counts where it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .. import limits

_SQUARE = 4 / 3  # long side by short side, below which a picture is nearly a square
_LEFT_OVER = 0.1  # of a tile that gets none of its own; the others are longer by that


class Span(NamedTuple):
    """Part of a side, in pixels from its beginning."""

    start: int
    end: int


@dataclass(frozen=True)
class TileGrid:
    """Rows and columns of tiles; all are of one size."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def places(self) -> list[tuple[Span, Span]]:
        """Row and column of each tile, row by row."""
        return [(row, column) for row in self.rows for column in self.columns]

    def cut(self, images: Tensor) -> list[Tensor]:
        """The tiles of (n, height, width, channels), each of them of all pictures."""
        return [images[:, top:bottom, left:right] for (top, bottom), (left, right) in self.places]

    def masks(self) -> Tensor:
        """Where each tile was, (tiles, height, width); all together are white everywhere.

        They are large enough to be stretched over a picture, and no larger.
        """
        shrink = min(1.0, limits.TILE_MASK_SIDE / max(self.rows[-1].end, self.columns[-1].end))
        down, across = _shares(self.rows, shrink), _shares(self.columns, shrink)
        return torch.stack([torch.outer(row, column) for row in down for column in across])


def tile_grid(height: int, width: int, tiles: int, overlap: float) -> TileGrid:
    """Squares that cover a picture.

    Args:
        tiles: along the short side; 0 for two by two of what is nearly a square, and one row or
            column of what is not.
        overlap: least share of a tile that it has in common with its neighbour, 0..0.5.
    """
    short, long = sorted((height, width))
    tiles = min(tiles or (2 if long < _SQUARE * short else 1), short)
    side = short / (tiles - (tiles - 1) * overlap)
    more = math.ceil((long / side - overlap) / (1 - overlap) - _LEFT_OVER)
    more = max(tiles, min(more, limits.TILES_IN_A_ROW, long))
    length = max(side, long / (more - (more - 1) * overlap))
    few, many = _spans(short, tiles, side), _spans(long, more, length)
    return TileGrid(few, many) if height <= width else TileGrid(many, few)


def _spans(side: int, count: int, length: float) -> tuple[Span, ...]:
    """As many, equally far from each other, from border to border."""
    whole = min(side, math.ceil(length))
    gaps = max(count - 1, 1)
    starts = [(side - whole) * i // gaps for i in range(count)]
    return tuple(Span(start, start + whole) for start in starts)


def _shares(spans: tuple[Span, ...], shrink: float) -> Tensor:
    """How much each of them counts at each pixel, (spans, pixels); neighbours fade into another."""
    pixels = max(round(spans[-1].end * shrink), 1)
    places = (torch.arange(pixels, dtype=torch.float64) + 0.5) * spans[-1].end / pixels
    shares = torch.stack([_share(spans, i, places) for i in range(len(spans))])
    return (shares / shares.sum(0)).float()


def _share(spans: tuple[Span, ...], i: int, places: Tensor) -> Tensor:
    start, end = spans[i]
    share = ((places >= start) & (places < end)).double()
    if i > 0:
        share = share * _rising(places - start, spans[i - 1].end - start)
    if i + 1 < len(spans):
        share = share * _rising(end - places, end - spans[i + 1].start)
    return share


def _rising(inside: Tensor, overlap: int) -> Tensor:
    return (inside / overlap).clamp(0, 1) if overlap > 0 else torch.ones_like(inside)
