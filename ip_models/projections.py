"""Image projections without attention: features in, tokens as wide as the text context out.

Arithmetic of tencent-ailab/IP-Adapter @ 62e4af9, `ImageProjModel` and `MLPProjModel` (Apache-2.0).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class LinearProjection(nn.Module):
    """Standard adapters: one linear layer makes all tokens of a pooled feature."""

    def __init__(
        self, feature_width: int, tokens: int, context_width: int, operations: Any, **where: Any
    ) -> None:
        super().__init__()
        self.proj = operations.Linear(feature_width, tokens * context_width, **where)
        self.norm = operations.LayerNorm(context_width, **where)
        self.tokens = tokens

    def forward(self, features: Tensor) -> Tensor:
        """(references, feature) -> (references, tokens, context)."""
        return self.norm(self.proj(features).unflatten(-1, (self.tokens, -1)))


class TokenProjection(nn.Module):
    """Full face adapters: each token of the encoder becomes one token of the adapter."""

    def __init__(
        self, feature_width: int, context_width: int, operations: Any, **where: Any
    ) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            operations.Linear(feature_width, feature_width, **where),
            nn.GELU(),
            operations.Linear(feature_width, context_width, **where),
            operations.LayerNorm(context_width, **where),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(references, sequence, feature) -> (references, sequence, context)."""
        return self.proj(features)
