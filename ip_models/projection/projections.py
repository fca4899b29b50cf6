"""Image projections: features in, tokens as wide as the text context out.

Arithmetic of tencent-ailab/IP-Adapter @ 62e4af9, `ImageProjModel`, `MLPProjModel`,
`MLPProjModelFaceId` and `ProjPlusModel` (Apache-2.0).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from .resampler import Perceiver, ResamplerShape


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


class FaceShape(NamedTuple):
    """Sizes of a face projection, all read from its weights."""

    identity_width: int
    hidden_width: int
    tokens: int
    token_width: int


class Structure(NamedTuple):
    """How the CLIP features of a face join its identity in FaceID plus adapters.

    Attributes:
        shortcut: the identity tokens are added to the resampler's output, as in version 2;
            otherwise they are its latents only, as in version 1.
        scale: of the resampler's output where there is a shortcut.
    """

    shortcut: bool = False
    scale: float = 1.0


VERSION_1 = Structure()


class _IdentityTokens(nn.Module):
    """Two linear layers make all tokens of an identity."""

    def __init__(self, shape: FaceShape, operations: Any, **where: Any) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            operations.Linear(shape.identity_width, shape.hidden_width, **where),
            nn.GELU(),
            operations.Linear(shape.hidden_width, shape.tokens * shape.token_width, **where),
        )
        self.norm = operations.LayerNorm(shape.token_width, **where)
        self.tokens = shape.tokens

    def identity_tokens(self, identity: Tensor) -> Tensor:
        """(references, identity) -> (references, tokens, token width)."""
        return self.norm(self.proj(identity).unflatten(-1, (self.tokens, -1)))


class FaceProjection(_IdentityTokens):
    """FaceID and portrait adapters: the identity alone makes the tokens."""

    def forward(self, identity: Tensor) -> Tensor:
        """(references, identity) -> (references, tokens, token width)."""
        return self.identity_tokens(identity)


class FacePlusProjection(_IdentityTokens):
    """FaceID plus adapters: the identity tokens are latents that attend to the CLIP features."""

    def __init__(
        self, shape: FaceShape, perceiver: ResamplerShape, operations: Any, **where: Any
    ) -> None:
        super().__init__(shape, operations, **where)
        self.perceiver_resampler = Perceiver(perceiver, operations, **where)

    def forward(self, identity: Tensor, crops: Tensor, structure: Structure = VERSION_1) -> Tensor:
        """(references, identity), (references, sequence, feature) -> as `identity_tokens`."""
        tokens = self.identity_tokens(identity)
        resampled = self.perceiver_resampler(tokens, crops)
        return tokens + structure.scale * resampled if structure.shortcut else resampled
