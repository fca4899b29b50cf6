"""How far apart the colours of two pictures are, wherever in the picture they are."""

from __future__ import annotations

import torch
from torch import Tensor

_DIRECTIONS = 24


def colour_distance(one: Tensor, other: Tensor) -> Tensor:
    """Sliced transport distance of the colour histograms of (n, height, width, 3), each alone.

    The mean path, in units of the range of one channel, that colour has to travel along a random
    direction to make one histogram of the other; needs no bins.
    """
    generator = torch.Generator().manual_seed(0)
    lines = torch.randn(3, _DIRECTIONS, generator=generator)
    lines = lines / lines.norm(dim=0)
    first, second = ((p.flatten(1, 2) @ lines).sort(1).values for p in (one, other))
    return (first - second).abs().mean((1, 2))
