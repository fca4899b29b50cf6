"""Noise in pictures with the random numbers that old workflows got.

The seed is made of the picture, so the same picture gets the same noise. Numbers are drawn from a
generator of our own, in the order and memory layout in which the global one gave them. That layout
is the reason for torchvision's two sets of functions: version 1 was made with the older one, and
the two leave a resized picture in memory differently.
"""

from __future__ import annotations

import math
from types import ModuleType

import torch
from torch import Generator, Tensor
from torchvision.transforms import functional as older
from torchvision.transforms.v2 import functional as newer

from ....ip_models.inputs import listed, whole, within
from .checks import require_picture

KINDS = ("fade", "dissolve", "gaussian", "shuffle")
_SIDE, _MOST_BLUR, _SEEDS = 224, 32, 1_000_000_007
# Of the elastic shift: how far a point moves, and how far its neighbours go along with it.
_REACH, _TOGETHER = 75.0, 3.5
_GRAIN = 0.75


def make_noise(kind: str, strength: float, blur: int, image: Tensor | None) -> Tensor:
    """Noise, mixed with the centre squares of pictures if there are any; (n, 224, 224, channels).

    Args:
        strength: 0..1.
        blur: width of the blur afterwards; even ones count as one more, 0 for none.

    Raises:
        BadInput: no pictures, or a setting out of its range.
    """
    listed("type", kind, KINDS)
    within("strength", strength, 0, 1)
    whole("blur", blur, 0, _MOST_BLUR)
    picture = (
        torch.zeros(1, _SIDE, _SIDE, 3) if image is None else _small(image, newer).movedim(1, -1)
    )
    generator = Generator().manual_seed(int(_sum(picture)) % _SEEDS)
    noise = _mixed(picture, kind, strength, generator).clamp(0, 1)
    if blur == 0:
        return noise
    return newer.gaussian_blur(noise.movedim(-1, 1), [int(blur) | 1] * 2).movedim(1, -1)


def noisy_negative(image: Tensor, noise: float) -> Tensor:
    """What version 1 encodes as the negative reference for a noise above 0.

    The centre squares at 224 pixels, shuffled and turned around; the less noise, the more grain.
    Values outside 0..1 are cut here as ComfyUI cuts them on the way to an encoder of that size.
    """
    within("noise", noise, 0, 1)
    generator = Generator().manual_seed(0)
    moved = _shuffled(_small(image, older), noise * _TOGETHER, generator, older).movedim(1, -1)
    return (moved + _normal(moved, generator) * (0.25 * (1 - noise) + 0.05)).clamp(0, 1)


def _mixed(picture: Tensor, kind: str, strength: float, generator: Generator) -> Tensor:
    if kind == "fade":
        return picture * (1 - strength) + _uniform(picture, generator) * strength
    if kind == "dissolve":
        chosen = _uniform(picture, generator) < strength
        return torch.where(chosen, _uniform(picture, generator), picture)
    if kind == "gaussian":
        return picture + _normal(picture, generator) * strength
    sigma = (1 - strength) * _TOGETHER
    moved = _shuffled(picture.movedim(-1, 1), sigma, generator, newer).movedim(1, -1)
    grain = _normal(moved, generator) * (strength * _GRAIN)
    return moved * (1 - grain) + grain


def _sum(picture: Tensor) -> float:
    """Of all values, also where half precision does not go that far."""
    total = picture.sum().item()
    return total if math.isfinite(total) else picture.double().sum().item()


def _uniform(like: Tensor, generator: Generator) -> Tensor:
    return torch.empty_like(like).uniform_(generator=generator)


def _normal(like: Tensor, generator: Generator) -> Tensor:
    return torch.empty_like(like).normal_(generator=generator)


def _small(image: Tensor, functions: ModuleType) -> Tensor:
    # Random numbers of a GPU would be other ones.
    planes = require_picture(image).cpu().movedim(-1, 1)
    square = functions.center_crop(planes, [min(planes.shape[-2:])] * 2)
    bicubic = functions.InterpolationMode.BICUBIC
    return functions.resize(square, [_SIDE, _SIDE], bicubic, antialias=True)


def _shuffled(planes: Tensor, sigma: float, generator: Generator, functions: ModuleType) -> Tensor:
    """Each point taken from elsewhere, then the whole turned around."""
    height, width = planes.shape[-2:]
    fields = [
        _field((height, width), sigma, generator, functions) * _REACH / side
        for side in (width, height)
    ]
    shift = torch.cat(fields, dim=1).movedim(1, -1)
    bilinear = functions.InterpolationMode.BILINEAR
    moved = functions.elastic_transform(planes, shift, bilinear, fill=[0.0])
    # The two flips toss a coin each that always shows heads.
    torch.rand(2, generator=generator)
    return moved.flip(-2).flip(-1)


def _field(
    size: tuple[int, int], sigma: float, generator: Generator, functions: ModuleType
) -> Tensor:
    """A shift for every pixel, the same within a few pixels if sigma is above 0."""
    field = torch.rand((1, 1, *size), generator=generator) * 2 - 1
    if sigma <= 0:
        return field
    return functions.gaussian_blur(field, [int(8 * sigma + 1) | 1] * 2, [sigma, sigma])
