"""Masks on the query grid of each layer, as they weigh its attention: drawn, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from ..pictures.fit import UNSEEN
from ..weights.outline import LayerGrid
from .masks import MaskRule, RegionMask, require_mask

MOST_SHEETS = 16
_TILE, _LARGEST_TILE = 256, 512  # long side in pixels, at least and at most
_GAP, _LABEL = 8, 20
_PAPER, _INK = (64, 64, 64), (230, 230, 230)
_FAINT = 0.5  # share of the mask's own greatest value
_NAMED = 8  # masks by their number


class GridMasks(NamedTuple):
    """Masks on the query grid of some layers.

    Attributes:
        cells: (masks, height, width), the weight of each query; not always within 0..1.
    """

    grid: LayerGrid
    cells: Tensor


class MaskView:
    """Masks beside what they become on the query grid of each layer.

    Args:
        mask: see `RegionMask`.

    Raises:
        BadInput: see `require_mask`.
    """

    def __init__(self, mask: Tensor, rule: MaskRule, grids: Sequence[LayerGrid]) -> None:
        self._planes = require_mask(mask, "mask")
        region, every = RegionMask(mask, rule, "mask"), tuple(range(len(self._planes)))
        like = torch.zeros(1)
        self.on_grids = [
            GridMasks(grid, region.on(*grid[:2], like, planes=every).view(-1, *grid[:2]))
            for grid in grids
        ]

    @property
    def count(self) -> int:
        """Number of masks."""
        return len(self._planes)

    def sheets(self) -> Tensor:
        """(masks, height, width, 3) in 0..1: for each of the first masks all of its tiles.

        The mask as it came, stretched over the picture, then the grids from fine to coarse, row by
        row, each labelled with its width and height.
        """
        sides = self._tile()
        drawn = [self._sheet(i, sides) for i in range(min(self.count, MOST_SHEETS))]
        return torch.from_numpy(numpy.stack(drawn)).float() / 255

    def _tile(self) -> tuple[int, int]:
        """Height and width of every tile; cells of the finest grid are squares if they can be."""
        height, width, _ = self.on_grids[0].grid
        long = max(height, width)
        enlarged = -(-_TILE // long) * long
        scale = min(enlarged, _LARGEST_TILE) / long
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _sheet(self, index: int, sides: tuple[int, int]) -> numpy.ndarray:
        plane = self._planes[index]
        tiles = [(tuple(plane.shape), interpolate(plane[None, None], size=sides, mode="area"))]
        for grid, cells in self.on_grids:
            tiles.append((grid[:2], interpolate(cells[index][None, None], size=sides)))
        (height, width), columns = sides, _columns(len(tiles))
        rows = -(-len(tiles) // columns)
        across, down = width + _GAP, height + _LABEL + _GAP
        sheet = Image.new("RGB", (columns * across + _GAP, rows * down + _GAP), _PAPER)
        pen, font = ImageDraw.Draw(sheet), _font()
        for number, (size, tile) in enumerate(tiles):
            row, column = divmod(number, columns)
            x, y = _GAP + column * across, _GAP + row * down
            pen.text((x, y + 2), f"{size[1]} x {size[0]}", fill=_INK, font=font)
            sheet.paste(_grey(tile[0, 0]), (x, y + _LABEL))
        return numpy.asarray(sheet)

    def lines(self) -> list[str]:
        """How much of each grid is open, and what is lost on it."""
        peaks = self._planes.amax(dim=(1, 2))
        black = [i for i, peak in enumerate(peaks.tolist()) if peak < UNSEEN]
        lines = [self._line(masks, peaks) for masks in self.on_grids]
        if black:
            lines.append(f"{self._which(black)} black: nowhere in the picture it is heard")
        if self.count > MOST_SHEETS:
            lines.append(f"the pictures show the first {MOST_SHEETS} of {self.count} masks")
        return lines

    def _line(self, masks: GridMasks, peaks: Tensor) -> str:
        (height, width, layers), cells = masks
        shares, left = cells.mean(dim=(1, 2)), cells.amax(dim=(1, 2))
        noun = "layer" if layers == 1 else "layers"
        line = f"{width} x {height}, {layers} {noun}: {_span(shares)} open"
        faint = (peaks >= UNSEEN) & (left < _FAINT * peaks)
        if not bool(faint.any()):
            return line
        which = [i for i, lost in enumerate(faint.tolist()) if lost]
        most = _percent(float(left[faint].max()))
        return f"{line}; {self._which(which)} almost lost here, no cell hears more than {most}"

    def _which(self, numbers: Sequence[int]) -> str:
        if self.count == 1:
            return "the mask is"
        if len(numbers) == self.count:
            return "every mask is"
        named = ", ".join(str(number + 1) for number in numbers[:_NAMED])
        more = " and others" if len(numbers) > _NAMED else ""
        return f"mask {named} is" if len(numbers) == 1 else f"masks {named}{more} are"


def _columns(tiles: int) -> int:
    """As square as it gets: the node shows the sheet in its own width."""
    return next(columns for columns in range(1, tiles + 1) if columns**2 >= tiles)


def _grey(tile: Tensor) -> Image.Image:
    return Image.fromarray(tile.clamp(0, 1).mul(255).round().to(torch.uint8).numpy())


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    try:
        return ImageFont.load_default(14)
    except (TypeError, ImportError, OSError):  # Pillow before 10.1, or one without FreeType
        return ImageFont.load_default()


def _span(shares: Tensor) -> str:
    low, high = _percent(float(shares.min())), _percent(float(shares.max()))
    return low if low == high else f"{low} to {high}"


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 1:
        return "less than 1 %"
    if 99 < percent < 100:
        return "more than 99 %"
    return f"{round(percent)} %"
