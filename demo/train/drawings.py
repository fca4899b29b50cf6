"""Draws the pictures the toy models learn from: a shape, its colours and texture, a background."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .shapes import SHAPES, UNIT, WORDS

SIZE = 128
TEXTURES = ("plain", "upright stripes", "level stripes", "checks")
BACKGROUNDS = ("plain", "gradient", "ground")
_COVERED = 0.25  # part of the picture that a shape covers
_PERIOD = 0.25  # part of the picture until a texture repeats


@dataclass
class Style:
    """All about n pictures that is not their word; what an adapter has to carry over.

    Attributes:
        colours: (n, 4, 3) in 0..1: shape, second colour of its texture, background, the
            background's second colour.
        texture: (n,) index into `TEXTURES`.
        background: (n,) index into `BACKGROUNDS`.
    """

    colours: Tensor
    texture: Tensor
    background: Tensor


def random_styles(count: int, generator: torch.Generator) -> Style:
    """Vivid shapes on backgrounds they stand out from."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    hue = uniform(0, 1)
    first = hsv(hue, uniform(0.55, 1), uniform(0.55, 1))
    second = hsv((hue + uniform(0.25, 0.75)) % 1, uniform(0.2, 1), uniform(0.3, 1))
    back = _far_from(first, second, generator)
    dark = back.mean(-1, keepdim=True) < 0.45
    back_second = torch.where(dark, back * 0.55 + 0.35, back * 0.55)
    texture = torch.randint(len(TEXTURES), (count,), generator=generator)
    background = torch.randint(len(BACKGROUNDS), (count,), generator=generator)
    return Style(torch.stack((first, second, back, back_second), 1), texture, background)


def pencil_styles(count: int, generator: torch.Generator) -> Style:
    """How the base draws where nothing is said about looks: grey on paper, without a texture."""
    grey = 0.22 + 0.16 * torch.rand(count, 1, generator=generator)
    paper = 0.86 + 0.1 * torch.rand(count, 1, generator=generator)
    shape, ground = grey.expand(-1, 3), paper * torch.tensor([1.0, 0.99, 0.96])
    plain = torch.zeros(count, dtype=torch.long)
    return Style(torch.stack((shape, shape, ground, ground), 1), plain, plain)


def _far_from(first: Tensor, second: Tensor, generator: torch.Generator) -> Tensor:
    tries = 12
    hue, grey, light = torch.rand(3, tries, len(first), generator=generator)
    found = hsv(hue, 0.75 * grey, 0.12 + 0.88 * light)
    margin = torch.minimum((found - first).norm(dim=-1), 1.4 * (found - second).norm(dim=-1))
    good = (margin > 0.55).float() + 0.01 * margin  # the first that is far enough, else the best
    chosen = torch.where((margin > 0.55).any(0), (margin > 0.55).float().argmax(0), good.argmax(0))
    return found[chosen, torch.arange(len(first))]


def hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """(...) each in 0..1 -> (..., 3) RGB."""
    sector = (hue[..., None] * 6 + torch.tensor([0.0, 4.0, 2.0])) % 6
    ramp = ((sector - 3).abs() - 1).clamp(0, 1)
    return value[..., None] * (1 - saturation[..., None] * (1 - ramp))


def draw(words: Tensor, styles: Style, generator: torch.Generator, size: int = SIZE) -> Tensor:
    """Pictures (n, 3, size, size) in 0..1; place, scale and tilt are random.

    Args:
        words: (n,) index into `WORDS`.
    """
    line = (torch.arange(size) + 0.5) / size - 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    jitter = torch.rand(4, len(words), 1, 1, generator=generator) * 2 - 1
    x_here, y_here = x - 0.05 * jitter[0], y - 0.05 * jitter[1]
    inside = _silhouettes(words, x_here, y_here, jitter[2:])[:, None]
    mix = _texture(styles.texture, x_here, y_here)[:, None]
    first, second, back, back_second = (c[..., None, None] for c in styles.colours.unbind(1))
    ground = _background(styles.background, y)[:, None]
    shape = first + (second - first) * mix
    behind = back + (back_second - back) * ground
    return behind + (shape - behind) * inside


def _silhouettes(words: Tensor, x: Tensor, y: Tensor, jitter: Tensor) -> Tensor:
    scale = math.sqrt(_COVERED) * (1 + 0.06 * jitter[0])
    tilt = 0.12 * jitter[1]
    pixels = x.shape[-1]
    result = torch.empty_like(x)
    for index, word in enumerate(WORDS):
        rows = words == index
        if not rows.any():
            continue
        unit = scale[rows] * UNIT[word]
        u, v = x[rows] / unit, y[rows] / unit
        cos, sin = tilt[rows].cos(), tilt[rows].sin()
        distance = SHAPES[word](u * cos - v * sin, u * sin + v * cos)
        result[rows] = (0.5 - distance * unit * pixels).clamp(0, 1)
    return result


def _texture(kinds: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Share of the second colour, as large as x."""
    turn = 2 * math.pi / _PERIOD
    across, down = (turn * x).cos(), (turn * y).cos()
    waves = (torch.full_like(across, -1), across, down, (turn * x).sin() * (turn * y).sin())
    chosen = torch.stack(waves, 1)[torch.arange(len(kinds)), kinds]
    return (0.5 + chosen * x.shape[-1] * _PERIOD / 6).clamp(0, 1)


def _background(kinds: Tensor, y: Tensor) -> Tensor:
    """Share of the second colour, (n, size, size)."""
    ground = (0.5 + (y - 0.2) * len(y)).clamp(0, 1)
    return torch.stack((torch.zeros_like(y), y + 0.5, ground))[kinds]
