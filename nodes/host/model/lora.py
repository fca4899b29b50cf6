"""The LoRA inside a FaceID file on a MODEL, and off it again with the adapter."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

import comfy.lora
import comfy.sd
from torch import Tensor

from ....ip_models.adapter.lora import renamed, require_fit
from ....ip_models.attention.shared import Shared
from ..files import checkpoint
from ..files.contents import leaves
from ..protocols import Model
from .backbones.layers import backbone_of

KEY = "ipadapter_lora"


@dataclass(frozen=True, eq=False)
class AddedLora(Shared):
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


def add_lora(
    model: Model,
    weights: Mapping[str, Tensor],
    strength: float,
    name: str,
    source: Hashable = None,
) -> None:
    """Put the LoRA of an adapter file, which `source` stands for, on a MODEL of one's own.

    A file's LoRA is on a MODEL once, however often its adapter is applied, with the greatest
    strength that was asked for.

    Raises:
        BrokenFile: the LoRA is not whole.
        WrongBase: the LoRA is not for this MODEL.
    """
    if not weights or strength == 0:
        return
    source = source or id(weights)
    known = next((one for one in _added(model) if one.source == source), None)
    if known is not None:
        if abs(known.strength) >= abs(strength):
            return
        _take_off(model, (known,))
    backbone = backbone_of(model)
    layers = backbone.layers(model)
    named = renamed(weights, backbone.processor_names(layers), name)
    require_fit(weights, layers, name)
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    patches = comfy.lora.load_lora(named, keys, log_missing=False)
    before = model.patches_uuid
    _add(model, patches, strength)
    added = AddedLora(source, strength, tuple(patches.values()), before, model.patches_uuid)
    model.model_options["transformer_options"][KEY] = (*_added(model), added)


def read_lora(path: str) -> Mapping[str, Tensor]:
    """The tensors of a LoRA file, for `with_lora`.

    Raises:
        BrokenFile: the file is damaged, or holds anything but tensors.
    """
    held = leaves(checkpoint.read_tensors(path))
    return {name: value for name, value in held if isinstance(value, Tensor)}


def with_lora(model: Model, tensors: Mapping[str, Tensor], strength: float) -> Model:
    """A clone of a MODEL with a LoRA that is a file of its own, as the host puts it on."""
    return comfy.sd.load_lora_for_models(model, None, tensors, strength, 0)[0]


def remove_lora(model: Model) -> None:
    """Take the LoRAs of all adapters off a MODEL of one's own, a fresh clone."""
    _take_off(model, _added(model))


def _add(model: Model, patches: Mapping[str, object], strength: float) -> None:
    """Add patches for weights of the MODEL, also for those that are out of sight at present.

    The host looks in the network, where another branch may have wrapped what they belong to.
    """
    taken = set(model.add_patches(patches, strength))
    for key in patches.keys() - taken:
        model.patches.setdefault(key, []).append((strength, patches[key], 1.0, None, None))


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
