"""Image prompts on a MODEL: a new MODEL each time, the old one and its patches untouched."""

from __future__ import annotations

import comfy.patcher_extension

from ....ip_models.attention.prompt import ImagePrompt
from ....ip_models.attention.stack import PromptStack
from ..protocols import AttentionPatch, Model
from . import wrappers
from .call import calls
from .layer_patch import LayerPatch, Slot
from .lora import remove_lora

_ON_CLONE = comfy.patcher_extension.CallbacksMP.ON_CLONE
_WRAPPERS = {
    comfy.patcher_extension.WrappersMP.OUTER_SAMPLE: wrappers.begin,
    comfy.patcher_extension.WrappersMP.CALC_COND_BATCH: wrappers.describe,
    comfy.patcher_extension.WrappersMP.APPLY_MODEL: wrappers.resolve,
}


def _copy_patches(original: Model, clone: Model) -> None:
    """Callback of the host's `clone`: see `LayerPatch.callbacks`."""
    slots = _slots(clone)
    for key, patch in slots.items():
        if isinstance(patch, LayerPatch):
            slots[key] = patch.copied()


def install(model: Model, *prompts: ImagePrompt) -> Model:
    """A new MODEL with more image prompts."""
    patched = model.clone()
    stack = prompts_of(model).add(*prompts)
    patched.model_options["transformer_options"][calls.KEY] = stack
    if stack.models():
        patched.set_additional_models(calls.KEY, stack.models())
    slots = _slots(patched)
    for slot in stack.slots:
        below = slots.get(slot, slots.get(slot[:2]))
        if not isinstance(below, LayerPatch):
            patched.set_model_attn2_replace(LayerPatch(tuple(slot), below), *slot)
    tables = patched.model_options["transformer_options"].setdefault("wrappers", {})
    for kind, wrapper in _WRAPPERS.items():
        tables.setdefault(kind, {})[calls.KEY] = [wrapper]
    patched.remove_callbacks_with_key(_ON_CLONE, calls.KEY)
    patched.add_callback_with_key(_ON_CLONE, calls.KEY, _copy_patches)
    return patched


def remove(model: Model) -> Model:
    """A new MODEL without any image prompt; other packs' patches stay where they were."""
    cleared = model.clone()
    remove_lora(cleared)
    options = cleared.model_options["transformer_options"]
    options.pop(calls.KEY, None)
    cleared.remove_additional_models(calls.KEY)
    for kind in _WRAPPERS:
        options.get("wrappers", {}).get(kind, {}).pop(calls.KEY, None)
    slots = _slots(cleared)
    for key, patch in list(slots.items()):
        if isinstance(patch, LayerPatch) and not patch.callbacks:
            below = patch.below
            inherited = below is not None and slots.get(key[:2]) is below
            if below is None or (len(key) == 3 and inherited):
                del slots[key]
            else:
                slots[key] = below
    if not any(isinstance(patch, LayerPatch) for patch in slots.values()):
        cleared.remove_callbacks_with_key(_ON_CLONE, calls.KEY)
    return cleared


def prompts_of(model: Model) -> PromptStack:
    """The image prompts a MODEL carries."""
    return model.model_options["transformer_options"].get(calls.KEY) or PromptStack()


def _slots(model: Model) -> dict[Slot, AttentionPatch]:
    """The MODEL's own table of attn2 patches; `clone` has copied it."""
    options = model.model_options["transformer_options"]
    return options.get("patches_replace", {}).get("attn2", {})
