"""Pictures in two styles side by side, with captions that hold on their sides only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .attention import attend

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


def attend_by_side(
    first: Tensor, both: Tensor, tokens: int, addresses: Sequence[Any]
) -> dict[str, Any]:
    """Transformer options with which the last tokens are seen from the second side only.

    Args:
        first: from `side_of`.
        both: (n,), whether the second side has a caption too, and not the word alone.
        tokens: of each caption; those of the first side come before.
    """

    def on_its_side(q: Tensor, k: Tensor, v: Tensor, extra: Any) -> Tensor:
        edge = round(q.shape[1] ** 0.5)
        here = functional.adaptive_avg_pool2d(first[:, None].float(), edge).flatten(1) >= 0.5
        mask = torch.ones(len(q), q.shape[1], k.shape[1], dtype=torch.bool, device=q.device)
        mask[..., -2 * tokens : -tokens] = here[..., None]
        mask[..., -tokens:] = (~here & both[:, None])[..., None]
        return attend(q, k, v, extra["n_heads"], mask)

    patches: dict[Any, Callable[..., Tensor]] = dict.fromkeys(addresses, on_its_side)
    return {"patches_replace": {"attn2": patches}}
