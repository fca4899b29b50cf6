"""Noise, and pictures with noise in them, for what a reference is to stay away from.

The four kinds are those that users of ComfyUI_IPAdapter_plus know, written anew. Differs from it:

- a picture keeps its size instead of being cropped to 224 pixels;
- the seed is chosen and not made of the picture, and each of a batch is moved in its own way;
- edges are continued where shuffle fetches something from outside, not black;
- `blur` is how far it reaches to one side, half of the width there.

Sums are in double precision and results on the 8-bit grid, so that a seed gives the same bytes on
every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from ..errors import BadInput
from ..inputs import shown, whole, within
from .fit import to_bytes

SIDE, MOST_BLUR, LARGEST_SEED = 224, 32, 2**64 - 1
# Of shuffle in a picture of that side: how far a point moves at most, and how far its neighbours go
# along with it when the strength is 0; both in pixels.
_REACH, _TOGETHER = 37.5, 3.5
_GRAIN = 0.75


class Noise(str, Enum):
    """What noise does to a picture."""

    FADE = "fade"
    DISSOLVE = "dissolve"
    GAUSSIAN = "gaussian"
    SHUFFLE = "shuffle"


@dataclass(frozen=True)
class Recipe:
    """Which noise, and how much.

    Attributes:
        strength: 0..1; 0 leaves a picture as it is, but for shuffle, which still turns it around.
        blur: how far the blur of the result reaches, in pixels; 0 for none.
        seed: 0..2**64 - 1.
    """

    noise: Noise
    strength: float
    blur: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        within("strength", self.strength, 0, 1)
        whole("blur", self.blur, 0, MOST_BLUR)
        _require_seed(self.seed)


def _require_seed(seed: object) -> None:
    # Not `whole`, for which the largest ones are all the same.
    if not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
        raise BadInput(
            f"seed is {shown(seed)}",
            f"a whole number from 0 to {LARGEST_SEED} is needed",
            "Enter one, 0 to begin with",
        )


def noisy(images: Tensor, recipe: Recipe) -> Iterator[Tensor]:
    """(batch, height, width, channels) in 0..1 -> each as (height, width, 3) of 8 bits."""
    generator = torch.Generator().manual_seed(recipe.seed)
    for picture in to_bytes(images):
        mixed = _mixed(picture.double() / 255, recipe.noise, recipe.strength, generator)
        planes = mixed.clamp(0, 1).movedim(-1, 0)[None]
        # The deviation is the one OpenCV and torchvision take for a bell of that width.
        blurred = _smooth(planes, 0.3 * (recipe.blur - 1) + 0.8, recipe.blur)
        yield blurred[0].movedim(0, -1).mul(255).round().to(torch.uint8)


def _mixed(picture: Tensor, noise: Noise, strength: float, generator: Generator) -> Tensor:
    if noise is Noise.FADE:
        return picture * (1 - strength) + _uniform(picture.shape, generator) * strength
    if noise is Noise.DISSOLVE:
        chance, other = (_uniform(picture.shape, generator) for _ in range(2))
        return torch.where(chance < strength, other, picture)
    if noise is Noise.GAUSSIAN:
        return picture + _normal(picture.shape, generator) * strength
    moved = _moved(picture, 1 - strength, generator).flip(0, 1)
    grain = _normal(picture.shape, generator) * (_GRAIN * strength)
    return moved * (1 - grain) + grain


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _moved(picture: Tensor, together: float, generator: Generator) -> Tensor:
    """Each point taken from elsewhere; neighbours from nearby where `together` is above 0."""
    height, width = picture.shape[:2]
    short = min(height, width)
    # No finer than in a picture of 224, or an encoder would see nothing but the mean of it.
    grid = [max(round(side * min(SIDE / short, 1)), 1) for side in (height, width)]
    sigma = _TOGETHER * together
    field = _smooth(_uniform((1, 2, *grid), generator) * 2 - 1, sigma, math.ceil(4 * sigma))
    field = interpolate(field, size=(height, width), mode="bilinear") * (_REACH * short / SIDE)
    places = [(torch.arange(n, dtype=torch.float64) * 2 + 1) / n - 1 for n in (width, height)]
    x = places[0][None, :] + field[0, 0] * 2 / width
    y = places[1][:, None] + field[0, 1] * 2 / height
    planes = picture.movedim(-1, 0)[None]
    where = torch.stack([x, y], dim=-1)[None]
    out = grid_sample(planes, where, padding_mode="border", align_corners=False)
    return out[0].movedim(0, -1)


def _smooth(planes: Tensor, sigma: float, reach: int) -> Tensor:
    """(1, channels, height, width) blurred by a Gaussian cut off at `reach`, edges continued."""
    if reach == 0:
        return planes
    bell = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(-reach, reach + 1)]
    bell = [part / sum(bell) for part in bell]
    padded = pad(planes, (reach, reach, 0, 0), mode="replicate")
    padded = pad(_along(padded, 3, bell), (0, 0, reach, reach), mode="replicate")
    return _along(padded, 2, bell)


def _along(planes: Tensor, axis: int, bell: list[float]) -> Tensor:
    """Weighted sums of neighbours, one by one: no order that depends on the machine."""
    length = planes.shape[axis] - len(bell) + 1
    total = planes.narrow(axis, 0, length) * bell[0]
    for at, part in enumerate(bell[1:], 1):
        total.add_(planes.narrow(axis, at, length), alpha=part)
    return total
