"""Image prompts as a MODEL carries them: frozen, stacked, resolved once for each model call.

Words used here and in nodes/host/model:

    reference     one image prompt embedding (of a picture, a face, or several of them joined)
    image tokens  what the adapter's projection makes of it; each layer has keys and values of them
    image prompt  an adapter with its references and settings, as one Apply node puts on a MODEL
    scale         weight of the cross-attention to the image tokens; factors multiply it: block
                  weights for each layer, schedules for each step and frame
    call          one run of the UNet; its batch is made of equal chunks
    chunk         the share of one conditioning, an entry of the host's `cond_or_uncond`; its
                  pictures are those of the latent
    cond, uncond  what a chunk is to classifier-free guidance; each reference has tokens for both
    window        sigmas at which an image prompt is active (start_percent to end_percent)
    slot          what a layer is known by; for the UNet that is its key in the host's
                  `patches_replace["attn2"]`
    table         what each layer adds in one call, by slot; made before the first layer
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import NamedTuple, Protocol

import torch

from ..weights.schedule import Ramp, SigmaWindow
from .attend import Cover, Join, LayerEntry, add_scaled
from .keyvalue import NO_REFERENCE, KeyValues, Row
from .masks import Crop, RegionMask
from .shared import Shared


class BatchMode(str, Enum):
    """Which reference, and which mask, each picture of a batch or frame of a video gets."""

    ALL = "all references in every picture"
    REPEAT_LAST = "one per picture, last repeats"
    LOOP = "one per picture, loop"
    SPREAD = "one per picture, spread"


_PICK: dict[BatchMode, Callable[[int, int, int], int]] = {
    BatchMode.ALL: lambda place, total, count: min(place, count - 1),
    BatchMode.REPEAT_LAST: lambda place, total, count: min(place, count - 1),
    BatchMode.LOOP: lambda place, total, count: place % count,
    BatchMode.SPREAD: lambda place, total, count: min(place * count // total, count - 1),
}


@dataclass(frozen=True)
class CondChunk:
    """One conditioning's share of a batch.

    Attributes:
        cond_or_uncond: `COND` or `UNCOND`; the host's list of that name holds places in the list of
            conditionings instead, which some guiders order in another way.
        crop: the part of the picture it is about, None for all of it.
        bindings: the references that were bound to it.
    """

    cond_or_uncond: int
    crop: Crop | None = None
    bindings: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Call:
    """One call of the model.

    Attributes:
        chunks: in the order of the batch.
        frames: place in the whole run of each picture of a chunk.
        total: number of pictures in the whole run.
        sigma: noise level, None if it was not read.
        step, steps: place in the sampler's schedule and its length.
    """

    chunks: tuple[CondChunk, ...]
    frames: tuple[int, ...] = (0,)
    total: int = 1
    sigma: float | None = None
    step: int = 0
    steps: int = 1


class KeySource(Protocol):
    """Where keys and values come from: constants, or a network for each noise level."""

    @property
    def references(self) -> int:
        """Number of references that can be attended to one by one."""
        ...

    def at(self, call: Call, /) -> KeyValues:
        """What they are in one call; asked once, before its first layer."""
        ...

    def models(self) -> list[object]:
        """Models that the host has to load beside the MODEL for that."""
        ...

    def allow(self, most_bytes: int, /) -> None:
        """What may be held on a device while a run goes on."""
        ...

    def release(self) -> None:
        """Drop what was made for a run."""
        ...


class LayerPlace(NamedTuple):
    """A layer in an image prompt.

    Attributes:
        position: its place in the keys and values.
        factor: scale and block weight of its image attention.
        swapped: uncond gets the image tokens of cond, and cond gets no reference.
    """

    position: int
    factor: float = 1.0
    swapped: bool = False


@dataclass(frozen=True, eq=False)
class ImagePrompt(Shared):
    """One adapter with its references, ready for attention.

    Attributes:
        keys: of its layers.
        layers: those that hear it, by slot.
        window: None for the whole run.
        mask: None for the whole picture.
        steps: factors over the steps of a run.
        frames: factors over the pictures of a batch.
        batch: which picture gets which reference and mask.
        binding: mark of the conditionings it is for; None for all.
        join: how the image attention of a layer joins that to the text.
    """

    keys: KeySource
    layers: Mapping[Hashable, LayerPlace]
    window: SigmaWindow | None = None
    mask: RegionMask | None = None
    steps: tuple[Ramp, ...] = ()
    frames: tuple[Ramp, ...] = ()
    batch: BatchMode = BatchMode.ALL
    binding: str | None = None
    join: Join = add_scaled

    @property
    def needs_sigma(self) -> bool:
        """Whether it depends on the noise level."""
        return self.window is not None or bool(self.steps)

    def at(self, call: Call) -> ResolvedPrompt | None:
        """What it is in one call, None if it is not active in it."""
        if self.window and call.sigma is not None and not self.window.contains(call.sigma):
            return None
        step_factor = math.prod(ramp.at(call.step, call.steps) for ramp in self.steps)
        rows = self._rows(call, step_factor)
        if all(row.source == NO_REFERENCE or row.weight == 0 for row in rows):
            return None
        keys = self.keys.at(call)
        if self.mask is None:
            return ResolvedPrompt(self, keys, rows)
        crops = tuple(chunk.crop for chunk in call.chunks)
        return ResolvedPrompt(self, keys, rows, crops, self._pick(call, self.mask.count))

    def _rows(self, call: Call, step_factor: float) -> tuple[Row, ...]:
        """One row for each chunk or, if its pictures differ, for each picture."""
        count = self.keys.references
        factors = [
            step_factor * math.prod(ramp.at(frame, call.total) for ramp in self.frames)
            for frame in call.frames
        ]
        pictures = list(zip(self._pick(call, count), factors, strict=True))
        if len(set(pictures)) == 1:
            pictures = pictures[:1]
        return tuple(
            Row(chunk.cond_or_uncond * count + reference, factor)
            if self.binding is None or self.binding in chunk.bindings
            else Row(NO_REFERENCE)
            for chunk in call.chunks
            for reference, factor in pictures
        )

    def _pick(self, call: Call, count: int) -> tuple[int, ...]:
        pick = _PICK[self.batch]
        return tuple(pick(frame, call.total, count) for frame in call.frames)

    def allow(self, most_bytes: int) -> None:
        """What may be held on a device while a run goes on."""
        self.keys.allow(most_bytes)

    def release(self) -> None:
        """Drop copies made for a run."""
        self.keys.release()
        if self.mask is not None:
            self.mask.release()


@dataclass(frozen=True)
class ResolvedPrompt:
    """An image prompt in one model call.

    Attributes:
        keys: of this call.
        rows: what each equal share of the batch attends to.
        crops: part of the picture of each conditioning; used with a mask only.
        planes: mask of each picture of a chunk; used with a mask only.
    """

    prompt: ImagePrompt
    keys: KeyValues
    rows: tuple[Row, ...]
    crops: tuple[Crop | None, ...] = (None,)
    planes: tuple[int, ...] = (0,)

    def entries(
        self, device: torch.device, dtype: torch.dtype
    ) -> Iterator[tuple[Hashable, LayerEntry]]:
        """What it adds to each of its layers, by slot."""
        layers = self.prompt.layers
        pairs = {False: self.keys.on(self.rows, device, dtype)}
        if any(place.swapped for place in layers.values()):
            pairs[True] = self.keys.on(self._swapped(), device, dtype)
        weight, cover = self._weight(device, dtype)
        for slot, place in layers.items():
            key, value = pairs[place.swapped][place.position]
            factor = place.factor * weight
            yield slot, LayerEntry(key, value, len(self.rows), factor, cover, self.prompt.join)

    def _swapped(self) -> tuple[Row, ...]:
        """The references of cond for uncond, and none for cond."""
        count = self.keys.references
        return tuple(
            row._replace(source=row.source - count if row.source >= count else NO_REFERENCE)
            for row in self.rows
        )

    def _weight(self, device: torch.device, dtype: torch.dtype) -> tuple[float, Cover | None]:
        """One weight for all rows, and what weighs rows or queries by themselves."""
        mask = self.prompt.mask
        weights = [row.weight for row in self.rows]
        used = {row.weight for row in self.rows if row.source != NO_REFERENCE and row.weight}
        each = None
        if self.keys.slope is None and len(used) > 1:  # then there is a row for each picture
            each = torch.tensor(weights, dtype=dtype).to(device)[:, None, None]
        if mask is None and each is None:
            return self._one_weight(used), None
        return self._one_weight(used), Cover(mask, self.crops, self.planes, each)

    def _one_weight(self, used: set[float]) -> float:
        return used.copy().pop() if self.keys.slope is None and len(used) == 1 else 1.0


_Where = tuple[torch.device, torch.dtype]


def _no_tables() -> dict[_Where, dict[Hashable, list[LayerEntry]]]:
    return {}


@dataclass(frozen=True, eq=False)
class ActivePrompts(Shared):
    """The image prompts of one model call, resolved once before its first layer.

    Attributes:
        places: the host's `cond_or_uncond` as it was at the beginning of the call.
        tables: what each layer adds, by slot, for each device and type of its query.
    """

    prompts: tuple[ResolvedPrompt, ...]
    call: Call
    places: list[int] | None = None
    tables: dict[_Where, dict[Hashable, list[LayerEntry]]] = field(default_factory=_no_tables)

    @cached_property
    def batch(self) -> int:
        """Rows of the call, all chunks together."""
        return len(self.call.chunks) * len(self.call.frames)

    @cached_property
    def masked(self) -> bool:
        """Whether layers have to know the grid of their queries."""
        return any(one.prompt.mask is not None for one in self.prompts)

    @cached_property
    def uniform(self) -> bool:
        """Whether every row attends to the same image tokens, whatever it is."""
        alike = all(len(set(one.rows)) == 1 and len(set(one.planes)) == 1 for one in self.prompts)
        return alike and len(set(self.call.chunks)) == 1

    def with_chunks(self, chunks: tuple[CondChunk, ...]) -> ActivePrompts:
        """The same for a layer whose batch is made of other chunks; made once for all layers."""
        known = self._of_chunks.get(chunks)
        if known is None:
            call = dataclasses.replace(self.call, chunks=chunks)
            resolved = (one.prompt.at(call) for one in self.prompts)
            known = ActivePrompts(tuple(filter(None, resolved)), call)
            self._of_chunks[chunks] = known
        return known

    @cached_property
    def _of_chunks(self) -> dict[tuple[CondChunk, ...], ActivePrompts]:
        return {}

    def table(
        self, device: torch.device, dtype: torch.dtype
    ) -> Mapping[Hashable, list[LayerEntry]]:
        """What each layer adds, by slot, on the device and in the type of its query."""
        known = self.tables.get((device, dtype))
        if known is None:
            known = self.tables[device, dtype] = {}
            for prompt in self.prompts:
                for slot, entry in prompt.entries(device, dtype):
                    known.setdefault(slot, []).append(entry)
        return known


@dataclass(frozen=True, eq=False)
class PromptStack(Shared):
    """All image prompts of a MODEL, in the order in which they were applied."""

    prompts: tuple[ImagePrompt, ...] = ()

    def add(self, *prompts: ImagePrompt) -> PromptStack:
        """A new stack with more prompts."""
        return PromptStack((*self.prompts, *prompts))

    @property
    def needs_sigma(self) -> bool:
        """Whether any of them depends on the noise level."""
        return any(prompt.needs_sigma for prompt in self.prompts)

    @cached_property
    def slots(self) -> tuple[Hashable, ...]:
        """The layers that hear any of them."""
        return tuple(dict.fromkeys(slot for prompt in self.prompts for slot in prompt.layers))

    @cached_property
    def bindings(self) -> frozenset[str]:
        """The marks of those that are for some conditionings only."""
        return frozenset(one.binding for one in self.prompts if one.binding is not None)

    def under(self, to_sigma: Callable[[float], float]) -> PromptStack:
        """The same with windows for another noise schedule."""
        return PromptStack(
            tuple(
                prompt
                if prompt.window is None
                else dataclasses.replace(prompt, window=prompt.window.under(to_sigma))
                for prompt in self.prompts
            )
        )

    def at(
        self,
        call: Call,
        places: list[int] | None = None,
        previous: ActivePrompts | None = None,
    ) -> ActivePrompts:
        """What is active in one call, whose noise level may be None unless `needs_sigma`.

        Args:
            places: see `ActivePrompts`.
            previous: of the call before, whose tables serve again where nothing has changed.
        """
        resolved = tuple(filter(None, (prompt.at(call) for prompt in self.prompts)))
        if previous is not None and previous.prompts == resolved:
            return ActivePrompts(resolved, call, places, previous.tables)
        return ActivePrompts(resolved, call, places)

    def models(self) -> list[object]:
        """Models that the host has to load beside the MODEL."""
        return [model for prompt in self.prompts for model in prompt.keys.models()]

    def allow(self, most_bytes: int) -> None:
        """What all of them together may hold on a device while a run goes on."""
        for prompt in self.prompts:
            prompt.allow(most_bytes // len(self.prompts))

    def cleanup(self) -> None:
        """Called by the host after each sampling run."""
        for prompt in self.prompts:
            prompt.release()
