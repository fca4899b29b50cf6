"""Image prompts as a MODEL carries them, and as they are in one model call.

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
    table         what each layer adds in one call, by slot; made before the first layer
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..weights.schedule import Ramp, SigmaWindow
from .attend import Cover, Join, LayerEntry, add_scaled
from .call import PICK, BatchMode, Call
from .device_cache import DeviceCache
from .keyvalue import NO_REFERENCE, KeyValues, Row
from .masks import Crop, RegionMask
from .shared import Shared


class KeySource(Protocol):
    """Where keys and values come from: constants, or a network for each noise level."""

    @property
    def references(self) -> int:
        """Number of references that can be attended to one by one."""
        ...

    @property
    def timed(self) -> bool:
        """Whether they depend on the noise level."""
        ...

    @property
    def own_keys(self) -> tuple[Tensor, ...]:
        """For each layer the factor of its own keys, see `LayerEntry.own`; empty for none."""
        ...

    def prepare(self, levels: Sequence[float], /) -> None:
        """Make them for the noise levels of a run that begins."""
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
        first: place of the run's first picture in its batch, 0 to go by what the call says.
        join: how the image attention of a layer joins that to the text.
        moved: small things of a run on its device, where an upload waits for all that was asked.
    """

    keys: KeySource
    layers: Mapping[Hashable, LayerPlace]
    window: SigmaWindow | None = None
    mask: RegionMask | None = None
    steps: tuple[Ramp, ...] = ()
    frames: tuple[Ramp, ...] = ()
    batch: BatchMode = BatchMode.ALL
    binding: str | None = None
    first: int = 0
    join: Join = add_scaled
    moved: DeviceCache[Tensor] = field(default_factory=DeviceCache[Tensor], init=False)

    @property
    def needs_pictures(self) -> bool:
        """Whether it depends on which pictures of the batch a call is for."""
        several = self.keys.references > 1 or (self.mask is not None and self.mask.count > 1)
        return several or bool(self.frames)

    @property
    def needs_total(self) -> bool:
        """Whether it depends on how many pictures the whole batch has."""
        return bool(self.frames) or (self.batch is BatchMode.SPREAD and self.needs_pictures)

    @property
    def needs_sigma(self) -> bool:
        """Whether it depends on the noise level."""
        return self.window is not None or bool(self.steps) or self.keys.timed

    def hears(self, sigma: float) -> bool:
        """Whether it is active at a noise level."""
        return self.window is None or self.window.contains(sigma)

    def at(self, call: Call) -> ResolvedPrompt | None:
        """What it is in one call, None if it is not active in it."""
        if call.sigma is not None and not self.hears(call.sigma):
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
            for frame in self._places(call)
        ]
        pictures = list(zip(self._pick(call, count), factors, strict=True))
        silence = bool(self.keys.own_keys) and self.binding is not None
        if len(set(pictures)) == 1 and not silence:
            pictures = pictures[:1]
        return tuple(
            Row(chunk.cond_or_uncond * count + reference, factor)
            if self.binding is None or self.binding in chunk.bindings
            else Row(NO_REFERENCE)
            for chunk in call.chunks
            for reference, factor in pictures
        )

    def _pick(self, call: Call, count: int) -> tuple[int, ...]:
        pick = PICK[self.batch]
        return tuple(pick(frame, call.total, count) for frame in self._places(call))

    def _places(self, call: Call) -> tuple[int, ...]:
        """The place of each picture of a chunk in the whole batch."""
        if not self.first:
            return call.frames
        return tuple(self.first + place for place in call.within or call.frames)

    def allow(self, most_bytes: int) -> None:
        """What may be held on a device while a run goes on."""
        self.keys.allow(most_bytes)

    def release(self) -> None:
        """Drop copies made for a run."""
        self.keys.release()
        self.moved.clear()
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
        layers, own_keys = self.prompt.layers, self._own_keys(device, dtype)
        pairs = {False: self.keys.on(self.rows, device, dtype)}
        if any(place.swapped for place in layers.values()):
            pairs[True] = self.keys.on(self._swapped(), device, dtype)
        weight, cover = self._weight(device, dtype)
        for slot, place in layers.items():
            key, value = pairs[place.swapped][place.position]
            factor = place.factor * weight
            own = None if own_keys is None else own_keys[place.position]
            join = self.prompt.join
            yield slot, LayerEntry(key, value, len(self.rows), factor, cover, join, own)

    def _own_keys(self, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """A row for each layer, uploaded together; None where layers do not hear their own."""
        own = self.prompt.keys.own_keys
        if not own:
            return None
        key = ("own", device, dtype)
        return self.prompt.moved.get(key, lambda: torch.stack(own).to(device, dtype))

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
        weights = [0.0 if row.source == NO_REFERENCE else row.weight for row in self.rows]
        used = {weight for weight in weights if weight}
        each = None
        # Queries that attend to the layer's own keys too hear something without any token.
        mute = 0.0 in weights and bool(self.prompt.keys.own_keys)
        if mute or (self.keys.slope is None and len(used) > 1):  # then each picture has a row
            if len(used) == 1 or self.keys.slope is not None:  # it counts elsewhere
                weights = [float(bool(weight)) for weight in weights]
            key = (device, dtype, *weights)
            rows = self.prompt.moved.get(key, lambda: torch.tensor(weights, dtype=dtype).to(device))
            each = rows[:, None, None]
        if mask is None and each is None:
            return self._one_weight(used), None
        return self._one_weight(used), Cover(mask, self.crops, self.planes, each)

    def _one_weight(self, used: set[float]) -> float:
        return used.copy().pop() if self.keys.slope is None and len(used) == 1 else 1.0
