"""Keys and values of the image tokens in all cross-attention layers, projected once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

from .device_cache import MOST_BYTES, DeviceCache
from .shared import Shared

COND, UNCOND = 0, 1
NO_REFERENCE = -1
Pair = tuple[Tensor, Tensor]
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
        source: number of the reference, for cond; that plus the number of references, for uncond;
            or `NO_REFERENCE`.
        weight: factor of this call, on top of the scale.
    """

    source: int
    weight: float = 1.0


class LayerPairs(NamedTuple):
    """Keys and values of every layer for the rows of a call, all in one buffer on a device."""

    buffer: Tensor
    pairs: list[Pair]

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer."""
        return self.buffer.nbytes


class KeyValues(Shared):
    """Keys and values of every layer, a row for each reference, so that they travel together.

    Args:
        cond: (references, total): each row holds, layer after layer, the key (tokens, width) and
            then the value of that layer.
        uncond: the same for uncond, or one row where all references have the same; it may have
            fewer tokens, which then stand for as many times themselves. (Attention to the same
            tokens twice is attention to them once.)
        widths: width of each layer, in checkpoint order.
        slope: by how much they grow with the weight of a call; None if that weight is for what the
            attention gives instead.
    """

    def __init__(
        self,
        cond: Tensor,
        uncond: Tensor,
        widths: Sequence[int],
        slope: KeyValues | None = None,
    ) -> None:
        self.cond, self.uncond, self.widths, self.slope = cond, uncond, tuple(widths), slope
        self.tokens = cond.shape[1] // (2 * sum(self.widths))
        self._uploaded: dict[tuple[torch.device, torch.dtype], dict[int, Tensor]] = {}
        self._uploading = Lock()
        self._most_bytes = MOST_BYTES
        self._moved: DeviceCache[LayerPairs] = DeviceCache()

    @staticmethod
    def pack(cond: Sequence[Pair], uncond: Sequence[Pair]) -> KeyValues:
        """Build from (key, value) of each layer, all (references, tokens, width).

        Args:
            uncond: of one reference or of all, with as many tokens or a part of them.
        """
        widths = [key.shape[-1] for key, _ in cond]
        return KeyValues(_joined(cond), _joined(uncond), widths)

    def as_type(self, dtype: torch.dtype) -> KeyValues:
        """The same in another precision, e.g. that of the model they are for."""
        return KeyValues(self.cond.to(dtype), self.uncond.to(dtype), self.widths)

    @property
    def references(self) -> int:
        """Number of references that can be attended to one by one; 1 if they are joined."""
        return len(self.cond)

    @property
    def nbytes(self) -> int:
        """Bytes in main memory."""
        return self.cond.nbytes + (0 if self.uncond is self.cond else self.uncond.nbytes)

    timed = False
    own_keys: tuple[Tensor, ...] = ()

    def at(self, call: object) -> KeyValues:
        """The same in every call; see `KeySource`."""
        return self

    def models(self) -> list[object]:
        """No model is needed while sampling; see `KeySource`."""
        return []

    def prepare(self, levels: Sequence[float]) -> None:
        """Nothing: all levels have the same; see `KeySource`."""

    def pairs(self, buffer: Tensor) -> list[Pair]:
        """Key and value of each layer in rows of `cond` or `uncond`, both (n, tokens, width)."""
        tokens = buffer.shape[1] // (2 * sum(self.widths))
        halves = buffer.split([tokens * width for width in self.widths for _ in "kv"], dim=1)
        split = [half.view(len(buffer), tokens, -1) for half in halves]
        return list(zip(split[::2], split[1::2], strict=True))

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

        cond, uncond = self.pairs(self.cond), self.pairs(self.uncond)
        if uncond[0][0].shape[1] == self.tokens:  # not the same for all of them
            uncond = [(split(key), split(value)) for key, value in uncond]
        return KeyValues.pack([(split(key), split(value)) for key, value in cond], uncond)

    def weighted(
        self,
        factors: Sequence[float],
        scaling: KvScaling,
        changing: bool = False,
        tokens_each: int = 0,
    ) -> KeyValues:
        """The same with a factor for each layer built in.

        Args:
            scaling: what the factors are multiplied with, not the values alone: the output of the
                attention takes such a factor as well.
            changing: whether calls will come with weights other than 1.
            tokens_each: of one reference, whose values have a mean of their own; 0 for all.
        """

        def scaled(place: int) -> KeyValues:
            cond, uncond = (
                [
                    _scale(key, value, factor, scaling, tokens_each)[place]
                    for (key, value), factor in zip(self.pairs(buffer), factors, strict=True)
                ]
                for buffer in (self.cond, self.uncond)
            )
            return KeyValues.pack(cond, uncond)

        now = scaled(0)
        return KeyValues(now.cond, now.uncond, now.widths, scaled(1) if changing else None)

    def on(
        self, rows: tuple[Row, ...], device: torch.device, dtype: torch.dtype
    ) -> list[tuple[Tensor, Tensor]]:
        """Key and value of every layer for a list of rows, both (len(rows), tokens, width).

        Weights count where the keys and values grow with them; see `slope`.
        """
        sources = tuple(self._source(row) for row in rows)
        plain = self._plain(sources, device, dtype)
        used = {row.weight for row, one in zip(rows, sources, strict=True) if one != NO_REFERENCE}
        slope = self.slope
        if slope is None or used <= {1.0}:
            return plain.pairs
        weights = tuple(used) if len(used) == 1 else tuple(row.weight for row in rows)

        def grown() -> LayerPairs:
            growth = slope._plain(sources, device, dtype).buffer
            if len(weights) == 1:  # one of a schedule over steps: nothing has to be copied
                return self._cut(torch.add(plain.buffer, growth, alpha=weights[0] - 1))
            more = torch.tensor([[weight - 1] for weight in weights], dtype=dtype).to(device)
            return self._cut(torch.addcmul(plain.buffer, growth, more))

        return self._moved.get((device, dtype, sources, weights), grown).pairs

    def _plain(
        self, sources: tuple[int, ...], device: torch.device, dtype: torch.dtype
    ) -> LayerPairs:
        return self._moved.get(
            (device, dtype, sources), lambda: self._cut(self._gathered(sources, device, dtype))
        )

    def _source(self, row: Row) -> int:
        """The row to take, the same number for all that is the same."""
        if row.weight == 0 or row.source == NO_REFERENCE:
            return NO_REFERENCE
        others = 0 if self.uncond is self.cond else len(self.uncond)
        return min(row.source, self.references + others - 1)

    def _cut(self, buffer: Tensor) -> LayerPairs:
        return LayerPairs(buffer, self.pairs(buffer))

    def _gathered(
        self, sources: tuple[int, ...], device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """Rows on a device, each uploaded once in a run; (len(sources), total)."""
        with self._uploading:
            held = self._uploaded.setdefault((device, dtype), {})
            needed = dict.fromkeys(source for source in sources if source != NO_REFERENCE)
            missing = [source for source in needed if source not in held]
            if missing:
                stored = [self._stored(source) for source in missing]
                # One alone is not copied on the way: it may be 90 MB in half precision.
                row = torch.cat(stored) if len(stored) > 1 else stored[0]
                together = row.to(device, dtype)
                lengths = [len(row) for row in stored]
                held.update(zip(missing, together.split(lengths), strict=True))
                total = self.cond.shape[1]
                if missing == list(sources) and set(lengths) == {total}:
                    self._drop_beyond(held)
                    return together.view(-1, total)
            nothing = self.cond.new_zeros(1, device=device, dtype=dtype)
            rows = {source: self._full(held[source]) for source in needed}
            rows[NO_REFERENCE] = nothing.expand(self.cond.shape[1])
            gathered = torch.stack([rows[source] for source in sources])
            self._drop_beyond(held)
            return gathered

    def _drop_beyond(self, held: dict[int, Tensor]) -> None:
        """All rows, once they are too many; windows come in an order that repeats."""
        if sum(row.nbytes for row in held.values()) > self._most_bytes:
            held.clear()

    def _stored(self, source: int) -> Tensor:
        count = self.references
        return self.cond[source] if source < count else self.uncond[source - count]

    def _full(self, row: Tensor) -> Tensor:
        """A row with all its tokens, where it stands for several times itself."""
        repeats = self.cond.shape[1] // len(row)
        if repeats == 1:
            return row
        pairs = self.pairs(row[None])
        return torch.cat([half.flatten().repeat(repeats) for pair in pairs for half in pair])

    def allow(self, most_bytes: int) -> None:
        """What may be held on a device while a run goes on, in rows and in what is made of them."""
        if self.slope is not None:
            most_bytes //= 2
            self.slope.allow(most_bytes)
        self._most_bytes = most_bytes // 2
        self._moved.allow(most_bytes // 2)

    def release(self) -> None:
        """Drop the copies made for the last run."""
        self._moved.clear()
        with self._uploading:
            self._uploaded.clear()
        if self.slope is not None:
            self.slope.release()


def _joined(pairs: Sequence[Pair]) -> Tensor:
    return torch.cat([half.flatten(1) for pair in pairs for half in pair], dim=1)


def _scale(
    key: Tensor, value: Tensor, factor: float, scaling: KvScaling, tokens_each: int
) -> tuple[Pair, Pair]:
    """Key and value at a weight of 1, and by how much they grow with the weight."""
    if scaling is not KvScaling.K_V:
        factor = factor * key.shape[-1] / _FULL_WIDTH
    both = (key * factor, value * factor)
    if scaling is not KvScaling.K_MEAN_V_PENALTY:
        return both, both
    each = value.unflatten(1, (-1, tokens_each or value.shape[1]))
    mean = each.mean(dim=2, keepdim=True).expand_as(each).flatten(1, 2)
    return (both[0], value - mean + factor * mean), (both[0], factor * mean)
