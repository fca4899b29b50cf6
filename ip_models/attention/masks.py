"""Attention masks: where in the picture a reference counts, on the query grid of each layer."""

from __future__ import annotations

import math
from enum import Enum
from threading import Lock
from typing import NamedTuple

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ..errors import BadInput
from ..inputs import require_pixels, sides
from .device_cache import DeviceCache
from .shared import Shared

Grid = tuple[int, int, tuple[int, int] | None]
"""Height and width of a layer's queries, and of the model's input for rules that go by it."""

_PIXELS = 8  # of the picture for one of the latent, along each side
_TOGETHER = 16  # planes resized at a time: bounds what a long video's masks need for a moment


class MaskRule(str, Enum):
    """How a mask becomes one weight for each query."""

    AREA = "area"  # the mean over each cell of the layer's true grid, greys kept
    DIFFUSERS = "diffusers"  # black or white, bicubic, on the grid that the mask's shape suggests
    # Values at points, as they come, on the grid that the picture's shape suggests: the rules of
    # ComfyUI_IPAdapter_plus since and before March 2024.
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


_AT_POINTS = (MaskRule.BILINEAR, MaskRule.BICUBIC)


class Crop(NamedTuple):
    """The part of the picture that a conditioning with an area, or a tile, covers.

    Attributes:
        unit: pixels of the picture for one of these numbers, along each side; 8 for latent pixels.
        wraps: it goes on at the other side of the picture, instead of being cut off there.
    """

    top: int
    left: int
    height: int
    width: int
    full_height: int
    full_width: int
    unit: int = _PIXELS
    wraps: bool = False


class RegionMask(Shared):
    """Masks, reduced once for each grid on which a layer attends; they stay in main memory.

    Args:
        mask: (height, width), (masks, height, width), (masks, 1, height, width),
            (1, masks, height, width) or (masks, height, width, 1); 1 where the reference has
            its full scale, 0 where it has none.

    Raises:
        BadInput: see `require_mask`.
    """

    def __init__(
        self, mask: Tensor, rule: MaskRule = MaskRule.AREA, name: str = "attn_mask"
    ) -> None:
        planes = require_mask(mask, name, clamped=rule not in _AT_POINTS)
        self._rule = rule
        self._planes = _binarised(planes) if rule is MaskRule.DIFFUSERS else planes
        self._on_grid: dict[tuple[Grid, Crop | None], Tensor] = {}
        self._sized: tuple[tuple[int, ...], Tensor] | None = None  # for the tiles of one picture
        self._preparing = Lock()
        self._moved: DeviceCache[Tensor] = DeviceCache()

    @property
    def count(self) -> int:
        """Number of masks."""
        return len(self._planes)

    def on(
        self,
        height: int,
        width: int,
        like: Tensor,
        crops: tuple[Crop | None, ...] = (None,),
        planes: tuple[int, ...] = (0,),
        latent: tuple[int, int] | None = None,
    ) -> Tensor:
        """(chunks * pictures, height * width, 1), or (1, height * width, 1) where all agree.

        Args:
            crops: for each chunk of the batch what it covers of the picture, None for all of it.
            planes: for each picture of a chunk the number of its mask.
            latent: height and width of the model's input, for rules that go by its shape.
        """
        grid = height, width, latent if self._rule in _AT_POINTS else None
        key = (grid, crops, planes, like.device, like.dtype)
        return self._moved.get(
            key, lambda: self._rows(grid, crops, planes).to(like.dtype).to(like.device)
        )

    def release(self) -> None:
        """Drop what was prepared for the last run."""
        self._moved.clear()
        with self._preparing:
            self._on_grid.clear()
            self._sized = None

    def _rows(self, grid: Grid, crops: tuple[Crop | None, ...], planes: tuple[int, ...]) -> Tensor:
        inside = [_inside(crop) for crop in crops]
        if len(set(inside)) == 1 and len(set(planes)) == 1:
            inside, planes = inside[:1], planes[:1]
        pictures = list(planes)
        rows = torch.cat([self._prepared(grid, crop)[pictures] for crop in inside])
        return rows[:, :, None]

    def _prepared(self, grid: Grid, crop: Crop | None) -> Tensor:
        """All masks on a grid, (masks, height * width)."""
        key = grid, crop
        with self._preparing:
            if key not in self._on_grid:
                some = self._of_picture(crop).split(_TOGETHER)
                reduced = [_reduced(_cut(p, crop, self._rule), grid, self._rule) for p in some]
                self._on_grid[key] = torch.cat(reduced)
            return self._on_grid[key]

    def _of_picture(self, crop: Crop | None) -> Tensor:
        """The masks in the size of the picture, from which crops are cut.

        One mask stays in this size, because a picture in tiles needs it for each of them.
        """
        size = None if crop is None else (crop.full_height * crop.unit, crop.full_width * crop.unit)
        if size is None or len(self._planes) > 1 or size == tuple(self._planes.shape[-2:]):
            return self._planes
        if self._sized is None or self._sized[0] != size:
            self._sized = size, _resized(self._planes, size, self._rule)
        return self._sized[1]


