"""MASK and the size of a picture in, the mask on each layer grid of a MODEL out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ....ip_models.attention.mask_sheet import MaskView
from ....ip_models.attention.masks import MaskRule
from ....ip_models.inputs import require, whole
from ....ip_models.weights.outline import layer_grids
from ..model.backbones.layers import VOCABULARY, attention_layers
from ..protocols import Model

LEAST_SIDE, MOST_SIDE = 16, 16384
_PIXELS = 8  # of the picture for one of the latent, along each side
_FAMILY = VOCABULARY.outlines[0]


@dataclass(frozen=True)
class Canvas:
    """What the mask is stretched over.

    Attributes:
        model: whose layers get it, None for those of the first family.
        latent: the host's LATENT, None for the one of a picture of the size below.
        width, height: in pixels.
    """

    model: Model | None
    latent: Any
    width: int
    height: int


def view_mask(mask: Any, rule: MaskRule, canvas: Canvas) -> tuple[Tensor, str]:
    """Sheets, (masks, height, width, 3) in 0..1, and what they show in words.

    Raises:
        BadInput: an input cannot be used.
        WrongBase: the MODEL has no layers that a reference could work in.
    """
    require("mask", mask, Tensor, "a node with a MASK")
    size = _latent_size(canvas)
    if canvas.model is None:
        layers, whose = _FAMILY.layers, _FAMILY.name
    else:
        layers, whose = attention_layers(canvas.model), "this MODEL"
    view = MaskView(mask, rule, layer_grids(size, (layer.depth for layer in layers)))
    height, width = (side * _PIXELS for side in size)
    first = f"{width} x {height} pixels, layers of {whose}, mask_rule {rule.value}"
    return view.sheets(), "\n".join([first, *view.lines()])


def _latent_size(canvas: Canvas) -> tuple[int, int]:
    if canvas.latent is None:
        sides = (("height", canvas.height), ("width", canvas.width))
        height, width = (whole(name, side, LEAST_SIDE, MOST_SIDE) for name, side in sides)
        return height // _PIXELS, width // _PIXELS
    height, width = canvas.latent["samples"].shape[-2:]
    return int(height), int(width)
