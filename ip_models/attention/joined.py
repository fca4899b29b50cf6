"""Keys and values of joined references, put layer by layer where they stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .keyvalue import KeyValues


class JoinedKeyValues:
    """Room in main memory for all layers, so that nothing of them is ever there twice.

    Args:
        tokens: of all rows.
        own: those of the references, which come first; where there are no others, they are what is
            seen without a reference as well.
        widths: of each layer.
    """

    def __init__(self, tokens: int, own: int, widths: Sequence[int], dtype: torch.dtype) -> None:
        total = 2 * sum(widths)
        cond = torch.empty(1, own * total, dtype=dtype)
        uncond = torch.empty(1, (tokens - own) * total, dtype=dtype) if own < tokens else cond
        self.made = KeyValues(cond, uncond, widths)
        self._own, self._cond = own, self.made.pairs(cond)
        self._uncond = None if uncond is cond else self.made.pairs(uncond)

    @torch.no_grad()
    def put(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keep the key and the value of a layer, both (1, tokens, width)."""
        for half, rows in enumerate((key, value)):
            self._cond[layer][half].copy_(rows[:, : self._own])
            if self._uncond is not None:
                self._uncond[layer][half].copy_(rows[:, self._own :])
