"""The resampler of SD3.5's adapter, which reads the noise level too.

Arithmetic of diffusers 0.42, `IPAdapterTimeImageProjection` (Apache-2.0), under the names of the
published file.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .resampler import Modulation, Perceiver, ResamplerShape

_PERIOD = 10_000


class _TimeEmbedding(nn.Module):
    """Two linear layers behind the sines and cosines of a timestep."""

    def __init__(self, inputs: int, width: int, operations: Any, **where: Any) -> None:
        super().__init__()
        self.linear_1 = operations.Linear(inputs, width, **where)
        self.linear_2 = operations.Linear(width, width, **where)
        self._inputs = inputs

    def forward(self, times: Tensor, like: Tensor) -> Tensor:
        """(n,) timesteps, 0..1000 in single precision at least -> (n, width)."""
        half = self._inputs // 2
        numbers = torch.arange(half, device=times.device, dtype=times.dtype)
        angles = times[:, None] * torch.exp(-math.log(_PERIOD) * numbers / half)
        waves = torch.cat((angles.cos(), angles.sin()), dim=-1).to(like)
        return self.linear_2(nn.functional.silu(self.linear_1(waves)))


class TimeResampler(Perceiver):
    """Learned latents attend to features in the light of a timestep.

    Args:
        time_width: of the sines and cosines that a timestep is given as.
    """

    def __init__(
        self, shape: ResamplerShape, time_width: int, operations: Any, **where: Any
    ) -> None:
        super().__init__(shape, operations, **where)
        width = shape.latent_width
        self.latents = nn.Parameter(torch.empty(1, shape.latent_count, width, **where))
        self.time_embedding = _TimeEmbedding(time_width, width, operations, **where)
        for layer in self.layers:
            modulation = operations.Linear(width, 4 * width, **where)
            layer.append(nn.Sequential(nn.SiLU(), modulation))  # pyright: ignore

    def at(self, features: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Image tokens of references at some timesteps.

        Args:
            features: (n, sequence, feature).
            times: (n,), 0..1000.

        Returns:
            (n, latents, context), and the embedding of each timestep, (n, width).
        """
        time = self.time_embedding(times, features)
        hidden_states = self.proj_in(features) + time[:, None]
        latents = self.latents.to(features).expand(len(features), -1, -1)
        for attention, feed_forward, modulation in self.layers:  # pyright: ignore
            norm, *rest = feed_forward
            shift, scale, more_shift, more_scale = modulation(time).chunk(4, dim=1)
            latents = attention(hidden_states, latents, Modulation(shift, scale)) + latents
            changed = Modulation(more_shift, more_scale).of(norm(latents))
            for part in rest:
                changed = part(changed)
            latents = changed + latents
        return self.norm_out(self.proj_out(latents)), time
