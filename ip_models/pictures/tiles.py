"""A square picture cut into n x n tiles, and what an encoder says of them put together again.

The idea, more detail from the same encoder, is that of "ClipVision Enhancer" in
ComfyUI_IPAdapter_plus. There the pooled vector is taken for a picture of its own (1024 values as
32 x 32) and shrunk as one, which means nothing and fails at other widths; here it is the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from math import isqrt

import numpy
import torch
from PIL import Image
from torch import Tensor

from ..inputs import whole, within

Box = tuple[float, float, float, float]
Rows = tuple[Tensor | None, Tensor]  # pooled (n, width) or None, penultimate (n, sequence, width)

MOST_TILES, MOST_OVERLAP = 16, 0.5


class TileMerge(str, Enum):
    """What becomes of the whole picture when there are tiles."""

    CONCAT = "concat"
    BLEND = "blend"


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut, and what its tiles are for.

    Attributes:
        count: tiles along each side; 1 is the whole picture alone.
        overlap: share of a tile that it has in common with its neighbour, 0..0.5.
        merge: whole picture and tiles as two references, or one in between.
        ratio: for the latter, how much the whole picture counts, 0..1.

    Raises:
        BadInput: a number is outside its range.
    """

    count: int = 1
    overlap: float = 0.0
    merge: TileMerge = TileMerge.CONCAT
    ratio: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", whole("tiles", self.count, 1, MOST_TILES))
        within("tile_overlap", self.overlap, 0, MOST_OVERLAP)
        within("tile_ratio", self.ratio, 0, 1)

    @property
    def used(self) -> bool:
        """Whether there is more than the whole picture."""
        return self.count > 1

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Start and end of each tile along a side of length 1."""
        length = 1 / (self.count - (self.count - 1) * self.overlap)
        step = length * (1 - self.overlap)
        return [(i * step, min(1.0, i * step + length)) for i in range(self.count)]

    @property
    def boxes(self) -> list[Box]:
        """(left, top, right, bottom) of each tile in a picture of side 1, row by row."""
        return [
            (left, top, right, bottom) for top, bottom in self.spans for left, right in self.spans
        ]


def cut(square: Tensor, boxes: Iterable[Box], size: int) -> Tensor:
    """(side, side, 3) of 8 bits -> (tiles, size, size, 3) in 0..1, with the filter of `image`."""
    picture = Image.fromarray(square.numpy())
    tiles = [_resized(picture, box, size) for box in boxes]
    return torch.from_numpy(numpy.stack([numpy.asarray(tile) for tile in tiles])).float() / 255


def _resized(picture: Image.Image, box: Box, size: int) -> Image.Image:
    side = picture.width
    left, top, right, bottom = (min(side, edge * side) for edge in box)
    return picture.resize((size, size), Image.Resampling.BICUBIC, (left, top, right, bottom))


def merge_tiles(batches: Iterable[Rows], tiling: Tiling) -> Rows:
    """One row from those of all tiles, which may come a few at a time.

    The patch tokens are laid on the picture, and each cell of the encoder's own grid is the mean
    of those that cover it, by the area they cover. Class tokens and pooled vectors are averaged.
    """
    share = 1 / tiling.count**2
    pooled: Tensor | None = None
    merged: Tensor | None = None
    for vector, tokens, weights in _one_by_one(batches, tiling):
        down, across = weights
        extra = len(tokens) - down.shape[1] ** 2
        leading = tokens[:extra] * share
        patches = tokens[extra:].unflatten(0, (down.shape[1], across.shape[1]))
        laid = torch.einsum("yi,ijw->yjw", down.to(patches), patches)
        laid = torch.einsum("xj,yjw->yxw", across.to(patches), laid)
        row = torch.cat([leading, laid.flatten(0, 1)])[None]
        merged = row if merged is None else merged.add_(row)
        if vector is not None:
            mean = vector[None] * share
            pooled = mean if pooled is None else pooled.add_(mean)
    assert merged is not None
    return pooled, merged


def _one_by_one(
    batches: Iterable[Rows], tiling: Tiling
) -> Iterator[tuple[Tensor | None, Tensor, tuple[Tensor, Tensor]]]:
    number, covers = 0, list[Tensor]()
    for pooled, hidden in batches:
        covers = covers or coverage(tiling, isqrt(hidden.shape[1]))
        for i, tokens in enumerate(hidden):
            row, column = divmod(number, tiling.count)
            vector = None if pooled is None else pooled[i]
            yield vector, tokens, (covers[row], covers[column])
            number += 1


def coverage(tiling: Tiling, grid: int) -> list[Tensor]:
    """For each tile along a side (grid, grid): how much its tokens count in a cell.

    The rows of all tiles together sum to 1.
    """
    cells = torch.linspace(0, 1, grid + 1, dtype=torch.float64)
    shares: list[Tensor] = []
    for start, end in tiling.spans:
        tokens = start + (end - start) * cells
        top = torch.maximum(cells[:-1, None], tokens[:-1])
        shares.append((torch.minimum(cells[1:, None], tokens[1:]) - top).clamp(min=0))
    total = torch.stack(shares).sum(dim=(0, 2))
    return [share / total[:, None] for share in shares]
