"""What is noted of the layers of a run: which share of their output each reference has.

A share is a length among lengths: that of what the attention to a reference's image tokens adds to
a query, among those of all such and of what the layer gives without them. It costs a norm of each,
which are there already. Sums stay on the device until the run is over.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import limits
from ..errors import IPAdapterError
from .attend import LayerEntry
from .call import Call
from .masks import Crop, Grid
from .prompt import ImagePrompt
from .shared import Shared

_LEAST = 1e-30  # instead of a length of nothing


class SeenChunk(NamedTuple):
    """What a chunk of a call stands for in the picture.

    Attributes:
        cond: whether it is counted.
        crop: the part of the picture it is about, None for all of it.
        mask: (masks, height, width), how much it counts where; None for everywhere alike.
        strength: of it among the other conditionings.
    """

    cond: bool
    crop: Crop | None = None
    mask: Tensor | None = None
    strength: float = 1.0

    @property
    def key(self) -> Hashable:
        """What tells it from others; the mask by which one it is."""
        return self.cond, self.crop, id(self.mask), self.strength


class LayerKey(NamedTuple):
    """Layers whose shares are added up: of one grid, with the same references."""

    height: int
    width: int
    references: tuple[int, ...]
    device: torch.device


@dataclass(eq=False)
class Sums:
    """Of all calls with the same chunks and pictures.

    Attributes:
        pictures: place in the run of each picture of a chunk.
        times: what each chunk counts, where a layer has more of them than the call.
        calls: how many there were.
        layers: (references, rows, queries), added up.
    """

    chunks: tuple[SeenChunk, ...]
    pictures: tuple[int, ...]
    times: float = 1.0
    calls: int = 0
    layers: dict[LayerKey, Tensor] = field(default_factory=dict[LayerKey, Tensor])

    def add(self, key: LayerKey, shares: Tensor) -> None:
        """Those of one layer in one call."""
        known = self.layers.get(key)
        self.layers[key] = shares if known is None else known.to(shares.device) + shares

    def leave_device(self) -> None:
        """Wait in main memory, until one more is added."""
        self.layers = {key: shares.cpu() for key, shares in self.layers.items()}


@dataclass(frozen=True)
class Selection:
    """What of a run is looked at.

    Attributes:
        slots: of the layers, None for all.
        first, last: steps, from 0 and with the last one left out; None for all.
    """

    slots: frozenset[Hashable] | None = None
    first: int = 0
    last: int | None = None

    @property
    def needs_step(self) -> bool:
        """Whether it depends on the step."""
        return self.first > 0 or self.last is not None

    def has_step(self, step: int) -> bool:
        """Whether a step is looked at."""
        return self.first <= step and (self.last is None or step < self.last)

    def has_layer(self, slot: Hashable) -> bool:
        """Whether a layer is looked at."""
        return self.slots is None or slot in self.slots


@dataclass(eq=False)
class Seen:
    """What was seen in one run of a selection.

    Attributes:
        slots: the layers whose shares were added up.
    """

    selection: Selection
    sums: dict[Hashable, Sums] = field(default_factory=dict[Hashable, Sums])
    slots: set[Hashable] = field(default_factory=set[Hashable])

    def of(
        self, chunks: tuple[SeenChunk, ...], pictures: tuple[int, ...], times: float = 1.0
    ) -> Sums:
        """The sums of such calls."""
        key = tuple(chunk.key for chunk in chunks), pictures, times
        if key not in self.sums:
            if len(self.sums) >= limits.VIEWED_CALLS:  # windows and tiles that are never the same
                for sums in self.sums.values():
                    sums.leave_device()
            self.sums[key] = Sums(chunks, pictures, times)
        return self.sums[key]


class RunRecord(Shared):
    """The record of one run; it is kept only if the run comes to its end.

    Attributes:
        seen: for each of the selections.
        references: how many image prompts the MODEL has.
        lost: why it cannot be shown, None if it can.
    """

    def __init__(self, selections: Sequence[Selection]) -> None:
        self.seen = [Seen(one) for one in selections]
        self.references = 0
        self.lost: IPAdapterError | None = None

    @property
    def needs_step(self) -> bool:
        """Whether any selection depends on the step."""
        return any(seen.selection.needs_step for seen in self.seen)

    def call(
        self,
        prompts: Sequence[ImagePrompt],
        call: Call,
        chunks: tuple[SeenChunk, ...],
        step: int,
    ) -> CallRecord | None:
        """The record of one call, None if nobody looks at its step or it is of uncond alone.

        Args:
            prompts: all of the MODEL.
            chunks: one for each of the call.
        """
        self.references = len(prompts)
        if not any(chunk.cond for chunk in chunks):
            return None
        pictures, noted = call.within or call.frames, list[tuple[Seen, Sums]]()
        for seen in self.seen:
            if seen.selection.has_step(step):
                sums = seen.of(chunks, pictures)
                sums.calls += 1
                noted.append((seen, sums))
        numbers = {id(prompt): number for number, prompt in enumerate(prompts)}
        return CallRecord(numbers, call, chunks, noted) if noted else None


@dataclass(frozen=True, eq=False)
class CallRecord:
    """Where the layers of one call are noted.

    Attributes:
        numbers: of the image prompts, by their identity.
    """

    numbers: dict[int, int]
    call: Call
    chunks: tuple[SeenChunk, ...]
    noted: list[tuple[Seen, Sums]]

    def of(self, call: Call) -> CallRecord:
        """The same for a layer whose batch is made of other chunks of this call."""
        order = [self.call.chunks.index(chunk) for chunk in call.chunks]
        chunks = tuple(self.chunks[place] for place in order)
        conds, more = (sum(one.cond for one in some) for some in (self.chunks, chunks))
        times, pictures = conds / max(1, more), call.within or call.frames
        noted = [(seen, seen.of(chunks, pictures, times)) for seen, _ in self.noted]
        return CallRecord(self.numbers, call, chunks, noted)

    def layer(
        self, slot: Hashable, prompts: Sequence[ImagePrompt], rows: int
    ) -> LayerRecord | None:
        """Where a layer is noted, None if it is not.

        Args:
            prompts: those of the call, in the order of what they add.
            rows: of its query; where they are not those of the call, nobody knows what they are.
        """
        noted = [(seen, sums) for seen, sums in self.noted if seen.selection.has_layer(slot)]
        if not noted or rows != len(self.chunks) * len(self.call.frames):
            return None
        numbers = tuple(self.numbers[id(one)] for one in prompts if slot in one.layers)
        return LayerRecord(slot, numbers, rows, noted)


class LayerRecord:
    """The shares of one layer in one call.

    Args:
        numbers: of the image prompts that add to it, in their order.
        rows: of its query.
        noted: who looks at it, and where the shares are added up.
    """

    def __init__(
        self,
        slot: Hashable,
        numbers: tuple[int, ...],
        rows: int,
        noted: Sequence[tuple[Seen, Sums]],
    ) -> None:
        self._slot, self._numbers, self._rows, self._noted = slot, numbers, rows, noted
        self._lengths: list[Tensor] = []

    def begin(self, out: Tensor) -> None:
        """What the layer gives without references, (rows, queries, width)."""
        self._lengths.append(_length(out))

    def listening(self, attention: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The attention to image tokens; what it gives is measured, one reference after another."""

        def attend(*args: Any, **kwargs: Any) -> Tensor:
            image = attention(*args, **kwargs)
            self._lengths.append(_length(image).reshape(self._rows, -1))
            return image

        return attend

    def end(
        self,
        entries: Sequence[LayerEntry],
        grid: Grid,
        like: Tensor,
        before: int = 0,
        after: int = 0,
    ) -> None:
        """Note the shares; of queries that stand on another grid, as merged ones do, nothing.

        Args:
            entries: what was added.
            grid: of the queries.
            like: of the type and device of the query.
            before, after: how many queries stand before and after those of the grid.
        """
        height, width, _ = grid
        if before + height * width + after != self._lengths[0].shape[1]:
            return
        text, *images = (one[:, before : before + height * width] for one in self._lengths)
        added: list[Tensor] = []
        for length, entry in zip(images, entries, strict=True):
            weight = abs(entry.factor)
            if entry.cover is not None:
                length = length * entry.cover.on(grid, like)[..., 0].abs()
            added.append(length * weight)
        together = torch.stack(added)
        shares = together / (together.sum(dim=0) + text).clamp_min(_LEAST)
        key = LayerKey(height, width, self._numbers, shares.device)
        for seen, sums in self._noted:
            seen.slots.add(self._slot)
            sums.add(key, shares)


def _length(rows: Tensor) -> Tensor:
    """(rows, queries) of (rows, queries, width)."""
    return torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float32)
