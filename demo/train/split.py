"""Pictures in two styles side by side, each told by a caption that is heard on its side only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

GRID = 16


def side_of(count: int, generator: torch.Generator) -> Tensor:
    """(count, 16, 16), true on the first side of a cut through each picture, in one direction."""
    cut = torch.randint(GRID // 4, GRID - GRID // 4 + 1, (count, 1, 1), generator=generator)
    first = (torch.arange(GRID) < cut).expand(-1, GRID, -1)
    upright = torch.rand(count, generator=generator) < 0.7
    return torch.where(upright[:, None, None], first, first.transpose(1, 2))


def joined(one: Tensor, other: Tensor, first: Tensor) -> Tensor:
    """Latents (n, 4, 16, 16): those of `one` on the first side."""
    return torch.where(first[:, None], one, other)


def hear_sides(first: Tensor, tokens: int, addresses: Sequence[Any]) -> dict[str, Any]:
    """Transformer options with which the last tokens are heard on the second side only.

    Args:
        first: from `side_of`.
        tokens: of each caption; those of the first side come before.
    """

    def attend(q: Tensor, k: Tensor, v: Tensor, extra: Any) -> Tensor:
        edge = round(q.shape[1] ** 0.5)
        here = functional.adaptive_avg_pool2d(first[:, None].float(), edge).flatten(1) >= 0.5
        heard = torch.ones(len(q), q.shape[1], k.shape[1], dtype=torch.bool, device=q.device)
        heard[..., -2 * tokens : -tokens] = here[..., None]
        heard[..., -tokens:] = ~here[..., None]
        heads = extra["n_heads"]
        parts = [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v)]
        seen = functional.scaled_dot_product_attention(*parts, attn_mask=heard[:, None])
        return seen.transpose(1, 2).flatten(2)

    patches: dict[Any, Callable[..., Tensor]] = dict.fromkeys(addresses, attend)
    return {"patches_replace": {"attn2": patches}}
