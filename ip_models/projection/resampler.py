"""Perceiver resampler of the Plus adapters: learned queries read the encoder's token sequence.

Arithmetic of tencent-ailab/IP-Adapter @ 62e4af9, `resampler.py` (Apache-2.0). Differs from the
source: one fused attention call; the head count comes from the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

HEAD_WIDTH = 64


@dataclass(frozen=True)
class ResamplerShape:
    """Sizes of a resampler.

    Attributes:
        latent_count: learned queries; of no meaning where the latents come from elsewhere.
        heads: each `HEAD_WIDTH` wide.
        hidden_width: of the feed-forward layers.
    """

    latent_count: int
    latent_width: int
    feature_width: int
    context_width: int
    heads: int
    hidden_width: int
    depth: int


class Modulation(NamedTuple):
    """Shift and scale of what a norm gives, both (n, width)."""

    shift: Tensor
    scale: Tensor

    def of(self, rows: Tensor) -> Tensor:
        """(n, rows, width) -> the same."""
        return rows * (1 + self.scale[:, None]) + self.shift[:, None]


class PerceiverAttention(nn.Module):
    """Latents attend to the encoder's hidden states followed by the latents themselves."""

    def __init__(self, width: int, heads: int, operations: Any, **where: Any) -> None:
        super().__init__()
        inner = heads * HEAD_WIDTH
        self.norm1 = operations.LayerNorm(width, **where)
        self.norm2 = operations.LayerNorm(width, **where)
        self.to_q = operations.Linear(width, inner, bias=False, **where)
        self.to_kv = operations.Linear(width, inner * 2, bias=False, **where)
        self.to_out = operations.Linear(inner, width, bias=False, **where)

    def forward(
        self, hidden_states: Tensor, latents: Tensor, modulation: Modulation | None = None
    ) -> Tensor:
        """(n, sequence, width), (n, latents, width) -> (n, latents, width)."""
        hidden_states, latents = self.norm1(hidden_states), self.norm2(latents)
        if modulation is not None:
            latents = modulation.of(latents)
        query = self.to_q(latents)
        key, value = self.to_kv(torch.cat((hidden_states, latents), dim=-2)).chunk(2, dim=-1)
        heads = [t.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2) for t in (query, key, value)]
        attended = nn.functional.scaled_dot_product_attention(*heads)
        return self.to_out(attended.transpose(1, 2).flatten(-2))


class Perceiver(nn.Module):
    """(n, latents, width), (n, sequence, feature) -> (n, latents, context)."""

    def __init__(self, shape: ResamplerShape, operations: Any, **where: Any) -> None:
        super().__init__()
        width = shape.latent_width
        self.proj_in = operations.Linear(shape.feature_width, width, **where)
        self.proj_out = operations.Linear(width, shape.context_width, **where)
        self.norm_out = operations.LayerNorm(shape.context_width, **where)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                (
                    PerceiverAttention(width, shape.heads, operations, **where),
                    nn.Sequential(
                        operations.LayerNorm(width, **where),
                        operations.Linear(width, shape.hidden_width, bias=False, **where),
                        nn.GELU(),
                        operations.Linear(shape.hidden_width, width, bias=False, **where),
                    ),
                )
            )
            for _ in range(shape.depth)
        )

    def forward(self, latents: Tensor, features: Tensor) -> Tensor:
        """The latents after all layers of attention to the projected features."""
        hidden_states = self.proj_in(features)
        for attention, feed_forward in self.layers:  # pyright: ignore[reportGeneralTypeIssues]
            latents = attention(hidden_states, latents) + latents
            latents = feed_forward(latents) + latents
        return self.norm_out(self.proj_out(latents))


class Resampler(Perceiver):
    """A perceiver whose latents are learned: (n, sequence, feature) -> (n, latents, context)."""

    def __init__(self, shape: ResamplerShape, operations: Any, **where: Any) -> None:
        super().__init__(shape, operations, **where)
        latents = torch.empty(1, shape.latent_count, shape.latent_width, **where)
        self.latents = nn.Parameter(latents)

    def forward(self, features: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(references, sequence, feature) -> (references, latents, context)."""
        # A partly loaded module may leave a bare parameter behind on the offload device.
        latents = self.latents.to(features).expand(len(features), -1, -1)
        return super().forward(latents, features)
