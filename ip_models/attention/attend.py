"""The decoupled cross-attention of IP-Adapter (arXiv:2308.06721, equation 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .masks import Crop, Grid, RegionMask


class Attention(Protocol):
    """Multi-head attention as the host offers it: (n, length, width) out, and mostly in."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, heads: int, /) -> Tensor: ...


class Join(Protocol):
    """How the image attention of a layer joins what is there, both (batch, queries, width)."""

    def __call__(
        self, out: Tensor, image: Tensor, factor: float, cover: Tensor | None, /
    ) -> Tensor:
        """The sum of both.

        Args:
            factor: of the image attention.
            cover: the same for each row or query, (1 or batch, 1 or queries, 1); None for all.
        """
        ...


def add_scaled(out: Tensor, image: Tensor, factor: float, cover: Tensor | None) -> Tensor:
    """Text and image attention added up, as IP-Adapter does it."""
    if cover is not None:
        return torch.addcmul(out, image, cover, value=factor)
    return torch.add(out, image, alpha=factor)


class Cover:
    """How much each row and each query of a layer counts.

    Args:
        mask, crops, planes: see `RegionMask.on`; None where all queries count alike.
        weights: (batch, 1, 1), None where all rows count alike.
    """

    def __init__(
        self,
        mask: RegionMask | None,
        crops: tuple[Crop | None, ...],
        planes: tuple[int, ...],
        weights: Tensor | None,
    ) -> None:
        self._mask, self._crops, self._planes, self._weights = mask, crops, planes, weights
        self._on_grid: dict[Grid | None, Tensor] = {}
        self._around: dict[tuple[Grid, int, int], Tensor] = {}

    def on(self, grid: Grid | None, like: Tensor) -> Tensor:
        """(1 or batch, 1 or queries, 1) for the query grid of a layer."""
        known = self._on_grid.get(grid)
        if known is None:
            known = self._on_grid[grid] = self._made(grid, like)
        return known

    def around(self, grid: Grid, before: int, after: int, like: Tensor) -> Tensor:
        """The same where other rows stand before and after the grid, (.., 1 or rows, 1).

        Rows of text before it belong to the whole picture and count as much as that does on the
        average; rows of other pictures after it do not count.
        """
        if self._mask is None or not (before or after):
            return self.on(grid, like)
        known = self._around.get((grid, before, after))
        if known is None:
            cover = self.on(grid, like)
            text = cover.mean(dim=1, keepdim=True).expand(-1, before, -1)
            others = cover.new_zeros(1, 1, 1).expand(len(cover), after, -1)
            known = torch.cat((text, cover, others), dim=1)
            self._around[grid, before, after] = known
        return known

    def _made(self, grid: Grid | None, like: Tensor) -> Tensor:
        weights = self._weights
        if self._mask is None or grid is None:
            assert weights is not None
            return weights
        height, width, latent = grid
        mask = self._mask.on(height, width, like, self._crops, self._planes, latent)
        return mask if weights is None else mask * weights


class LayerEntry(NamedTuple):
    """What one image prompt adds to one layer in one call.

    Attributes:
        key, value: (shares, tokens, width).
        shares: number of equal shares of the batch that attend to one row of them each.
        factor: of this image attention.
        cover: how much each row and query counts, None for all alike.
        join: how it joins the text attention.
        own: factor of the layer's own keys, (head width,), where its queries attend to those
            beside the image tokens; None where they attend to the tokens alone.
    """

    key: Tensor
    value: Tensor
    shares: int
    factor: float
    cover: Cover | None
    join: Join
    own: Tensor | None = None


def add_image_attention(
    text: Tensor,
    q: Tensor,
    heads: int,
    entries: Sequence[LayerEntry],
    grid: Grid | None,
    attention: Attention,
) -> Tensor:
    """Text cross-attention plus, for each image prompt, that to its image tokens at its scale.

    Args:
        text: output of the text cross-attention, (batch, queries, width).
        q: the layer's query, same shape.
        grid: that of the queries, needed by masks only.
    """
    out, batch = text, q.shape[0]
    for key, value, shares, factor, cover, join, _ in entries:
        if shares == batch:
            image = attention(q, key, value, heads)
        else:  # pictures that share their image tokens are one long row of queries
            folded = q.reshape(shares, -1, q.shape[-1])
            image = attention(folded, key, value, heads).view_as(q)
        out = join(out, image, factor, None if cover is None else cover.on(grid, q))
    return out


class Attended(NamedTuple):
    """What a layer of a transformer attends with, of the rows that hear image prompts.

    Attributes:
        q: (batch, heads, rows, head width).
        k, v: the same rows' keys and values where they are attended to as well.
        before, after: how many of the rows stand before and after those of the picture.
    """

    q: Tensor
    k: Tensor | None = None
    v: Tensor | None = None
    before: int = 0
    after: int = 0


def add_to_rows(
    out: Tensor,
    attended: Attended,
    entries: Sequence[LayerEntry],
    grid: Grid,
    attention: Attention,
) -> None:
    """Add, for each image prompt, the attention to its image tokens at its scale, in place.

    Args:
        out: (batch, rows, width) that nobody else holds.
        grid: that of the picture's rows.
        attention: with heads that are apart, (n, heads, length, head width) in.
    """
    q = attended.q
    batch, heads = q.shape[:2]
    for entry in entries:
        key, value = (_in_heads(half, heads, batch) for half in (entry.key, entry.value))
        if entry.own is not None and attended.k is not None and attended.v is not None:
            key = torch.cat((attended.k * entry.own, key), dim=2)
            value = torch.cat((attended.v, value), dim=2)
        image = attention(q, key, value, heads)
        if entry.cover is None:
            out.add_(image, alpha=entry.factor)
        else:
            cover = entry.cover.around(grid, attended.before, attended.after, q)
            out.addcmul_(image, cover, value=entry.factor)


def _in_heads(rows: Tensor, heads: int, batch: int) -> Tensor:
    """(shares, tokens, width) as (batch, heads, tokens, head width); a view if shares are alike."""
    apart = rows.unflatten(-1, (heads, -1)).transpose(1, 2)
    if len(apart) == 1:
        return apart.expand(batch, -1, -1, -1)
    return apart if len(apart) == batch else apart.repeat_interleave(batch // len(apart), dim=0)
