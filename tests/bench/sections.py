"""The parts of the benchmark, each printed as soon as it is measured."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path

import comfy.ldm.modules.attention
import comfy.model_management
import comfyui_version
import torch
from bench import counts as counting
from bench import faces, overhead, reapply
from bench import full_size as real
from bench import memory as keeping
from bench import transformers as blocks
from bench.bed import tiny_bed
from bench.cards.section import Record
from bench.cards.section import run as run_cards
from bench.contenders import Contender, How, Ours
from bench.counts import Case
from bench.incumbent import Incumbent
from bench.old_names import OldNames
from bench.report import Check, number, table, verdict
from kit.models import tiny
from kit.unet import parse_blocks
from pack.ip_models.weights.gains import Weights

FAMILIES = ("sd1", "sdxl")
_SAME = 1e-4
_REAL = "SD1.5 512 x 512, SDXL 1024 x 1024, Flux and SD3.5 at real size"
_NARROW = "Narrow UNets and transformers on the processor: counts hold, times say nothing of a card"


def machine() -> str:
    """What everything below was measured on."""
    device = comfy.model_management.get_torch_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    attention = comfy.ldm.modules.attention.optimized_attention.__name__
    return (
        f"device     {device.type.upper()}: {name}, {torch.get_num_threads()} threads\n"
        f"software   ComfyUI {comfyui_version.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {attention}"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@contextmanager
def one_thread() -> Iterator[None]:
    """Counts do not depend on threads, and tiny work is slow where several wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def contenders(incumbent: Path | None) -> list[Contender]:
    """Ours first, by its own names and by old ones; only ours makes promises."""
    theirs = [Incumbent(incumbent.expanduser().resolve())] if incumbent else []
    return [Ours(), OldNames(), *theirs]


def counts(parties: Sequence[Contender], folder: Path) -> list[Check]:
    """Kernels, products and synchronisations of a step."""
    kept: list[Check] = []
    for party in parties:
        _title(f"Work of {party.name} in each step beyond the unpatched model (tiny real UNets)")
        rows: list[list[str]] = []
        for case in (case for family in FAMILIES for case in counting.cases(family)):
            cost = counting.cost(party, case, folder)
            checks = _promised(party, cost.checks())
            rows.append([*cost.row(), verdict(checks)])
            kept += checks
        print(table([*counting.HEADER, ""], rows))
    print(f"\n{counting.LEGEND}")
    return kept


def memory(parties: Sequence[Contender], folder: Path) -> list[Check]:
    """What sampling needs of an adapter."""
    rows: list[list[str]] = []
    kept: list[Check] = []
    for party, family in product(parties, FAMILIES):
        case, bed = Case(f"{family} plus", family), tiny_bed(family)
        adapter = party.load(counting.adapter_file(family, "plus", folder))
        model = counting.patched(party, case, folder)
        need = keeping.need(bed, model, party.module(model, adapter))
        checks = _promised(party, need.checks(case.name))
        rows.append([f"{party.name}, {case.name}", *need.row(), verdict(checks)])
        kept += checks
    _title("Adapter in memory while sampling (tiny real UNets)")
    print(table(["", *keeping.HEADER, ""], rows))
    return kept


def transformers() -> list[Check]:
    """Kernels and waits of a call of the transformers, whose tiny models stay on the CPU."""
    _title("Transformers: work of a call beyond the unpatched model (narrow, full depth)")
    costs = [blocks.cost(case) for case in blocks.CASES]
    rows = [[*cost.row(), verdict(cost.checks())] for cost in costs]
    print(table([*blocks.HEADER, ""], rows))
    print(f"\n{blocks.LEGEND}")
    return [check for cost in costs for check in cost.checks()]


def second_apply(parties: Sequence[Contender], folder: Path) -> list[Check]:
    """What new embeds cost on an adapter that is loaded."""
    rows: list[list[str]] = []
    kept: list[Check] = []
    for party, family in product(parties, FAMILIES):
        again = reapply.second_apply(party, family, folder)
        checks = _promised(party, again.checks(f"{family} plus, second Apply"))
        rows.append([f"{party.name}, {family} plus", *again.row(), verdict(checks)])
        kept += checks
    _title("Second Apply with new embeds, adapter loaded (tiny real UNets)")
    print(table(["", *reapply.HEADER, ""], rows))
    print(f"\n{reapply.LEGEND}")
    return kept


def layers(folder: Path) -> None:
    """What Python does in each layer; a time, so nothing is promised of it."""
    _title("The pack's own Python in each layer (tiny real UNet)")
    print(table(overhead.HEADER, [overhead.row(folder)]))


def face_engines(folder: Path) -> None:
    """What a face costs; nothing is promised of it."""
    _title("Faces: a recogniser of full size with random weights, a small detector")
    print(table(faces.HEADER, faces.rows(folder)))


def _promised(party: Contender, checks: list[Check]) -> list[Check]:
    return checks if isinstance(party, Ours | OldNames) else []


def agreement(parties: Sequence[Contender], folder: Path) -> list[Check]:
    """Whether both do the same work: the pictures, ours without the middle block.

    The incumbent registers the middle block under a name the host has not used since 2023-06.
    """
    ours, incumbent = Ours(), parties[-1]
    checks: list[Check] = []
    for family in FAMILIES:
        bed, features = tiny_bed(family), tiny.random_features(1)
        path = counting.adapter_file(family, "plus", folder)
        sides = Weights(blocks=(parse_blocks('{"down": 1, "up": 1}'),))
        with torch.inference_mode():
            mine = ours.apply(bed.model, ours.load(path), features, How(), sides)
            theirs = incumbent.apply(bed.model, incumbent.load(path), features, How())
            distance = tiny.relative(bed.sample(theirs, 2), bed.sample(mine, 2))
        checks.append(Check(f"{family} plus: relative difference of pictures", distance, _SAME))
    _title("Same work: both packs' pictures, ours without the middle block (tiny real UNets)")
    rows = [[check.what, number(check.found), verdict([check])] for check in checks]
    print(table(["", "found", ""], rows))
    return checks


def full_size(parties: Sequence[Contender], folder: Path, options: argparse.Namespace) -> None:
    """Times and memory at the size of SDXL."""
    _title("Full-size SDXL Plus (random weights)")
    size = real.choose(options.steps, options.latent, options.rounds)
    if size is None:
        print("left out: less than 8 GB of memory are free")
        return
    print(real.run(parties, folder, size))


def cards(
    parties: Sequence[Contender], folder: Path, minutes: float, record: Path | None
) -> list[Check]:
    """Every use of an adapter in real sizes on a card; on a processor narrow UNets by count."""
    on_card = comfy.model_management.get_torch_device().type == "cuda"
    _title(_REAL if on_card else _NARROW)
    kept = Record(record, {"machine": machine().splitlines(), "on a card": on_card})
    shown = [one for one in parties if not isinstance(one, OldNames)]
    with nullcontext() if on_card else one_thread():
        return run_cards(shown, folder, minutes, kept)


def summary(checks: Sequence[Check]) -> str:
    """How many promises are kept, and which are not."""
    failed = [check for check in checks if not check.passed]
    kept = f"\n{len(checks) - len(failed)} of {len(checks)} promises kept"
    return "\n".join([kept, *(f"FAIL {check}" for check in failed)])


def _title(text: str) -> None:
    print(f"\n== {text}", flush=True)
