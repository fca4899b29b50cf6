"""The decoupled cross-attention of IP-Adapter (arXiv:2308.06721, equation 5)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

import torch
from torch import Tensor

from .prompt import ActivePrompts


class Attention(Protocol):
    """Multi-head attention as the host offers it: (n, length, width) in and out."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, heads: int, /) -> Tensor: ...


def add_image_attention(
    text: Tensor,
    q: Tensor,
    heads: int,
    slot: Hashable,
    grid: tuple[int, int] | None,
    active: ActivePrompts,
    attention: Attention,
) -> Tensor:
    """Text cross-attention plus, for each image prompt, that to its image tokens at its scale.

    Args:
        text: output of the text cross-attention, (batch, queries, width).
        q: the layer's query, same shape.
        grid: height and width of the query grid, needed by masks only.
    """
    out = text
    for prompt in active.prompts:
        pair = prompt.key_values(slot, q)
        if pair is None:
            continue
        # Pictures that share their image tokens are one long row of queries.
        folded = q.reshape(len(prompt.rows), -1, q.shape[-1])
        image = attention(folded, *pair, heads).view_as(q)
        mask = prompt.mask_on(grid, q)
        out = out + image if mask is None else torch.addcmul(out, image, mask)
    return out
