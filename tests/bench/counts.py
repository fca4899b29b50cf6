"""What an adapter adds to each step of the sampler, by count and not by clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from bench.bed import Bed, tiny_bed, tiny_twins
from bench.contenders import Contender, How
from bench.counter import Counts, measure
from bench.report import Check, number
from kit.models import checkpoints, tiny

# The first step also moves keys and values, so a step is the difference of two runs.
_FEW, _MANY = 2, 3
_KERNELS_PER_LAYER = 2
_MIDDLE = {"sd1": 1, "sdxl": 10}  # layers of the middle block
HEADER = ["case", "layers", "kernels", "products", "syncs", "+kernels", "+syncs", "once"]
LEGEND = (
    "layers: cross-attention layers in which the reference is used, of those there are\n"
    "kernels, products (K/V projections): for each of these layers and adapter in each UNet call\n"
    "syncs: for each of these layers; +kernels, +syncs: what remains of a call besides\n"
    "once: kernels for each run of the sampler, mostly to move keys and values"
)


@dataclass(frozen=True)
class Case:
    """One way of using adapters.

    Attributes:
        kinds: adapters that are applied one after the other.
        closed: the references are never active, because their window is closed.
    """

    name: str
    family: str
    kinds: tuple[str, ...] = ("plus",)
    how: How = field(default_factory=How)
    references: int = 1
    batch: int = 1
    closed: bool = False


@dataclass(frozen=True)
class Cost:
    """What a case adds to the unpatched model.

    Attributes:
        step: for each step.
        once: for each run besides its steps.
        layers: cross-attention layers of the UNet.
        image_attentions: those of each call of the UNet, over all adapters.
        silent: layers that are not to hear a reference.
    """

    case: Case
    step: Counts
    once: Counts
    layers: int
    image_attentions: int
    silent: int = 0

    def row(self) -> list[str]:
        """Cells under `HEADER`."""
        adapters = len(self.case.kinds)
        kernels, more_kernels = _split(self.step.kernels, self.image_attentions)
        products, _ = _split(self.step.products, self.image_attentions)
        syncs, more_syncs = _split(self.step.syncs, self.image_attentions // adapters)
        counts = (kernels, products, syncs, more_kernels, more_syncs)
        # Only some of the steps lie in a window, so the rest of a run is not its fixed part.
        once = "-" if self.case.how.windowed else number(self.once.kernels)
        layers = f"{self.image_attentions // adapters}/{self.layers}"
        return [self.case.name, layers, *(number(count) for count in counts), once]

    def checks(self) -> list[Check]:
        """The promises for this case."""
        name, adapters = self.case.name, len(self.case.kinds)
        expected = 0 if self.case.closed else (self.layers - self.silent) * adapters
        read = 1 if self.case.how.windowed else 0
        kernels = _KERNELS_PER_LAYER * expected + read
        return [
            Check(f"{name}: layers left out", abs(expected - self.image_attentions), 0),
            Check(f"{name}: extra kernels a call", self.step.kernels, kernels),
            Check(f"{name}: extra products a call", self.step.products, 0),
            Check(f"{name}: extra syncs a call", self.step.syncs, read),
        ]


def _split(count: float, parts: int) -> tuple[float, float]:
    """A number as so much for each part and a rest."""
    each = count // parts if parts else 0
    return each, count - each * parts


def cases(family: str) -> list[Case]:
    """Everything that is counted for a family."""
    # Ends before the last step, so that all other steps of any number of them lie in it.
    window = How(start=0.0, end=0.9995)
    mask = torch.linspace(0, 1, 40).expand(1, 30, 40)

    def case(name: str, *kinds: str, **options: Any) -> Case:
        return Case(f"{family} {name}", family, kinds or ("plus",), **options)

    return [
        case("standard", "standard"),
        case("plus"),
        case("plus, 3 references, batch 2", references=3, batch=2),
        case("plus, window", how=window),
        case("plus, closed window", how=How(start=0.0, end=0.0), closed=True),
        case("plus, mask", how=How(mask=mask)),
        case("plus and standard", "plus", "standard"),
        case("plus and standard, masks", "plus", "standard", how=How(mask=mask)),
    ]


def cost(contender: Contender, case: Case, folder: Path) -> Cost:
    """Run a case with and without the adapters and take the difference."""
    bed = tiny_bed(case.family)
    plain_step, plain_once = _plain_profile(case.family, case.batch)
    step, once = profile(bed, patched(contender, case, folder), case.batch)
    extra = (step - plain_step) / plain_step.calls
    silent = 0 if contender.hears_middle else _MIDDLE[case.family]
    attentions = round(extra.attention)
    return Cost(case, extra, once - plain_once, len(bed.widths), attentions, silent)


def patched(contender: Contender, case: Case, folder: Path) -> Any:
    """The tiny MODEL with the adapters of a case."""
    model = tiny_bed(case.family).model
    for i, kind in enumerate(case.kinds):
        adapter = contender.load(adapter_file(case.family, kind, folder))
        features = tiny.random_features(case.references, seed=20 + i)
        with torch.inference_mode():
            model = contender.apply(model, adapter, features, case.how)
    return model


def adapter_file(family: str, kind: str, folder: Path) -> Path:
    """A random adapter for the tiny MODEL, with the inner sizes of the published ones."""
    path = folder / f"{family}-{kind}.safetensors"
    if not path.is_file():
        inner = {"sd1": {"dim": 768, "heads": 12}, "sdxl": {"dim": 1280, "heads": 20}}
        options = inner[family] if kind == "plus" else {}
        tensors = tiny.adapter_tensors(tiny_twins(family), kind, **options)
        checkpoints.write(path, {key: value.half() for key, value in tensors.items()}, "flat")
    return path


@cache
def _plain_profile(family: str, batch: int) -> tuple[Counts, Counts]:
    bed = tiny_bed(family)
    with torch.no_grad():
        bed.sample(bed.model, 1, batch)  # loads the model
    return profile(bed, bed.model, batch)


def profile(bed: Bed, model: Any, batch: int) -> tuple[Counts, Counts]:
    """Work of each step, and of each run besides its steps."""
    few, many = (
        measure(lambda count=count: bed.sample(model, count, batch), bed.unet, bed.device)
        for count in (_FEW, _MANY)
    )
    step = (many - few) / (_MANY - _FEW)
    return step, few - step * _FEW
