"""Pictures of one size in a batch, made so by ComfyUI's own resize."""

from __future__ import annotations

from collections.abc import Sequence

import comfy.utils
import torch
from torch import Tensor


def batch_of(images: Sequence[Tensor]) -> Tensor:
    """All pictures, those of other sizes cut and scaled to the size of the first."""
    height, width = images[0].shape[1:3]
    return torch.cat([images[0], *(_scaled(one, width, height) for one in images[1:])])


def _scaled(image: Tensor, width: int, height: int) -> Tensor:
    if image.shape[1:3] == (height, width):
        return image
    planes = image.movedim(-1, 1)
    return comfy.utils.common_upscale(planes, width, height, "bilinear", "center").movedim(1, -1)
