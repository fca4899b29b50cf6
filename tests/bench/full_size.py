"""Seconds and bytes at the real size: SDXL's whole UNet and the published Plus adapter.

Weights are random, which changes neither time nor memory. Contenders take turns within a round, in
sampling in another order each time, so that what slows the machine slows all of them; ratios are
medians over the rounds. On a CPU it is processor time on one thread that is taken, which other
programs hardly change.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import comfy.model_management
import psutil
import torch
from bench.bed import Bed
from bench.contenders import Contender, How
from bench.memory import held_by
from bench.peak import Peak, settle
from bench.real_beds import real_adapter, real_bed, real_features
from bench.report import megabytes, table
from pack.ip_models.references.features import ImageFeatures

_PLAIN = "unpatched"
_GIB = 2**30


@dataclass(frozen=True)
class Size:
    """How large the measurement is."""

    dtype: torch.dtype
    latent: int
    steps: int
    rounds: int


@dataclass
class Clock:
    """Seconds of one contender, a number for each round, and bytes."""

    first: list[float] = field(default_factory=list[float])
    embeds: list[float] = field(default_factory=list[float])
    scale: list[float] = field(default_factory=list[float])
    sampling: list[float] = field(default_factory=list[float])
    peak_apply: int = 0
    kept_apply: int = 0
    peak_sampling: int = 0
    weights_held: int = 0
    others_held: int = 0


def choose(steps: int | None, latent: int | None, rounds: int) -> Size | None:
    """What this machine can do in a few minutes; None if it has too little memory."""
    device = comfy.model_management.get_torch_device()
    if device.type == "cuda":
        return Size(torch.float16, latent or 128, steps or 10, rounds)
    free = psutil.virtual_memory().available
    if free < 8 * _GIB:
        return None
    # Single precision is what ComfyUI uses on a CPU; it takes 14 GB with everything else.
    dtype = torch.float32 if free > 16 * _GIB else torch.bfloat16
    return Size(dtype, latent or 32, steps or 1, rounds)


def run(contenders: Sequence[Contender], folder: Path, size: Size) -> str:
    """Measure everything and lay it out."""
    path = real_adapter("sdxl", folder)
    bed = real_bed("sdxl", size.dtype, size.latent)
    clocks = {_PLAIN: Clock(), **{party.name: Clock() for party in contenders}}
    models = {_PLAIN: bed.model}
    with torch.inference_mode():
        for _ in range(size.rounds):
            for party in contenders:
                models.pop(party.name, None)
                models[party.name] = _time_apply(party, bed, path, clocks[party.name])
        _time_sampling(bed, models, clocks, size)
        for name, model in models.items():
            settle()
            with Peak() as peak:
                bed.sample(model, size.steps)
            clocks[name].peak_sampling = peak.bytes
    return _layout(clocks.pop(_PLAIN), clocks, size)


def _time_apply(party: Contender, bed: Bed, path: Path, clock: Clock) -> Any:
    comfy.model_management.unload_all_models()
    comfy.model_management.load_models_gpu([bed.model])
    first, second = real_features(1), real_features(2)

    def apply(features: ImageFeatures, scale: float) -> Any:
        return party.apply(bed.model, adapter, features, How(scale))

    settle()
    with Peak() as peak, timed(clock.first):
        adapter = party.load(path)
        model = apply(first, 1.0)
    clock.peak_apply, clock.kept_apply = max(clock.peak_apply, peak.bytes), peak.kept()
    del model
    with timed(clock.embeds):
        model = apply(second, 1.0)
    with timed(clock.scale):
        model = apply(second, 0.7)
    held = held_by(model)
    clock.weights_held, clock.others_held = held.weights, held.others
    return model


def _time_sampling(bed: Bed, models: dict[str, Any], clocks: dict[str, Clock], size: Size) -> None:
    names = list(models)
    bed.sample(models[_PLAIN], size.steps)  # warms up
    for index in range(size.rounds):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            with timed(clocks[name].sampling):
                bed.sample(models[name], size.steps)


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    on_cuda = comfy.model_management.get_torch_device().type == "cuda"
    clock = time.perf_counter if on_cuda else time.process_time
    gc.collect()
    start = clock()
    yield
    if on_cuda:
        torch.cuda.synchronize()
    seconds.append(clock() - start)


def _layout(plain: Clock, clocks: dict[str, Clock], size: Size) -> str:
    names = list(clocks)
    header = ["", *names, *(f"{name} / {names[0]}" for name in names[1:])]
    sections = [
        _times("load and first Apply", "first", clocks),
        _times("second Apply, new embeds", "embeds", clocks),
        _times("second Apply, new scale", "scale", clocks),
        _against_plain("sampling / unpatched", plain, clocks),
        _bytes("peak memory of load and first Apply", "peak_apply", clocks),
        _bytes("memory kept after it", "kept_apply", clocks),
        _bytes("weights the MODEL holds", "weights_held", clocks),
        _bytes("keys, values, tokens it holds", "others_held", clocks),
        ["peak of sampling over unpatched", *_beyond(plain, clocks), *("" for _ in names[1:])],
    ]
    precision = str(size.dtype).removeprefix("torch.")
    return (
        f"UNet {precision}, adapter file float16, latent {size.latent}x{size.latent}, CFG, "
        f"{size.steps} step(s), {size.rounds} rounds; medians (lowest to highest)\n"
        f"unpatched: {_spread(plain.sampling, 's')} a run; its peak memory "
        f"{megabytes(plain.peak_sampling)} beyond the weights\n"
        f"{table(header, sections)}"
    )


def _times(title: str, name: str, clocks: dict[str, Clock]) -> list[str]:
    lists = [getattr(clock, name) for clock in clocks.values()]
    return [title, *(_spread(times, "s") for times in lists), *_ratios(lists)]


def _against_plain(title: str, plain: Clock, clocks: dict[str, Clock]) -> list[str]:
    lists = [
        [own / base for own, base in zip(clock.sampling, plain.sampling, strict=True)]
        for clock in clocks.values()
    ]
    return [title, *(_spread(ratios, "x", 3) for ratios in lists), *_ratios(lists)]


def _bytes(title: str, name: str, clocks: dict[str, Clock]) -> list[str]:
    sizes = [getattr(clock, name) for clock in clocks.values()]
    ratios = [f"{size / sizes[0]:.2f}x" if sizes[0] else "-" for size in sizes[1:]]
    return [title, *map(megabytes, sizes), *ratios]


def _beyond(plain: Clock, clocks: dict[str, Clock]) -> list[str]:
    return [megabytes(clock.peak_sampling - plain.peak_sampling) for clock in clocks.values()]


def _ratios(lists: list[list[float]]) -> list[str]:
    return [
        f"{median(other / own for other, own in zip(theirs, lists[0], strict=True)):.2f}x"
        for theirs in lists[1:]
    ]


def _spread(values: list[float], unit: str, digits: int = 2) -> str:
    low, middle, high = min(values), median(values), max(values)
    return f"{middle:.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f})"
