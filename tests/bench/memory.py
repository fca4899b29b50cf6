"""What a MODEL keeps alive, and whether sampling needs the adapter's weights at all."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import comfy.model_management
import torch
from bench.bed import Bed
from bench.counter import storage_of
from bench.report import Check, megabytes
from torch import Tensor, nn

_LEAVES = (type, types.ModuleType, str, bytes, int, float, complex, type(None), torch.dtype)


@dataclass(frozen=True)
class Held:
    """Bytes that live as long as a MODEL does, besides the base model.

    Attributes:
        weights: parameters of modules.
        others: all other tensors, e.g. keys and values.
    """

    weights: int
    others: int


def held_by(model: Any) -> Held:
    """Follow everything that hangs on a MODEL's options: patches, wrappers, closures."""
    base = {storage_of(parameter) for parameter in model.model.parameters()}
    sizes: dict[bool, dict[int, int]] = {True: {}, False: {}}
    seen: set[int] = set()
    waiting: list[Any] = [model.model_options]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, _LEAVES) or item is model.model:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            key = storage_of(item)
            if key not in base:
                is_weight = isinstance(item, nn.Parameter)
                sizes[is_weight][key] = item.untyped_storage().nbytes()
        else:
            waiting.extend(_parts(item))
    return Held(sum(sizes[True].values()), sum(sizes[False].values()))


def _parts(item: Any) -> Iterator[Any]:
    if isinstance(item, Mapping):
        yield from item.values()
    elif isinstance(item, list | tuple | set | frozenset):
        yield from item
    elif isinstance(item, types.FunctionType):
        yield from (cell.cell_contents for cell in item.__closure__ or ())
        yield from item.__defaults__ or ()
        yield from (item.__kwdefaults__ or {}).values()
    elif isinstance(item, types.MethodType):
        yield item.__self__
    elif isinstance(item, partial):
        yield from (item.func, item.args, item.keywords)
    else:
        yield from getattr(item, "__dict__", {}).values()


@dataclass(frozen=True)
class Need:
    """What sampling with an adapter needs.

    Attributes:
        loaded: bytes of models the sampler asks the host to load besides the base model.
        weights: the picture is another one when the adapter's weights are gone.
    """

    held: Held
    loaded: int
    weights: bool

    def row(self) -> list[str]:
        """Cells under `HEADER`."""
        sizes = (self.held.weights, self.held.others, self.loaded)
        return [*map(megabytes, sizes), "yes" if self.weights else "no"]

    def checks(self, name: str) -> list[Check]:
        """The promises: no weights, in no way."""
        return [
            Check(f"{name}: bytes of weights the MODEL holds", self.held.weights, 0),
            Check(f"{name}: bytes loaded for sampling", self.loaded, 0),
            Check(f"{name}: pictures that change without weights", int(self.weights), 0),
        ]


HEADER = ["weights held", "K/V, tokens held", "loaded by host", "weights needed"]


def need(bed: Bed, model: Any, module: nn.Module) -> Need:
    """Find out for a patched MODEL and the module with its adapter's weights."""
    return Need(
        held=held_by(model),
        loaded=loaded_besides(bed, model),
        weights=differs_without_weights(bed, model, module),
    )


def loaded_besides(bed: Bed, model: Any) -> int:
    """Bytes of models that the sampler asks the host to load besides the base model."""
    asked: list[Any] = []
    load = comfy.model_management.load_models_gpu

    def spy(models: list[Any], *args: Any, **kwargs: Any) -> Any:
        asked.extend(models)
        return load(models, *args, **kwargs)

    with mock.patch.object(comfy.model_management, "load_models_gpu", spy), torch.no_grad():
        bed.sample(model, 1)
    assert any(patcher.model is bed.model.model for patcher in asked)
    declared = [*model.model_patches_models(), *model.get_nested_additional_models()]
    others = {id(p.model): p for p in asked + declared if p.model is not bed.model.model}
    return sum(int(patcher.model_size()) for patcher in others.values())


def differs_without_weights(bed: Bed, model: Any, module: nn.Module) -> bool:
    """Whether the picture changes when the adapter's weights are gone."""
    with torch.inference_mode():
        before = bed.sample(model, 2)
        with _poisoned(module):
            after = bed.sample(model, 2)
    return not torch.equal(before, after)


@contextmanager
def _poisoned(module: nn.Module) -> Iterator[None]:
    parameters = [parameter.data for parameter in module.parameters()]
    saved = [parameter.clone() for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.fill_(float("nan"))
        yield
    finally:
        for parameter, value in zip(parameters, saved, strict=True):
            parameter.copy_(value)
