"""The LoRA inside a FaceID file on a MODEL, and off it again with the adapter."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

import comfy.lora
from torch import Tensor

from ....ip_models.adapter.lora import renamed
from ....ip_models.errors import WrongBase
from ..protocols import Model
from .backbones.layers import attention_layers

KEY = "ipadapter_lora"


class _LoraPatch(Protocol):
    """What the host makes of a LoRA for one of the model's weights: up, down and more."""

    weights: Sequence[Tensor]


@dataclass(frozen=True, eq=False)
class AddedLora:
    """What was put on a MODEL, so that it can be taken off.

    Attributes:
        source: what the file is known by, though it may have been loaded anew since.
        strength: they are applied with.
        patches: what the host was given for them.
        before, after: the host's mark of the MODEL's weights without and with them.
    """

    source: Hashable
    strength: float
    patches: tuple[object, ...]
    before: UUID
    after: UUID


def patch_lora(
    model: Model,
    weights: Mapping[str, Tensor],
    strength: float,
    name: str,
    source: Hashable = None,
) -> Model:
    """A new MODEL with the LoRA of an adapter file, which `source` stands for.

    A file's LoRA is on a MODEL once, however often its adapter is applied, with the greatest
    strength that was asked for.

    Raises:
        BrokenFile: the LoRA is not whole.
        WrongBase: the LoRA is not for this MODEL.
    """
    patched = model.clone()
    if not weights or strength == 0:
        return patched
    source = source or id(weights)
    known = next((one for one in _added(patched) if one.source == source), None)
    if known is not None:
        if abs(known.strength) >= abs(strength):
            return patched
        _take_off(patched, (known,))
    layers = [layer.address for layer in attention_layers(model)]
    named = renamed(weights, layers, name)
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    patches = comfy.lora.load_lora(named, keys, log_missing=False)
    _require_fit(patched, patches, len(named) // 2, name)
    before = patched.patches_uuid
    patched.add_patches(patches, strength)
    added = AddedLora(source, strength, tuple(patches.values()), before, patched.patches_uuid)
    patched.model_options["transformer_options"][KEY] = (*_added(patched), added)
    return patched


def remove_lora(model: Model) -> None:
    """Take the LoRAs of all adapters off a MODEL of one's own, a fresh clone."""
    _take_off(model, _added(model))


def _added(model: Model) -> tuple[AddedLora, ...]:
    return tuple(model.model_options["transformer_options"].get(KEY, ()))


def _take_off(model: Model, these: tuple[AddedLora, ...]) -> None:
    if not these:
        return
    ours = {id(patch) for one in these for patch in one.patches}
    left = {
        key: [entry for entry in entries if id(entry[1]) not in ours]
        for key, entries in model.patches.items()
    }
    model.patches = {key: entries for key, entries in left.items() if entries}
    model.patches_uuid = _mark_without(model.patches_uuid, these)
    rest = tuple(one for one in _added(model) if one not in these)
    if rest:
        model.model_options["transformer_options"][KEY] = rest
    else:
        model.model_options["transformer_options"].pop(KEY, None)


def _mark_without(mark: UUID, these: tuple[AddedLora, ...]) -> UUID:
    """The mark of the weights that are left.

    It is the old one where these LoRAs were put on last, so that the host sees that the weights
    it holds are the right ones.
    """
    for one in reversed(these):
        if one.after != mark:
            return uuid4()
        mark = one.before
    return mark


def _require_fit(model: Model, patches: Mapping[str, _LoraPatch], maps: int, name: str) -> None:
    """Refuse a LoRA whose maps are not those of the MODEL's own weights."""
    shapes = {key: tuple(value.shape) for key, value in model.model.state_dict().items()}
    fitting = 0
    for key, patch in patches.items():
        up, down = patch.weights[0], patch.weights[1]
        fitting += shapes.get(key, ())[:2] == (up.shape[0], down.shape[1])
    if fitting != maps:
        raise WrongBase(
            f"the LoRA in {name} fits {fitting} of {maps} attention maps of this MODEL",
            "the MODEL the adapter was trained for is needed",
            "Set face_lora_strength to 0, or load another checkpoint",
        )
