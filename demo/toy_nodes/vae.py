"""Pictures to latents by a fixed rule, and back by a small network that learned it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CELL = 8  # pixels along the edge of what one latent stands for
_FINE = 4  # of them are looked at along an edge
CHANNELS = 4
# Brightness, red against blue, green against both: rows of length 1, at right angles.
_COLOUR = ((0.5774, 0.5774, 0.5774), (0.7071, 0.0, -0.7071), (0.4082, -0.8165, 0.4082))
LATENT_TO_RGB = [  # roughly, for previews
    [0.39, 0.39, 0.39],
    [0.24, 0.0, -0.24],
    [0.14, -0.28, 0.14],
    [0.0, 0.0, 0.0],
]
_MEAN = (0.82, 0.0, 0.0, 0.065)
_SPREAD = (0.34, 0.17, 0.17, 0.12)


class ToyVAE(nn.Module):
    """Latents hold the mean colour of 8 x 8 pixels and how much they differ; in -1..1 as hosts do.

    A fixed rule instead of a trained encoder makes the latents as smooth as the drawings, which a
    very small diffusion model needs; what is lost between two cells the decoder draws again.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.enter = nn.Conv2d(CHANNELS, width, 3, padding=1)
        self.coarse = nn.ModuleList(_Block(width) for _ in range(2))
        self.finer = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.fine = nn.ModuleList(_Block(width // 2) for _ in range(2))
        self.leave = nn.Conv2d(width // 2, 3 * 16, 3, padding=1)

    def encode(self, pixels: Tensor) -> Tensor:
        """(n, 3, height, width) -> (n, 4, height / 8, width / 8)."""
        return to_latents(pixels * 0.5 + 0.5)

    def decode(self, latents: Tensor) -> Tensor:
        """(n, 4, height, width) -> (n, 3, 8 * height, 8 * width)."""
        x = self.enter(latents)
        for block in self.coarse:
            x = block(x)
        x = functional.pixel_shuffle(self.finer(x), 2)
        for block in self.fine:
            x = block(x)
        detail = functional.pixel_shuffle(self.leave(x), 4)
        colours = mean_colours(latents)
        return 2 * (functional.interpolate(colours, scale_factor=CELL) + detail) - 1


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.silu(self.first(functional.silu(x))))


def to_latents(pictures: Tensor, cell: int = CELL) -> Tensor:
    """(n, 3, height, width) in 0..1 -> latents of about unit variance.

    Args:
        cell: pixels along the edge of a latent; drawings for training come smaller.
    """
    fine = functional.avg_pool2d(pictures, cell // _FINE)
    cells = functional.pixel_unshuffle(fine, _FINE).unflatten(1, (3, -1))
    mean, spread = cells.mean(2), (cells.var(2).sum(1, keepdim=True) + 1e-8).sqrt()
    colour = torch.einsum("oc,nchw->nohw", mean.new_tensor(_COLOUR), mean)
    return (torch.cat((colour, spread), 1) - _column(_MEAN, mean)) / _column(_SPREAD, mean)


def mean_colours(latents: Tensor) -> Tensor:
    """Mean colour of each cell, (n, 3, height, width) in about 0..1."""
    column = latents * _column(_SPREAD, latents) + _column(_MEAN, latents)
    return torch.einsum("oc,nohw->nchw", latents.new_tensor(_COLOUR), column[:, :3])


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return like.new_tensor(values)[:, None, None]