def require_mask(mask: Tensor, name: str, clamped: bool = True) -> Tensor:
    """The planes of a mask, (n, height, width), from 0 to 1 if they are to be clamped.

    Raises:
        BadInput: the mask is of another shape, empty, not finite or of another range.
    """
    if _is_picture(tuple(mask.shape)):
        raise BadInput(
            f"{name} is a picture with colours ({sides(mask.shape)})",
            "a mask has one value for each pixel",
            "Connect a MASK, e.g. by Convert Image to Mask",
        )
    planes = _as_planes(mask)
    if planes is None:
        raise BadInput(
            f"{name} has shape {sides(mask.shape)}",
            "a mask of height x width, or several of masks x height x width, is needed",
            "Connect a MASK",
        )
    if planes.numel() == 0:
        raise BadInput(
            f"{name} is empty ({sides(mask.shape)})",
            "a mask needs numbers from 0 to 1",
            "Connect another MASK",
        )
    require_pixels(name, planes, "a mask needs numbers from 0 to 1", "Connect another MASK")
    planes = planes.detach().to("cpu", torch.float32)
    return planes.clamp(0, 1) if clamped else planes


def _is_picture(shape: tuple[int, ...]) -> bool:
    """(1, height, width, colours) or without the 1, which would pass for many narrow masks."""
    sides = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
    return len(sides) == 3 and sides[2] in (3, 4) and min(sides[:2]) > sides[2]


def _as_planes(mask: Tensor) -> Tensor | None:
    if mask.ndim == 2:
        return mask[None]
    if mask.ndim == 3:
        return mask
    if mask.ndim != 4:
        return None
    if mask.shape[1] == 1:
        return mask[:, 0]
    if mask.shape[3] == 1:  # before the next: one picture of one channel, not lines of one pixel
        return mask[..., 0]
    return mask[0] if mask.shape[0] == 1 else None


def _inside(crop: Crop | None) -> Crop | None:
    """The crop cut off at the border of the picture; None if it covers everything."""
    if crop is None:
        return None
    if crop.wraps:
        return crop
    full_height, full_width = max(1, crop.full_height), max(1, crop.full_width)
    top, bottom = _span(crop.top, crop.height, full_height)
    left, right = _span(crop.left, crop.width, full_width)
    size = bottom - top, right - left
    inside = Crop(top, left, *size, full_height, full_width, crop.unit)
    return None if size == (full_height, full_width) else inside


def _span(start: int, length: int, full: int) -> tuple[int, int]:
    first = min(max(0, start), full - 1)
    return first, min(max(first + 1, start + length), full)


def _resized(planes: Tensor, size: tuple[int, int], rule: MaskRule) -> Tensor:
    if tuple(planes.shape[-2:]) == size:
        return planes
    mode = "nearest-exact" if rule is MaskRule.DIFFUSERS else rule.value
    return interpolate(planes[None], size=size, mode=mode)[0]


def _cut(planes: Tensor, crop: Crop | None, rule: MaskRule) -> Tensor:
    if crop is None:
        return planes
    top, left, height, width, full_height, full_width = (side * crop.unit for side in crop[:6])
    planes = _resized(planes, (full_height, full_width), rule)
    if crop.wraps:
        planes, top, left = planes.roll((-top, -left), (1, 2)), 0, 0
    return planes[:, top : top + height, left : left + width]


def _reduced(planes: Tensor, grid: Grid, rule: MaskRule) -> Tensor:
    """(masks, height, width) on the grid of a layer, (masks, height * width)."""
    height, width, latent = grid
    if rule is MaskRule.AREA:
        return interpolate(planes[None], size=(height, width), mode="area").flatten(2)[0]
    queries = height * width
    if rule is MaskRule.DIFFUSERS:
        # `IPAdapterMaskProcessor.downsample` of diffusers 0.42 knows the number of queries only
        # and takes their grid to have the shape of the mask.
        cells = _guessed(planes, queries, planes.shape[2] / planes.shape[1], "bicubic")
        return pad(cells, (0, queries - cells.shape[1]))  # a negative number of zeros cuts
    full_height, full_width = latent or (height, width)
    cells = _guessed(planes, queries, full_width / full_height, rule.value)
    missing = queries - cells.shape[1]
    before = missing // 2 if missing >= 0 else -(-missing // 2)
    return pad(cells, (before, missing - before))


def _guessed(planes: Tensor, queries: int, ratio: float, mode: str) -> Tensor:
    """On the grid of about as many cells that a width of `ratio` heights suggests."""
    rows = max(1, int(math.sqrt(queries / ratio)))
    rows += int(queries % rows != 0)
    columns = max(1, queries // rows)
    return interpolate(planes[None], size=(rows, columns), mode=mode).flatten(2)[0]


def _binarised(planes: Tensor) -> Tensor:
    """0 or 1 as `IPAdapterMaskProcessor.preprocess` makes them of the same masks as 8-bit greys."""
    height, width = (max(_PIXELS, side - side % _PIXELS) for side in planes.shape[1:])
    greys = planes.clamp(0, 1).mul(255).round().to(torch.uint8)
    sized = [
        numpy.asarray(
            Image.fromarray(grey.numpy()).resize((width, height), Image.Resampling.LANCZOS)
        )
        for grey in greys
    ]
    return torch.from_numpy(numpy.stack(sized)).ge(128).float()
