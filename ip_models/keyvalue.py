"""Keys and values of all layers for one set of references, projected once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

POSITIVE, NEGATIVE = 0, 1


class KeyValues:
    """Keys and values of every layer in one buffer, so that they travel together.

    Args:
        packed: (2, total): positive and negative rows; each row holds, layer after layer, the key
            (tokens, width) and then the value of that layer.
        widths: width of each layer, in checkpoint order.
        tokens: number of tokens of all references together.
    """

    def __init__(self, packed: Tensor, widths: Sequence[int], tokens: int) -> None:
        self.packed, self.widths, self.tokens = packed, tuple(widths), tokens
        sizes = [2 * tokens * width for width in widths]
        self._offsets = [sum(sizes[:i]) for i in range(len(sizes))]
        self._moved: dict[tuple[torch.device, torch.dtype, tuple[int, ...]], Tensor] = {}

    @staticmethod
    def pack(layers: Sequence[tuple[Tensor, Tensor]]) -> KeyValues:
        """Build from (key, value) of each layer, both (2, tokens, width)."""
        flat = [half.flatten(1) for layer in layers for half in layer]
        return KeyValues(
            torch.cat(flat, dim=1),
            [key.shape[-1] for key, _ in layers],
            layers[0][0].shape[1],
        )

    def scaled(self, factors: Sequence[float]) -> KeyValues:
        """The same with the values, not the keys, of each layer times its factor."""
        packed = self.packed.clone()
        for offset, width, factor in zip(self._offsets, self.widths, factors, strict=True):
            size = self.tokens * width
            packed[:, offset + size : offset + 2 * size] *= factor
        return KeyValues(packed, self.widths, self.tokens)

    def layer(self, position: int, rows: tuple[int, ...], like: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value of a layer for a list of polarities, both (len(rows), tokens, width).

        Args:
            position: place of the layer in checkpoint order.
            rows: `POSITIVE` or `NEGATIVE` for each part of the batch.
            like: the query; device and dtype of the result are its own.
        """
        moved = self._on(like.device, like.dtype, rows)
        width, offset = self.widths[position], self._offsets[position]
        size = self.tokens * width
        span = moved[:, offset : offset + 2 * size].view(len(rows), 2, self.tokens, width)
        return span[:, 0], span[:, 1]

    def _on(self, device: torch.device, dtype: torch.dtype, rows: tuple[int, ...]) -> Tensor:
        key = (device, dtype, rows)
        moved = self._moved.get(key)
        if moved is None:
            chosen = torch.cat([self.packed[row : row + 1] for row in rows])
            moved = self._moved[key] = chosen.to(device, dtype)
        return moved

    def release(self) -> None:
        """Drop the copies made for the last run."""
        self._moved.clear()

    @property
    def nbytes(self) -> int:
        """Memory of the buffer."""
        return self.packed.nbytes
