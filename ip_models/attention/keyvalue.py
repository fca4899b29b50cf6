"""Keys and values of the image tokens in all cross-attention layers, projected once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from ..weights.gains import Gain
from .device_cache import DeviceCache

COND, UNCOND = 0, 1
NO_REFERENCE = -1
_Pair = tuple[Tensor, Tensor]
_FULL_WIDTH = 1280  # of the widest layers, to which the "C penalty" relates the others


class KvScaling(str, Enum):
    """What a weight is multiplied with; names and formulae as ComfyUI_IPAdapter_plus has them."""

    V_ONLY = "V only"
    K_V = "K+V"
    K_V_PENALTY = "K+V w/ C penalty"
    K_MEAN_V_PENALTY = "K+mean(V) w/ C penalty"


class Row(NamedTuple):
    """The image tokens that one chunk of the batch, or one picture of it, attends to.

    Attributes:
        source: row of the buffer, or `NO_REFERENCE`.
        weight: factor of this call, on top of the scale that is built in.
    """

    source: int
    weight: float = 1.0


class KeyValues:
    """Keys and values of every layer in one buffer, so that they travel together.

    Args:
        packed: (2 * references, total): the rows of cond, then those of uncond; each row holds,
            layer after layer, the key (tokens, width) and then the value of that layer.
        widths: width of each layer, in checkpoint order.
        tokens: number of image tokens in a row.
        slope: like `packed`, by how much it grows with the weight of a call; None if it cannot
            change.
    """

    def __init__(
        self, packed: Tensor, widths: Sequence[int], tokens: int, slope: Tensor | None = None
    ) -> None:
        self.packed, self.widths, self.tokens, self._slope = packed, tuple(widths), tokens, slope
        sizes = [2 * tokens * width for width in widths]
        self._offsets = [sum(sizes[:i]) for i in range(len(sizes))]
        self._moved = DeviceCache()

    @staticmethod
    def pack(layers: Sequence[tuple[Tensor, Tensor]], slope: Tensor | None = None) -> KeyValues:
        """Build from (key, value) of each layer, both (2 * references, tokens, width)."""
        flat = [half.flatten(1) for layer in layers for half in layer]
        widths = [key.shape[-1] for key, _ in layers]
        return KeyValues(torch.cat(flat, dim=1), widths, layers[0][0].shape[1], slope)

    @property
    def references(self) -> int:
        """Number of references that can be attended to one by one; 1 if they are joined."""
        return len(self.packed) // 2

    def apart(self, pictures: Sequence[int]) -> KeyValues:
        """Joined references picture by picture, each in a row of its own.

        All rows are of one length. Where a picture has fewer references than another, as without
        tiles beside one with them, all of its tokens are repeated: each then has half the weight
        twice, which leaves the attention as it was.

        Args:
            pictures: for each reference the number of its picture, from 0.
        """
        groups: dict[int, list[int]] = {}
        for reference, picture in enumerate(pictures):
            groups.setdefault(picture, []).append(reference)
        length = math.lcm(*map(len, groups.values()))
        order = [groups[i] * (length // len(groups[i])) for i in sorted(groups)]

        def split(rows: Tensor) -> Tensor:
            return rows.unflatten(1, (len(pictures), -1))[:, order].flatten(2, 3).flatten(0, 1)

        layers = (self._layer(self.packed, i) for i in range(len(self.widths)))
        return KeyValues.pack([(split(key), split(value)) for key, value in layers])

    def weighted(
        self, gains: Sequence[Gain], scaling: KvScaling = KvScaling.V_ONLY, changing: bool = False
    ) -> KeyValues:
        """The same with scale and block weights, a gain for each layer, built in.

        Args:
            scaling: what the factors are multiplied with.
            changing: whether calls will come with weights other than 1.
        """
        now: list[_Pair] = []
        slopes: list[_Pair] = []
        for i, (gain, _) in enumerate(zip(gains, self.widths, strict=True)):
            key, value = self._layer(self.packed, i)
            if gain.swapped:
                key, value = _swap(key), _swap(value)
            pair, slope = _scale(key, value, gain.factor, scaling)
            now.append(pair)
            slopes.append(slope)
        return KeyValues.pack(now, KeyValues.pack(slopes).packed if changing else None)

    def _layer(self, buffer: Tensor, position: int) -> tuple[Tensor, Tensor]:
        width, offset = self.widths[position], self._offsets[position]
        span = buffer[:, offset : offset + 2 * self.tokens * width]
        both = span.view(len(buffer), 2, self.tokens, width)
        return both[:, 0], both[:, 1]

    def layer(self, position: int, rows: tuple[Row, ...], like: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value of a layer for a list of rows, both (len(rows), tokens, width).

        Args:
            position: place of the layer in checkpoint order.
            rows: for each chunk of the batch, or each picture.
            like: the query; device and dtype of the result are its own.
        """
        where = (like.device, like.dtype)
        moved = self._moved.get((*where, rows), lambda: self._on(*where, rows))
        return self._layer(moved, position)

    def _on(self, device: torch.device, dtype: torch.dtype, rows: tuple[Row, ...]) -> Tensor:
        sources = tuple(NO_REFERENCE if row.weight == 0 else row.source for row in rows)
        weights = {row.weight for row in rows if row.weight != 0}
        chosen = self._chosen("packed", self.packed, device, dtype, sources)
        if self._slope is None or weights <= {1.0}:
            return chosen
        slope = self._chosen("slope", self._slope, device, dtype, sources)
        if len(weights) == 1:  # one of a schedule over steps: nothing has to be copied
            return torch.add(chosen, slope, alpha=weights.pop() - 1)
        more = torch.tensor([[row.weight - 1] for row in rows], dtype=dtype).to(device)
        return torch.addcmul(chosen, slope, more)

    def _chosen(
        self,
        name: str,
        buffer: Tensor,
        device: torch.device,
        dtype: torch.dtype,
        sources: tuple[int, ...],
    ) -> Tensor:
        def gather() -> Tensor:
            zeros = buffer.new_zeros(1, buffer.shape[1])
            picked = [zeros if i == NO_REFERENCE else buffer[i : i + 1] for i in sources]
            return torch.cat(picked).to(device, dtype)

        return self._moved.get((name, device, dtype, sources), gather)

    def release(self) -> None:
        """Drop the copies made for the last run."""
        self._moved.clear()


def _swap(rows: Tensor) -> Tensor:
    """No reference for cond, and the rows of cond for uncond."""
    cond = rows[: len(rows) // 2]
    return torch.cat([torch.zeros_like(cond), cond])


def _scale(key: Tensor, value: Tensor, factor: float, scaling: KvScaling) -> tuple[_Pair, _Pair]:
    """Key and value at a weight of 1, and by how much they grow with the weight."""
    if scaling is KvScaling.V_ONLY:
        scaled = value * factor
        return (key, scaled), (torch.zeros_like(key), scaled)
    if scaling is not KvScaling.K_V:
        factor = factor * key.shape[-1] / _FULL_WIDTH
    both = (key * factor, value * factor)
    if scaling is not KvScaling.K_MEAN_V_PENALTY:
        return both, both
    mean = value.mean(dim=1, keepdim=True)
    return (both[0], value - mean + factor * mean), (both[0], (factor * mean).expand_as(value))
