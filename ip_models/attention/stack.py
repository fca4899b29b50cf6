"""All image prompts of a MODEL, and those of them that are active in one model call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .attend import LayerEntry
from .call import Call, CondChunk
from .prompt import ImagePrompt, ResolvedPrompt
from .record import CallRecord, LayerRecord
from .shared import Shared
from .timed_keys import TimedKeys

_Where = tuple[torch.device, torch.dtype]


def _no_tables() -> dict[_Where, dict[Hashable, list[LayerEntry]]]:
    return {}


@dataclass(frozen=True, eq=False)
class ActivePrompts(Shared):
    """The image prompts of one model call, resolved once before its first layer.

    Attributes:
        places: the host's `cond_or_uncond` as it was at the beginning of the call.
        tables: what each layer adds, by slot, for each device and type of its query.
        record: where the shares of references are noted; None in an ordinary run.
    """

    prompts: tuple[ResolvedPrompt, ...]
    call: Call
    places: list[int] | None = None
    tables: dict[_Where, dict[Hashable, list[LayerEntry]]] = field(default_factory=_no_tables)
    record: CallRecord | None = None

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
            record = None if self.record is None else self.record.of(call)
            known = ActivePrompts(tuple(filter(None, resolved)), call, record=record)
            self._of_chunks[chunks] = known
        return known

    @cached_property
    def _of_chunks(self) -> dict[tuple[CondChunk, ...], ActivePrompts]:
        return {}

    @cached_property
    def _levels(self) -> list[tuple[Tensor, float]]:
        return []

    def noise_level(self, sigmas: Tensor) -> float:
        """The highest of them, for which the device is waited for once and not in each layer."""
        for known, level in self._levels:
            if known is sigmas:
                return level
        level = float(sigmas.max())
        self._levels.append((sigmas, level))
        return level

    def layer_record(self, slot: Hashable, rows: int) -> LayerRecord | None:
        """Where a layer with so many rows is noted, None if it is not."""
        if self.record is None:
            return None
        return self.record.layer(slot, [one.prompt for one in self.prompts], rows)

    def table(
        self, device: torch.device, dtype: torch.dtype
    ) -> Mapping[Hashable, list[LayerEntry]]:
        """What each layer adds, by slot, on the device and in the type of its query."""
        known = self.tables.get((device, dtype))
        if known is None:
            known = {}
            for prompt in self.prompts:
                for slot, entry in prompt.entries(device, dtype):
                    known.setdefault(slot, []).append(entry)
            # Only when it is whole: another call may use it where this one ran out of memory.
            self.tables[device, dtype] = known
        return known


@dataclass(eq=False)
class LastCall:
    """What was worked out last, for the next call or layer that is the same.

    Attributes:
        of, own: what it was worked out from: values, and objects that have to be the same ones.
    """

    active: ActivePrompts | None = None
    of: object = None
    own: tuple[object, ...] = ()


@dataclass(frozen=True, eq=False)
class PromptStack(Shared):
    """All image prompts of a MODEL, in the order in which they were applied.

    Attributes:
        last: see `LastCall`.
    """

    prompts: tuple[ImagePrompt, ...] = ()
    last: LastCall = field(default_factory=LastCall)

    def add(self, *prompts: ImagePrompt) -> PromptStack:
        """A new stack with more prompts."""
        return PromptStack((*self.prompts, *prompts))

    @property
    def needs_place(self) -> bool:
        """Whether any of them depends on which part of the picture a call is for."""
        return any(prompt.mask is not None for prompt in self.prompts)

    @property
    def needs_pictures(self) -> bool:
        """Whether any of them depends on which pictures of the batch a call is for."""
        return any(prompt.needs_pictures for prompt in self.prompts)

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
        self, call: Call, places: list[int] | None = None, record: CallRecord | None = None
    ) -> ActivePrompts:
        """What is active in one call, whose noise level may be None unless `needs_sigma`.

        Args:
            places, record: see `ActivePrompts`.
        """
        resolved = tuple(filter(None, (prompt.at(call) for prompt in self.prompts)))
        active = ActivePrompts(resolved, call, places, record=record)
        previous = self.last.active
        if previous is not None and previous.prompts == resolved:
            active = dataclasses.replace(active, tables=previous.tables)
        self.last.active, self.last.own = active, ()
        return active

    def on(self, norms: object) -> PromptStack:
        """The same with keys for the norms that the model has now, see `TimedKeys.on`."""
        return PromptStack(
            tuple(
                dataclasses.replace(prompt, keys=prompt.keys.on(norms))
                if isinstance(prompt.keys, TimedKeys)
                else prompt
                for prompt in self.prompts
            )
        )

    def prepare(self, levels: Sequence[float]) -> None:
        """Make what depends on the noise level for the levels of a run that begins."""
        for prompt in self.prompts:
            prompt.keys.prepare([level for level in levels if prompt.hears(level)])

    def models(self) -> list[object]:
        """Models that the host has to load beside the MODEL."""
        return [model for prompt in self.prompts for model in prompt.keys.models()]

    def allow(self, most_bytes: int) -> None:
        """What all of them together may hold on a device while a run goes on."""
        for prompt in self.prompts:
            prompt.allow(most_bytes // len(self.prompts))

    def cleanup(self) -> None:
        """Drop what was made for a run; called after it."""
        self.last.active = None
        for prompt in self.prompts:
            prompt.release()
