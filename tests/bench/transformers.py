"""What an image prompt adds to a call of Flux, Chroma and SD3.5: counts, and time as a ratio."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import comfy.ldm.modules.attention as host_attention
import comfy.model_management
import torch
from bench.counter import Counts, measure
from bench.report import Check, megabytes, number
from kit.models import tiny, transformer_cases, transformers
from kit.models.transformer_cases import INSTANTX, SD3, XLABS, Given, Layout
from kit.models.transformers import Call, Pair, make_call, run_host
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones import kernel
from pack.nodes.host.model.patches import prompts_of

HEADER = ["case", "blocks", "kernels", "+kernels", "syncs", "held", "time"]
LEGEND = (
    "blocks: that hear the reference; kernels: for each of them in each call; +kernels: the rest\n"
    "syncs: of a call (SD3.5 reads its noise level); held: weights of the adapter while sampling\n"
    "time: a call with the reference against one without, narrow models at full depth"
)
_MOST = {id(XLABS): 3, id(INSTANTX): 3, id(SD3): 7}
_ROUNDS = 5
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """A model with an adapter in one of the published layouts."""

    name: str
    build: Callable[[], Pair]
    layout: Layout

    @property
    def blocks(self) -> int:
        """That hear it."""
        pair = self.build()
        return pair.doubles if self.layout is XLABS else pair.blocks


CASES = (
    Case("Flux, XLabs", transformers.full_flux, XLABS),
    Case("Flux, InstantX", transformers.full_flux, INSTANTX),
    Case("Chroma, InstantX", transformers.full_chroma, INSTANTX),
    Case("SD3.5, InstantX", transformers.full_sd3, SD3),
)


@dataclass(frozen=True)
class Cost:
    """What a case adds to a call.

    Attributes:
        held: bytes of the adapter's weights that the host has loaded.
        ratio: of the times with and without it.
    """

    case: Case
    added: Counts
    held: int
    ratio: float

    def checks(self) -> list[Check]:
        """The promises for this case."""
        most, timed = _MOST[id(self.case.layout)], self.case.layout is SD3
        return [
            Check(f"{self.case.name}: kernels", self.added.kernels, most * self.case.blocks + 2),
            Check(f"{self.case.name}: syncs", self.added.syncs, 1 if timed else 0),
            Check(f"{self.case.name}: bytes of the adapter held", self.held, 0),
        ]

    def row(self) -> list[str]:
        """Cells under `HEADER`."""
        each, rest = divmod(self.added.kernels, self.case.blocks)
        counts = (self.case.blocks, each, rest, self.added.syncs)
        cells = [self.case.name, *(number(count) for count in counts)]
        return [*cells, megabytes(self.held), f"{self.ratio:.2f}"]


@torch.no_grad()
def cost(case: Case) -> Cost:
    """Measure one case."""
    kept = (host_attention.optimized_attention, kernel.optimized_attention)
    host_attention.optimized_attention = host_attention.attention_pytorch  # one kernel
    kernel.optimized_attention = host_attention.attention_pytorch
    try:
        pair, call = case.build(), make_call()
        with TemporaryDirectory() as folder:  # in memory it would not be read as users have it
            tensors = case.layout.tensors(pair, 1)
            adapter = tiny.load_tensors(Path(folder), tensors)
            features = transformer_cases.features(case.layout, Given())
            model = apply(pair.model, adapter, features, Settings(scale=0.7))
        assert prompts_of(model).prompts
        added = _counted(pair, model, call) - _counted(pair, pair.model, call)
        loaded = [one.model for one in comfy.model_management.current_loaded_models]
        held = adapter.patcher.model_size() if adapter.patcher in loaded else 0
        ratio = _seconds(pair, model, call) / _seconds(pair, pair.model, call)
        return Cost(case, added, held, ratio)
    finally:
        host_attention.optimized_attention, kernel.optimized_attention = kept


def _counted(pair: Pair, model: Any, call: Call) -> Counts:
    run_host(pair, model, call)  # moves keys and values
    return measure(lambda: run_host(pair, model, call), pair.model.model.diffusion_model, _CPU)


def _seconds(pair: Pair, model: Any, call: Call) -> float:
    times: list[float] = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        run_host(pair, model, call)
        times.append(time.perf_counter() - begin)
    return min(times)
