"""The decoupled cross-attention of IP-Adapter (arXiv:2308.06721, equation 5)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .layers import LayerAddress
from .prompt import ActivePrompts


class Attention(Protocol):
    """Multi-head attention as the host offers it: (n, length, width) in and out."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, heads: int, /) -> Tensor: ...


def add_image_attention(
    text: Tensor,
    q: Tensor,
    heads: int,
    address: LayerAddress,
    grid: tuple[int, int] | None,
    active: ActivePrompts,
    attention: Attention,
) -> Tensor:
    """Text attention plus, for each prompt, its scale times the attention to its tokens.

    Args:
        text: output of the text attention, (batch, queries, width).
        q: the layer's query, same shape; the batch is `len(active.rows)` parts of equal size.
        grid: height and width of the query grid, needed by masks only.
    """
    out = text
    for prompt in active.prompts:
        position = prompt.positions.get(address)
        if position is None:
            continue
        k, v = prompt.key_values.layer(position, active.rows, q)
        # All samples of a part share their tokens, so they are one long row of queries.
        folded = q.reshape(len(active.rows), -1, q.shape[-1])
        image = attention(folded, k, v, heads).view_as(q)
        if prompt.mask is not None and grid is not None:
            out = torch.addcmul(out, image, prompt.mask.on(*grid, like=q))
        else:
            out = out + image
    return out
