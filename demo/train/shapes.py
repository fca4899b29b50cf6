"""The shapes a word can ask for, as signed distances: negative inside."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Point = tuple[float, float]


def circle(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y) - 1


def ring(x: Tensor, y: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.72).abs() - 0.28


def moon(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(circle(x, y), 0.8 - torch.hypot(x - 0.6, y))


def clover(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x.abs() - 0.52, y.abs() - 0.52) - 0.48


def heart(x: Tensor, y: Tensor) -> Tensor:
    x, y = x.abs(), 0.85 - y  # two quarters of a circle on a square that stands on its corner
    upper = torch.hypot(x - 0.5, y - 1.5) - math.sqrt(0.5)
    shift = 0.5 * (x + y).clamp(min=0)
    lower = torch.minimum(x**2 + (y - 2) ** 2, (x - shift) ** 2 + (y - shift) ** 2).sqrt()
    lower = lower * torch.sign(x - y)
    return torch.where(x + y > 2, upper, lower)


def polygon(*corners: Point) -> Callable[[Tensor, Tensor], Tensor]:
    """Signed distance to a polygon: nearest edge, and the sign by counting crossings."""

    def distance(x: Tensor, y: Tensor) -> Tensor:
        nearest, outside = torch.full_like(x, 1e9), torch.ones_like(x)
        for (ax, ay), (bx, by) in zip(corners, (corners[-1], *corners[:-1]), strict=True):
            ex, ey, wx, wy = bx - ax, by - ay, x - ax, y - ay
            along = ((wx * ex + wy * ey) / (ex * ex + ey * ey)).clamp(0, 1)
            gap = (wx - ex * along) ** 2 + (wy - ey * along) ** 2
            nearest = torch.minimum(nearest, gap)
            left = ex * wy > ey * wx
            flips = ((y >= ay) & (y < by) & left) | ((y < ay) & (y >= by) & ~left)
            outside = torch.where(flips, -outside, outside)
        return outside * nearest.sqrt()

    return distance


def _star() -> list[Point]:
    turns = [math.pi * i / 5 for i in range(10)]
    return [
        ((0.45 if i % 2 else 1) * math.sin(turn), -(0.45 if i % 2 else 1) * math.cos(turn))
        for i, turn in enumerate(turns)
    ]


def _cross(arm: float = 0.36) -> list[Point]:
    quarter = [(arm, 1.0), (arm, arm), (1.0, arm)]
    mirrored = [(x, -y) for x, y in reversed(quarter)]
    right = [*quarter, *mirrored]
    return [*right, *((-x, y) for x, y in reversed(right))]


_ARROW = [(-1.0, -0.3), (0.05, -0.3), (0.05, -0.8), (1.0, 0.0)]
_BOLT = [(0.25, -1.0), (-0.6, 0.15), (-0.05, 0.15), (-0.25, 1.0), (0.6, -0.2), (0.05, -0.2)]

SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": circle,
    "square": polygon((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "triangle": polygon((0, -1), (1.1, 0.85), (-1.1, 0.85)),
    "star": polygon(*_star()),
    "heart": heart,
    "cross": polygon(*_cross()),
    "ring": ring,
    "moon": moon,
    "arrow": polygon(*_ARROW, *((x, -y) for x, y in reversed(_ARROW[:3]))),
    "hourglass": polygon((-0.9, -1), (0.9, -1), (0.15, 0), (0.9, 1), (-0.9, 1), (-0.15, 0)),
    "clover": clover,
    "bolt": polygon(*_BOLT),
}
WORDS = tuple(SHAPES)


def _area(shape: Callable[[Tensor, Tensor], Tensor]) -> float:
    line = torch.linspace(-2, 2, 401)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return float((shape(x, y) < 0).float().mean()) * 16


# Every shape covers as much, so that colours and not sizes make the difference of two pictures.
UNIT = {word: math.sqrt(1 / _area(shape)) for word, shape in SHAPES.items()}
