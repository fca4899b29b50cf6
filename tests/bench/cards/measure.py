"""One row of the plan: each contender and the unpatched MODEL, taking turns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import comfy.model_management
import torch
from bench import counts
from bench.bed import Bed, tiny_bed
from bench.cards.plan import Row
from bench.contenders import Contender, How
from bench.counter import Counts
from bench.memory import held_by, loaded_besides
from bench.peak import Peak, settle
from bench.real_beds import real_adapter, real_bed, real_features
from bench.report import Check, megabytes, number
from kit.models import tiny
from pack.ip_models.references.features import ImageFeatures

UNPATCHED = "unpatched"
HEADER = (
    *("", "layers", "kernels", "+kernels", "syncs", "step / unpatched", "load", "Apply"),
    *("peak", "weights", "K/V"),
)
_PROMPT = 77
_STEPS, _ROUNDS = 5, 5
LEGEND = (
    "kernels: extra ones for each layer that hears, in each call; +kernels, syncs: the rest of "
    "them, and waits, of a call\nstep: without the first of a run, which moves keys and values; "
    "median of rounds (lowest to highest)\nload: adapter read and applied, where it was not there "
    "yet; Apply: again, with new references\npeak: of sampling, beyond the unpatched; weights: "
    "of the adapter, that sampling holds; K/V: keys, values and tokens"
)


@dataclass(frozen=True)
class Found:
    """What one contender costs in one row.

    Attributes:
        kernels: extra ones for each layer that hears, in each call of the UNet.
        rest: extra kernels of a call besides.
        syncs: extra waits of a call.
        layers: that hear, of those there are.
        step: time of a step over the unpatched one, median of the rounds; low and high are theirs.
        first: seconds of loading the adapter and applying it; nothing where it was loaded already.
        apply: seconds of an Apply with new references.
        peak: bytes that sampling takes at most beyond the unpatched.
        weights: bytes of adapter weights that the MODEL holds or the host loads for sampling.
        others: bytes of keys, values and tokens that the MODEL holds.
    """

    kernels: float
    rest: float
    syncs: float
    layers: str
    step: float
    low: float
    high: float
    first: float | None
    apply: float
    peak: int
    weights: int
    others: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def row(self, name: str) -> list[str]:
        """Cells under `HEADER`."""
        counted = (self.kernels, self.rest, self.syncs)
        return [
            name,
            self.layers,
            *map(number, counted),
            f"{self.step:.3f} ({self.low:.3f} to {self.high:.3f})",
            "-" if self.first is None else f"{self.first:.2f} s",
            f"{self.apply:.3f} s",
            *map(megabytes, (self.peak, self.weights, self.others)),
        ]

    def checks(self, name: str, kernels: int = 2, rest: int = 0, syncs: int = 0) -> list[Check]:
        """What is promised of every row, on every device."""
        return [
            Check(f"{name}: extra kernels a layer", self.kernels, kernels),
            Check(f"{name}: other extra kernels a call", self.rest, rest),
            Check(f"{name}: extra syncs a call", self.syncs, syncs),
            Check(f"{name}: bytes of adapter weights", self.weights, 0),
        ]


class Table:
    """UNets, adapters and folder that rows share.

    Args:
        full_size: whether UNets have their real size.
    """

    def __init__(self, parties: Sequence[Contender], folder: Path, full_size: bool) -> None:
        self.parties, self._folder, self._full_size = parties, folder, full_size
        self._adapters: dict[tuple[str, str], Any] = {}
        self._plain: dict[tuple[str, torch.dtype, int], Counts] = {}
        self._seeds = count(1)

    def measure(self, row: Row) -> dict[str, Found]:
        """Each contender by name."""
        bed, seed = self.bed(row.family, row.dtype), next(self._seeds)
        applied = {party.name: self._apply(party, bed, row, seed) for party in self.parties}
        models = {name: model for name, (model, _, _) in applied.items()}
        steps = _step_times(bed, {UNPATCHED: bed.model, **models}, row.batch)
        plain_peak = _peak(bed, bed.model, row.batch)
        return {
            name: self._found(row, model, _ratios(steps, name), plain_peak, times)
            for name, (model, *times) in applied.items()
        }

    def bed(self, family: str, dtype: torch.dtype) -> Bed:
        """The UNet of a family."""
        return _full_bed(family, dtype) if self._full_size else tiny_bed(family)

    def _apply(
        self, party: Contender, bed: Bed, row: Row, seed: int
    ) -> tuple[Any, float | None, float]:
        """The patched MODEL, and seconds of the first Apply and of one with new references."""
        mask = torch.linspace(0, 1, 40).expand(1, 30, 40) if row.masked else None
        how, key = How(mask=mask), (party.name, row.family)
        path, first = self._adapter_file(row.family), None
        comfy.model_management.load_models_gpu([bed.model])
        with torch.inference_mode():
            if key not in self._adapters:
                begin = now()
                self._adapters[key] = party.load(path)
                party.apply(bed.model, self._adapters[key], self._features(0, row), how)
                first = now() - begin
            features = self._features(seed, row)
            begin = now()
            model = party.apply(bed.model, self._adapters[key], features, how)
            return model, first, now() - begin

    def _adapter_file(self, family: str) -> Path:
        if self._full_size:
            return real_adapter(family, self._folder)
        return counts.adapter_file(family, "plus", self._folder)

    def _features(self, seed: int, row: Row) -> ImageFeatures:
        if self._full_size:
            return real_features(seed, row.references)
        return tiny.random_features(row.references, seed)

    def _found(
        self, row: Row, model: Any, ratios: list[float], plain_peak: int, times: list[Any]
    ) -> Found:
        bed = self.bed(row.family, row.dtype)
        key = row.family, row.dtype, row.batch
        if key not in self._plain:
            self._plain[key] = counts.profile(bed, bed.model, row.batch)[0]
        plain = self._plain[key]
        extra = (counts.profile(bed, model, row.batch)[0] - plain) / plain.calls
        hearing = round(extra.attention)
        each = extra.kernels // hearing if hearing else 0.0
        held = held_by(model)
        return Found(
            kernels=each,
            rest=extra.kernels - each * hearing,
            syncs=extra.syncs,
            layers=f"{hearing}/{len(bed.widths)}",
            step=median(ratios),
            low=min(ratios),
            high=max(ratios),
            first=times[0],
            apply=times[1],
            peak=_peak(bed, model, row.batch) - plain_peak,
            weights=held.weights + loaded_besides(bed, model),
            others=held.others,
        )


@cache
def _full_bed(family: str, dtype: torch.dtype) -> Bed:
    return replace(real_bed(family, dtype), tokens=_PROMPT)


def now() -> float:
    """Seconds, when the device has done what it was asked; of the processor where that is it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


@torch.inference_mode()
def _step_times(bed: Bed, models: dict[str, Any], batch: int) -> dict[str, list[float]]:
    """Seconds of a step, a number for each round; the first step of a run is not taken."""
    found: dict[str, list[float]] = {name: [] for name in models}
    names = list(models)
    _steps(bed, models[UNPATCHED], batch)  # warms up
    for index in range(_ROUNDS):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(median(_steps(bed, models[name], batch)))
    return found


def _steps(bed: Bed, model: Any, batch: int) -> list[float]:
    ends: list[float] = []
    bed.sample(model, _STEPS, batch, lambda *_: ends.append(now()))
    return [after - before for before, after in zip(ends, ends[1:], strict=False)]


def _ratios(steps: dict[str, list[float]], name: str) -> list[float]:
    return [own / base for own, base in zip(steps[name], steps[UNPATCHED], strict=True)]


@torch.inference_mode()
def _peak(bed: Bed, model: Any, batch: int) -> int:
    settle()
    with Peak() as peak:
        bed.sample(model, 1, batch)
    return peak.bytes
