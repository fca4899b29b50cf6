"""The ClipVision Enhancer: tiles of a picture, and one row made of the rows of its tiles."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ....ip_models.errors import BadInput
from ....ip_models.inputs import whole
from .checks import require_picture

_MOST = 16


def split(images: Tensor, tiles: int) -> Tensor:
    """(n * tiles * tiles, height / tiles, width / tiles, channels): picture by picture, row by row.

    No overlap; what the sides leave over at the bottom and on the right is lost.

    Raises:
        BadInput: no pictures, or one that has fewer pixels than tiles.
    """
    images, tiles = require_picture(images), whole("enhance_tiles", tiles, 1, _MOST)
    count, height, width, channels = images.shape
    down, across = height // tiles, width // tiles
    if min(down, across) == 0:
        raise BadInput(
            f"the image is {width} x {height} pixels",
            f"{tiles} x {tiles} tiles need a pixel each",
            "Lower enhance_tiles",
        )
    used = images[:, : down * tiles, : across * tiles]
    parts = used.reshape(count, tiles, down, tiles, across, channels).transpose(2, 3)
    return parts.reshape(-1, down, across, channels)


def merged_hidden(rows: Tensor, tiles: int) -> Tensor:
    """(n * tiles * tiles, 1 + side * side, width) -> (n, 1 + side * side, width).

    The class token becomes the mean; the others are laid out as in the picture and shrunk.

    Raises:
        BadInput: the tokens do not lie in a square.
    """
    side = _side(rows.shape[1] - 1, "the encoder's patches number")
    first = rows[:, :1].unflatten(0, (-1, tiles * tiles)).mean(1)
    patches = rows[:, 1:].unflatten(1, (side, side)).movedim(-1, 1)
    return torch.cat([first, _shrunk(patches, tiles).flatten(2).transpose(1, 2)], dim=1)


def merged_pooled(rows: Tensor, tiles: int) -> Tensor:
    """(n * tiles * tiles, width) -> (n, width), each row taken for a square picture.

    That means nothing, as neighbours in such a row are no neighbours in a picture; it is what
    gives old workflows their look.

    Raises:
        BadInput: the width is not a square number.
    """
    side = _side(rows.shape[1], "the encoder's pooled row is of width")
    return _shrunk(rows.reshape(-1, 1, side, side), tiles).flatten(1)


def mixed(whole: Tensor, merged: Tensor, ratio: float) -> Tensor:
    """Rows of pictures and of their tiles: blended, or one after the other for one picture."""
    if whole.shape[0] > 1:
        return whole * ratio + merged * (1 - ratio)
    return torch.cat([whole * ratio, merged])


def _shrunk(planes: Tensor, tiles: int) -> Tensor:
    """(n * tiles * tiles, channels, side, side) laid out, averaged to (n, channels, side, side)."""
    channels, side = planes.shape[1:3]
    laid = planes.unflatten(0, (-1, tiles, tiles)).permute(0, 3, 1, 4, 2, 5)
    return adaptive_avg_pool2d(laid.reshape(-1, channels, tiles * side, tiles * side), side)


def _side(area: int, what: str) -> int:
    side = math.isqrt(area)
    if side * side == area:
        return side
    raise BadInput(
        f"{what} {area}",
        "the enhancer lays them out as a square, which takes a square number such as 1024",
        "Use an adapter for another image encoder, or set enhance_tiles to 1",
    )
