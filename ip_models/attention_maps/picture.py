"""Attention maps as pictures: colours from dark to light, alone or laid over the picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

# From nothing to all; each is lighter than the one before, so that greys tell them apart too.
_COLOURS = (
    (8, 6, 24),
    (66, 18, 108),
    (158, 38, 112),
    (228, 82, 66),
    (250, 150, 40),
    (255, 232, 96),
)
_DIMMED = 0.5  # of the picture where nothing is heard, so that colours stand out
_MOST = 0.9  # of the colour where the most is heard
_SHADE = 0.5  # of the colour where the picture is black, so that both are seen


def coloured(maps: Tensor) -> Tensor:
    """(n, height, width) in 0..1 as (n, height, width, 3)."""
    steps = torch.tensor(_COLOURS, dtype=torch.float32) / 255
    places = maps.float().clamp(0, 1) * (len(steps) - 1)
    below = places.long().clamp(max=len(steps) - 2)
    return torch.lerp(steps[below], steps[below + 1], (places - below)[..., None])


def laid_over(maps: Tensor, pictures: Tensor) -> Tensor:
    """The same over pictures without their colours, both (n, height, width) and (n, .., .., 3)."""
    grey = pictures[..., :3].float().mean(dim=-1, keepdim=True)
    share = (maps.clamp(0, 1).sqrt() * _MOST)[..., None]
    tinted = coloured(maps) * (_SHADE + (1 - _SHADE) * grey)
    return torch.lerp((grey * _DIMMED).expand_as(tinted), tinted, share).clamp(0, 1)


def resized(maps: Tensor, height: int, width: int) -> Tensor:
    """(n, height, width) of another size, smooth."""
    sized = interpolate(maps[:, None], size=(height, width), mode="bilinear")
    return sized[:, 0].clamp(0, 1)
