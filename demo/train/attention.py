"""Attention that training can go back through; the host's own is made for sampling."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """(n, queries, width), each head in its part of the width.

    Args:
        mask: (n, queries, keys), true where a query may look; None for everywhere.
    """
    parts = [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v)]
    each = None if mask is None else mask[:, None]
    mixed = functional.scaled_dot_product_attention(*parts, attn_mask=each)
    return mixed.transpose(1, 2).flatten(2)
