"""Runs a case with the classes of one pack."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import comfy.sample
import comfy.samplers
import torch
from kit.models import tiny
from plus.comparison import rig
from plus.comparison.data import Case, Out, Picture, Prompt
from torch import Tensor

_VARIOUS = inspect.Parameter.VAR_KEYWORD
# So little noise that what the steps add is not lost in it; a random UNet takes none away.
_STEPS, _GUIDANCE, _NOISE = 3, 4.0, 0.05


@dataclass
class Result:
    """What came of a case.

    Attributes:
        output: the UNet's, or the latent of a run.
        others: tensors that the node gives besides the MODEL, None where it gives None.
        length: how many values the method returns.
    """

    output: Tensor
    others: list[Tensor | None]
    length: int


def run(case: Case, classes: Mapping[str, Any]) -> Result:
    """A case with the classes of one pack, under the names that ours have."""
    given = called(case, classes)
    model, *others = given
    tensors = [one if isinstance(one, Tensor) else None for one in others]
    return Result(ended(case, model, classes), tensors, len(given))


def called(case: Case, classes: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the method of the last node returns."""
    return _call(case, case.id, {**case.settings, **case.links}, classes)


def plain(case: Case, classes: Mapping[str, Any]) -> Tensor:
    """The same without any adapter."""
    return ended(case, rig.twin(case.family).model, classes)


def arguments(case: Case, node: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """All that the host would pass: what is given, else defaults, else what sockets need."""
    made: dict[str, Any] = {}
    for group, inputs in node.INPUT_TYPES().items():
        for name, (kind, *rest) in inputs.items():
            if name in given:
                made[name] = given[name]
                continue
            options = rest[0] if rest else {}
            if isinstance(kind, list):
                made[name] = options.get("default", kind[0])
            elif "default" in options:
                made[name] = options["default"]
            elif (linked := _socket(case, kind, group == "required")) is not None:
                made[name] = linked
    return made


def _socket(case: Case, kind: str, required: bool) -> Any:
    family, adapter = case.family, case.adapter
    if kind == "MODEL":
        return rig.twin(family).model.clone()
    if kind == "IPADAPTER":
        return (rig.pipeline if case.pipeline else rig.adapter)(adapter, family)
    if kind == "CLIP_VISION" and (required or not case.pipeline):
        return rig.encoder(family)
    if kind == "INSIGHTFACE" and (required or not case.pipeline):
        return rig.Faces()
    return Picture() if kind == "IMAGE" and required else None


def _call(case: Case, name: str, given: Mapping[str, Any], classes: Any) -> tuple[Any, ...]:
    node = classes[name]()
    return getattr(node, node.FUNCTION)(**_values(case, node, given, classes))


def _values(case: Case, node: Any, given: Mapping[str, Any], classes: Any) -> dict[str, Any]:
    return {
        key: _linked(case, value, classes)
        for key, value in arguments(case, node, given).items()
        if value is not None
    }


def _linked(case: Case, value: Any, classes: Any) -> Any:
    if not isinstance(value, Out):
        return rig.value(value, case.family)
    return _call(case, value.id, {**value.settings, **value.links}, classes)[value.index]


def ended(case: Case, model: Any, classes: Any) -> Tensor:
    """The output of a MODEL, as the case ends."""
    if case.ending == "sampler":
        return _sampled(case, model, classes)
    options = {}
    batch = case.batch
    if case.ending == "three":
        # Twice the rows are three prompts' of two thirds of them.
        options = {"cond_or_uncond": [1, 0, 0]}
    return tiny.run_patched(model, call(case.family, batch, *case.latent), **options)


@cache
def call(family: str, batch: int, height: int, width: int) -> tiny.Call:
    """The inputs of one call of the UNet."""
    return tiny.make_call(rig.twin(family), batch, height, width)


def _sampled(case: Case, model: Any, classes: Any) -> Tensor:
    """A short run with a prompt for each side, or those that the case's nodes gave."""
    positive, negative = _prompts(case, classes)
    sigmas = comfy.samplers.calculate_sigmas(
        model.get_model_object("model_sampling"), "normal", _STEPS
    )
    noise = call(case.family, case.batch, *case.latent).x[: case.batch].float() * _NOISE
    return sampled(model, noise, _GUIDANCE, sigmas, positive, negative)


def sampled(
    model: Any, noise: Tensor, guidance: float, sigmas: Tensor, positive: Any, negative: Any
) -> Tensor:
    """A run of the host's sampler over these noise levels."""
    return comfy.sample.sample_custom(
        model,
        noise,
        guidance,
        comfy.samplers.sampler_object("euler"),
        sigmas,
        positive,
        negative,
        torch.zeros_like(noise),
        disable_pbar=True,
        seed=1,
    )


def _prompts(case: Case, classes: Any) -> tuple[list[Any], list[Any]]:
    """The prompts of all regions together, or one of each."""
    regions = [out for out in _outs(case.links) if out.id == "IPAdapterRegionalConditioning"]
    sides: tuple[list[Any], list[Any]] = [], []
    for out in regions:
        given = _call(case, out.id, {**out.settings, **out.links}, classes)
        for side, made in zip(sides, given[1:], strict=True):
            side.extend(made or [])
    usual = Prompt(11), Prompt(12)
    return tuple(  # pyright: ignore[reportReturnType]
        side or rig.prompt(one, case.family) for side, one in zip(sides, usual, strict=True)
    )


def _outs(links: Mapping[str, Any]) -> list[Out]:
    found: list[Out] = []
    for value in links.values():
        if isinstance(value, Out):
            found += [value, *_outs(value.links)]
    return found


def called_otherwise(case: Case, classes: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The same by position, as some packs do, and with an argument that no node knows."""
    node = classes[case.id]()
    values = _values(case, node, {**case.settings, **case.links}, classes)
    method = getattr(node, node.FUNCTION)
    named = [
        one for one in inspect.signature(method).parameters.values() if one.kind is not _VARIOUS
    ]
    in_order = [values.get(one.name, one.default) for one in named]
    return [method(*in_order), method(**values, of_another_version=1)]
