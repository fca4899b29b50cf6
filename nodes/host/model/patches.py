"""Image prompts on a MODEL: a new MODEL each time, the old one and its patches untouched."""

from __future__ import annotations

import comfy.patcher_extension

from ....ip_models.attention.prompt import ImagePrompt
from ....ip_models.attention.stack import PromptStack
from ..protocols import Model
from . import wrappers
from .backbones.layers import BACKBONES, backbone_of
from .call import calls
from .lora import remove_lora

_WRAPPERS = {
    comfy.patcher_extension.WrappersMP.OUTER_SAMPLE: wrappers.begin,
    comfy.patcher_extension.WrappersMP.CALC_COND_BATCH: wrappers.describe,
    comfy.patcher_extension.WrappersMP.APPLY_MODEL: wrappers.resolve,
}


def install(model: Model, *prompts: ImagePrompt) -> Model:
    """A new MODEL with more image prompts."""
    patched = model.clone()
    stack, backbone = prompts_of(model).add(*prompts), backbone_of(model)
    backbone.hook(patched, stack.slots)
    options = patched.model_options["transformer_options"]
    options[calls.KEY], options[wrappers.BACKBONE] = stack, backbone
    for kind, wrapper in _WRAPPERS.items():
        options.setdefault("wrappers", {}).setdefault(kind, {})[calls.KEY] = [wrapper]
    if stack.models():
        patched.set_additional_models(calls.KEY, stack.models())
    return patched


def remove(model: Model) -> Model:
    """A new MODEL without any image prompt; other packs' patches stay where they were."""
    cleared = model.clone()
    remove_lora(cleared)
    options = cleared.model_options["transformer_options"]
    options.pop(calls.KEY, None)
    options.pop(wrappers.BACKBONE, None)
    for kind in _WRAPPERS:
        options.get("wrappers", {}).get(kind, {}).pop(calls.KEY, None)
    cleared.remove_additional_models(calls.KEY)
    for backbone in BACKBONES:
        backbone.unhook(cleared)
    return cleared


def prompts_of(model: Model) -> PromptStack:
    """The image prompts a MODEL carries."""
    return model.model_options["transformer_options"].get(calls.KEY) or PromptStack()
