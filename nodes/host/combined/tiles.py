"""A reference cut into tiles, each heard where it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ....ip_models.attention.masks import require_mask
from ....ip_models.inputs import require
from ....ip_models.pictures.fit import Fit, require_images
from ....ip_models.pictures.tile_grid import TileGrid, tile_grid
from ....ip_models.references.combine import only
from ....ip_models.references.features import ImageFeatures, Region, Regions
from ..encoder.encode import Reference, encode

MOST_TILES = 8  # along the short side


@dataclass(frozen=True)
class Cutting:
    """How a reference is cut, and what of the picture hears it.

    Attributes:
        tiles: along the short side, 0 to go by the shape.
        overlap: least share that neighbours have in common, 0..0.5.
        negative: what to stay away from, or None.
        mask: part of the picture that hears the reference, or None for all of it.
    """

    tiles: int = 0
    overlap: float = 0.0
    negative: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class Tiles:
    """Tiles as they were cut, as the encoder gets them, and as references in their places.

    Attributes:
        pictures: tile by tile, each of all pictures.
        masks: tile by tile, each of all masks.
        features: of all tiles, as if they were one reference beside the other.
    """

    grid: TileGrid
    pictures: Tensor
    masks: Tensor
    reference: Reference
    features: ImageFeatures
    regions: Regions

    @property
    def text(self) -> str:
        """How it was cut, for people."""
        height, width = self.pictures.shape[1:3]
        rows, columns = len(self.grid.rows), len(self.grid.columns)
        return f"{columns} x {rows} tiles of {width} x {height} pixels"


def cut_and_encode(clip_vision: Any, images: Tensor, cutting: Cutting) -> Tiles:
    """Each tile a reference with the mask of its place.

    Raises:
        BadInput: the images, a mask or the encoder cannot be used.
    """
    require("image", images, Tensor, "an IMAGE")
    require_images(images, "image")
    count, height, width, _ = images.shape
    grid = tile_grid(height, width, cutting.tiles, cutting.overlap)
    each = grid.cut(images)
    pictures = torch.cat(each)
    negative = cutting.negative
    if negative is not None and len(negative) == count > 1:
        negative = negative.repeat(len(each), 1, 1, 1)
    # Nothing of a tile may be lost that is no square by a few pixels.
    reference = Reference(pictures, Fit.SQUASH, negative=negative)
    features = encode(clip_vision, reference)
    masks = _within(grid.masks(), cutting.mask)
    regions = [
        Region(only(features, slice(i * count, (i + 1) * count)), planes, 1.0)
        for i, planes in enumerate(masks)
    ]
    return Tiles(grid, pictures, masks.flatten(0, 1), reference, features, Regions(tuple(regions)))


def _within(places: Tensor, mask: Tensor | None) -> Tensor:
    """The part of each place that lies in each mask, (places, masks, height, width)."""
    if mask is None:
        return places[:, None]
    planes = require_mask(mask, "attn_mask")[:, None]
    sized = interpolate(planes, size=places.shape[-2:], mode="bilinear", antialias=True)
    return places[:, None] * sized[:, 0].clamp(0, 1)
