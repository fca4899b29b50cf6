"""Pictures cut into tiles, each with the mask of its place."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import gaussian_blur
from torchvision.transforms.v2.functional import InterpolationMode, center_crop, resize

from ....ip_models.inputs import whole, within
from .checks import require_mask, require_picture, require_room
from .prepare import resized, sharpened

# Not the encoder's 224: it divides the sides of latents more often.
_TILE = 256
_SQUARE = (0.75, 1.33)  # height by width of what counts as nearly a square
_MOST = 4  # tiles in a row
_MASKED_TILE = 224
_MASKED_MOST, _MOST_BLUR = 12, 74


class Tile(NamedTuple):
    """A part of every picture of a batch, and where it was.

    Attributes:
        pictures: (n, 256, 256, channels).
        masks: (masks, height, width) of the whole.
    """

    pictures: Tensor
    masks: Tensor


def cut(image: Tensor, mask: Tensor | None, sharpening: float) -> list[Tile]:
    """The tiles of pictures, row by row.

    Nearly square pictures become a square of two by two tiles; others a strip of up to four, of
    which no more than the middle is used if they are longer.

    Args:
        mask: what is seen of the pictures, of any size.
        sharpening: 0..1.

    Raises:
        BadInput: no pictures or no mask.
    """
    planes = require_picture(image).movedim(-1, 1)
    height, width = planes.shape[-2:]
    masks = torch.ones(1, 1, height, width) if mask is None else require_mask(mask)[:, None]
    masks = _stretched(masks, (height, width))
    if _SQUARE[0] < height / width < _SQUARE[1]:
        side = min(height, width)
        planes, masks = center_crop(planes, [side, side]), center_crop(masks, [side, side])
        height = width = 2 * _TILE
    elif height < width:
        height, width = _TILE, int(_TILE * width / height)
    else:
        height, width = int(_TILE * height / width), _TILE
    require_room(height, width)
    planes, masks = resized(planes, (width, height), "LANCZOS"), _stretched(masks, (height, width))
    height, width = min(height, _MOST * _TILE), min(width, _MOST * _TILE)
    planes, masks = center_crop(planes, [height, width]), center_crop(masks, [height, width])
    return _tiles(sharpened(planes, sharpening).movedim(1, -1), masks[:, 0])


def joined(tiles: list[Tile]) -> tuple[Tensor, Tensor]:
    """All tiles as one IMAGE and all masks as one MASK, tile after tile."""
    return torch.cat([tile.pictures for tile in tiles]), torch.cat([tile.masks for tile in tiles])


def _stretched(masks: Tensor, size: tuple[int, int]) -> Tensor:
    return resize(masks, list(size), InterpolationMode.BICUBIC, antialias=True)


def _tiles(pictures: Tensor, masks: Tensor) -> list[Tile]:
    tiles: list[Tile] = []
    for top in _starts(pictures.shape[1]):
        for left in _starts(pictures.shape[2]):
            place = (slice(None), slice(top, top + _TILE), slice(left, left + _TILE))
            seen = torch.zeros(masks.shape, dtype=pictures.dtype)
            seen[place] = masks[place].to(seen)
            tiles.append(Tile(pictures[place], seen))
    return tiles


def _starts(length: int) -> list[int]:
    """Where tiles begin that cover a length with equal overlaps."""
    count = math.ceil(length / _TILE)
    overlap = (count * _TILE - length) / max(count - 1, 1)
    return [int(at * (_TILE - overlap)) for at in range(count)]


class Grid(NamedTuple):
    """Tiles along one side.

    Attributes:
        starts: of each.
        tile: their length.
    """

    starts: list[int]
    tile: int


def masked_tiles(
    image: Tensor, short_side_tiles: int, tile_weight: float, blur: int = 0
) -> tuple[Tensor, Tensor]:
    """Version 1's tiles of the first picture as IMAGE and their places as MASK, one each.

    A grid of several rows and columns gets that of one row or column in front, at full weight.

    Args:
        short_side_tiles: tiles along the short side, 1 or more.
        tile_weight: value of the masks inside, if there are several rows and columns.
        blur: deviation of a blur of the masks, in pixels; 0 for none.

    Raises:
        BadInput: no pictures, or no such number of tiles.
    """
    count = whole("short_side_tiles", short_side_tiles, 1, _MASKED_MOST)
    weight = within("tile_weight", tile_weight, 0, 1)
    blur = whole("tile_blur", blur, 0, _MOST_BLUR)
    return _grid_of(require_picture(image)[:1], count, weight, blur)


def _grid_of(image: Tensor, count: int, weight: float, blur: int) -> tuple[Tensor, Tensor]:
    planes = image.movedim(-1, 1)
    height, width = planes.shape[-2:]
    short = _MASKED_TILE * count
    size = (height * short // width, short) if width < height else (short, width * short // height)
    require_room(*size)
    planes = interpolate(planes, size=size, mode="bicubic")
    rows, columns = (_grid(side) for side in size)
    single = 1 in (len(rows.starts), len(columns.starts))
    places = [
        (slice(top, top + rows.tile), slice(left, left + columns.tile))
        for top in rows.starts
        for left in columns.starts
    ]
    tiles = torch.cat([planes[(..., *place)] for place in places])
    masks = torch.zeros(len(places), 1, *size, dtype=image.dtype, device=image.device)
    for mask, place in zip(masks, places, strict=True):
        mask[(..., *place)] = 1.0 if single else weight
    if not single:
        coarse, areas = _grid_of(planes.movedim(1, -1), 1, 1.0, blur)
        tiles = torch.cat([_bicubic(coarse.movedim(-1, 1), tiles), tiles])
        masks = torch.cat([_bicubic(areas[:, None], masks), masks])
    if blur > 0:
        masks = gaussian_blur(masks, [6 * blur + 1] * 2, [float(blur)] * 2)
    return tiles.movedim(1, -1), masks[:, 0]


def _grid(length: int) -> Grid:
    """A rest of a quarter tile or more gets a tile of its own, set back to the border.

    A smaller one is left over on both sides; then each tile is longer by what is left over.
    """
    count, rest = divmod(length, _MASKED_TILE)
    if rest < _MASKED_TILE // 4:
        offset = rest // 2
        return Grid([offset + at * _MASKED_TILE for at in range(count)], _MASKED_TILE + offset)
    last = length - _MASKED_TILE
    return Grid([min(at * _MASKED_TILE, last) for at in range(count + 1)], _MASKED_TILE)


def _bicubic(planes: Tensor, like: Tensor) -> Tensor:
    size = like.shape[-2:]
    return planes if planes.shape[-2:] == size else interpolate(planes, size=size, mode="bicubic")
