"""What a second Apply does to the adapter's weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import comfy.utils
import safetensors
import safetensors.torch
import torch
from bench.bed import tiny_bed
from bench.contenders import Contender, How
from bench.counter import PRODUCTS, OperatorLog, storage_of, tensors_in
from bench.counts import adapter_file
from bench.report import Check, megabytes, number
from kit.models import tiny
from torch import Tensor, nn

_COPIES = frozenset({"_to_copy", "copy_", "clone", "cat"})


@dataclass
class ApplyWork:
    """What was done with weights, each with the bytes written.

    Attributes:
        files: model files that were opened.
        loads: calls of `load_state_dict`.
        moved: copies of weights to another device.
        cast: copies of weights in another precision on the same device.
        copied: other copies of weights.
        products: matrix products.
    """

    files: list[str] = field(default_factory=list[str])
    loads: int = 0
    moved: list[int] = field(default_factory=list[int])
    cast: list[int] = field(default_factory=list[int])
    copied: list[int] = field(default_factory=list[int])
    products: int = 0


class _WeightLog(OperatorLog):
    """Sorts the copies of weights; weights are parameters and what is named beforehand."""

    def __init__(self, work: ApplyWork, weights: set[int]) -> None:
        super().__init__()
        self._work, self._weights = work, weights

    def record(self, func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        super().record(func, inputs, outputs)
        # The last argument is what a copy reads: `copy_(target, source)`.
        source = inputs[-1] if inputs else None
        if source is None or func.overloadpacket.__name__ not in _COPIES or not outputs:
            return
        if isinstance(source, nn.Parameter) or storage_of(source) in self._weights:
            self._sort(source, outputs[0])

    def _sort(self, source: Tensor, target: Tensor) -> None:
        if source.device != target.device:
            self._work.moved.append(target.nbytes)
        elif source.dtype != target.dtype:
            self._work.cast.append(target.nbytes)
        else:
            self._work.copied.append(target.nbytes)


def watch(apply: Callable[[], Any], weights: list[Tensor]) -> tuple[Any, ApplyWork]:
    """Run an Apply and tell what it did with the weights."""
    work = ApplyWork()
    log = _WeightLog(work, {storage_of(weight) for weight in weights})
    loads: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(_noted(nn.Module, "load_state_dict", loads))
        for place, name in _READERS:
            stack.enter_context(_noted(place, name, work.files))
        stack.enter_context(_opened_files(work.files))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(log)
        result = apply()
    work.loads = len(loads)
    work.products = sum(count for name, count in log.kernels.items() if name in PRODUCTS)
    return result, work


# Libraries that read without Python's own `open`.
_READERS = (
    (comfy.utils, "load_torch_file"),
    (safetensors, "safe_open"),
    (safetensors.torch, "load_file"),
    (torch, "load"),
)


@contextmanager
def _noted(place: Any, name: str, calls: list[str]) -> Iterator[None]:
    original = getattr(place, name)

    def spy(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return original(*args, **kwargs)

    with mock.patch.object(place, name, spy):
        yield


_MODEL_FILES = (".safetensors", ".sft", ".bin", ".pt", ".pth", ".ckpt")
_listeners: list[list[str]] = []
_hooked: list[bool] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _listeners and str(arguments[0]).endswith(_MODEL_FILES):
        _listeners[-1].append(str(arguments[0]))


@contextmanager
def _opened_files(names: list[str]) -> Iterator[None]:
    if not _hooked:  # an audit hook can never be taken off
        sys.addaudithook(_listen)
        _hooked.append(True)
    _listeners.append(names)
    try:
        yield
    finally:
        _listeners.pop()


HEADER = ["files", "state loads", "allocated", "moved", "copied", "cast", "products"]
LEGEND = (
    "allocated: bytes of weights the adapter has afterwards and had not before; moved: copied to "
    "another\ndevice; copied: other copies in the same precision; cast: copies in another "
    "precision; products: matrix products"
)


@dataclass(frozen=True)
class SecondApply:
    """The second Apply of one contender.

    Attributes:
        allocated: bytes of parameters that are new memory.
    """

    work: ApplyWork
    allocated: int

    def row(self) -> list[str]:
        """Cells under `HEADER`."""
        work = self.work
        return [
            number(len(work.files)),
            number(work.loads),
            megabytes(self.allocated),
            _amount(work.moved),
            _amount(work.copied),
            _amount(work.cast),
            number(work.products),
        ]

    def checks(self, name: str) -> list[Check]:
        """The promises: nothing is read, loaded, allocated, moved or copied."""
        return [
            Check(f"{name}: files opened", len(self.work.files), 0),
            Check(f"{name}: load_state_dict calls", self.work.loads, 0),
            Check(f"{name}: bytes of weights allocated", self.allocated, 0),
            Check(f"{name}: bytes of weights moved", sum(self.work.moved), 0),
            Check(f"{name}: bytes of weights copied", sum(self.work.copied), 0),
        ]


def second_apply(contender: Contender, family: str, folder: Path) -> SecondApply:
    """Load, apply, and apply once more with other embeds."""
    bed, path = tiny_bed(family), adapter_file(family, "plus", folder)
    adapter = contender.load(path)
    with torch.inference_mode():
        first = contender.apply(bed.model, adapter, tiny.random_features(1, seed=20), How())
    module = contender.module(first, adapter)
    before = _addresses(module)
    features = tiny.random_features(1, seed=21)
    second, work = watch(
        lambda: contender.apply(bed.model, adapter, features, How()),
        [*tensors_in(adapter), *module.parameters()],
    )
    after = _addresses(contender.module(second, adapter))
    return SecondApply(work, sum(size for key, size in after.items() if key not in before))


def _addresses(module: nn.Module) -> dict[int, int]:
    return {parameter.data_ptr(): parameter.nbytes for parameter in module.parameters()}


def _amount(copies: list[int]) -> str:
    return f"{len(copies)}: {megabytes(sum(copies))}" if copies else "0"
