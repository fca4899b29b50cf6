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
    slot          what the kind of model knows a layer by, see `Layer`
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from ..weights.schedule import Ramp, SigmaWindow
from .keyvalue import NO_REFERENCE, KeyValues, Row
from .masks import Crop, RegionMask


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
    bindings: frozenset[object] = frozenset()


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


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """One adapter with its references, ready for attention.

    Attributes:
        key_values: with the scale and the block weights built in.
        positions: place in `key_values` of each layer whose factor is not 0.
        window: None for the whole run.
        mask: None for the whole picture.
        steps: factors over the steps of a run.
        frames: factors over the pictures of a batch.
        batch: which picture gets which reference and mask.
        binding: mark of the conditionings it is for; None for all.
    """

    key_values: KeyValues
    positions: Mapping[Hashable, int]
    window: SigmaWindow | None = None
    mask: RegionMask | None = None
    steps: tuple[Ramp, ...] = ()
    frames: tuple[Ramp, ...] = ()
    batch: BatchMode = BatchMode.ALL
    binding: object | None = None

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
        if self.mask is None:
            return ResolvedPrompt(self, rows)
        crops = tuple(chunk.crop for chunk in call.chunks)
        return ResolvedPrompt(self, rows, crops, self._pick(call, self.mask.count))

    def _rows(self, call: Call, step_factor: float) -> tuple[Row, ...]:
        """One row for each chunk or, if its pictures differ, for each picture."""
        count = self.key_values.references
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

    def release(self) -> None:
        """Drop copies made for a run."""
        self.key_values.release()
        if self.mask is not None:
            self.mask.release()


@dataclass(frozen=True, eq=False)
class ResolvedPrompt:
    """An image prompt in one model call.

    Attributes:
        rows: what each equal share of the batch attends to.
        crops: part of the picture of each conditioning; used with a mask only.
        planes: mask of each picture of a chunk; used with a mask only.
    """

    prompt: ImagePrompt
    rows: tuple[Row, ...]
    crops: tuple[Crop | None, ...] = (None,)
    planes: tuple[int, ...] = (0,)

    def key_values(self, slot: Hashable, like: Tensor) -> tuple[Tensor, Tensor] | None:
        """Key and value of a layer, (len(rows), tokens, width), None if it is not in use."""
        position = self.prompt.positions.get(slot)
        if position is None:
            return None
        return self.prompt.key_values.layer(position, self.rows, like)

    def mask_on(self, grid: tuple[int, int] | None, like: Tensor) -> Tensor | None:
        """(1 or batch, queries, 1), None for the whole picture."""
        if self.prompt.mask is None or grid is None:
            return None
        return self.prompt.mask.on(*grid, like, self.crops, self.planes)


@dataclass(frozen=True, eq=False)
class ActivePrompts:
    """The image prompts of one model call, resolved once before its first layer."""

    prompts: tuple[ResolvedPrompt, ...]


@dataclass(frozen=True, eq=False)
class PromptStack:
    """All image prompts of a MODEL, in the order in which they were applied."""

    prompts: tuple[ImagePrompt, ...] = ()

    def add(self, *prompts: ImagePrompt) -> PromptStack:
        """A new stack with more prompts."""
        return PromptStack((*self.prompts, *prompts))

    @property
    def needs_sigma(self) -> bool:
        """Whether any of them depends on the noise level."""
        return any(prompt.needs_sigma for prompt in self.prompts)

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

    def at(self, call: Call) -> ActivePrompts:
        """What is active in one call, whose noise level may be None unless `needs_sigma`."""
        resolved = (prompt.at(call) for prompt in self.prompts)
        return ActivePrompts(tuple(prompt for prompt in resolved if prompt is not None))

    def cleanup(self) -> None:
        """Called by the host after each sampling run."""
        for prompt in self.prompts:
            prompt.release()
