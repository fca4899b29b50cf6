"""Image prompts on a MODEL: a new MODEL each time, the old one and its patches untouched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import comfy.ldm.modules.attention as host_attention
import comfy.patcher_extension
import torch
from comfy.ldm.modules.attention import attention_pytorch, optimized_attention
from torch import Tensor

from ....ip_models.attention.attend import add_image_attention
from ....ip_models.attention.prompt import ActivePrompts, ImagePrompt, PromptStack
from ....ip_models.unet.address import LayerAddress
from ..protocols import AttentionPatch, Model, TransformerOptions
from . import wrappers
from .lora import remove_lora

_ON_CLONE = comfy.patcher_extension.CallbacksMP.ON_CLONE
_WRAPPERS = {
    comfy.patcher_extension.WrappersMP.OUTER_SAMPLE: wrappers.begin,
    comfy.patcher_extension.WrappersMP.CALC_COND_BATCH: wrappers.describe,
    comfy.patcher_extension.WrappersMP.APPLY_MODEL: wrappers.resolve,
}
# Kernels that do not know `low_precision_attention`, as of 0.33.
_QUANTISED_KERNELS = ("attention_comfy_kitchen_int8", "attention3_sage")
Slot = tuple[str | int, ...]  # block and number, and mostly the layer
AddedCallback = tuple[Callable[..., Tensor], Mapping[str, Any]]
Function = TypeVar("Function", bound=Callable[..., Tensor])


def _not_compiled(function: Function) -> Function:
    return cast("Function", torch.compiler.disable(function))  # which has no types


@dataclass(frozen=True, eq=False)
class LayerPatch:
    """The attn2 patch of one layer: whatever owned the slot, plus the image prompts of the MODEL.

    The prompts are not held here but in the MODEL's own options, so that a patch another pack has
    wrapped adds exactly the prompts of the MODEL it runs in.

    Attributes:
        below: the patch that owned the slot, None for the layer's own attention.
        callbacks: what packs that know only their own kind of patch have put here with `add`. Each
            clone of a MODEL has patches of its own, so that what is added to one stays there.
    """

    address: LayerAddress
    below: AttentionPatch | None
    callbacks: list[AddedCallback] = field(default_factory=list[AddedCallback])

    @_not_compiled
    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra: TransformerOptions) -> Tensor:
        """Cross-attention of the layer before its output projection."""
        text = self._text(q, k, v, extra)
        for callback, options in self.callbacks:
            if _in_sigma_range(options, extra):
                text = text + callback(text, q, k, v, extra, **options).to(text.dtype)
        active = extra.get(wrappers.KEY)
        if isinstance(active, PromptStack):  # the model was called around the host's wrappers
            active = wrappers.active_prompts(active, extra, extra.get("sigmas"), len(q))
        if not isinstance(active, ActivePrompts):
            return text
        precision = extra.get("attn_precision")

        def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
            # Users report damaged pictures with quantised kernels (cubiq's pack, #794 and #827).
            return _unquantised_attention()(
                q, k, v, heads, attn_precision=precision, low_precision_attention=False
            )

        shape = extra.get("activations_shape")
        grid = (int(shape[-2]), int(shape[-1])) if shape else None
        return add_image_attention(text, q, extra["n_heads"], self.address, grid, active, attention)

    def add(self, callback: Callable[..., Tensor], **options: Any) -> None:
        """Take a callback as the patches of ComfyUI_IPAdapter_plus, InstantID and PuLID do.

        Args:
            callback: called as callback(text, q, k, v, extra, **options); what it returns is added
                to the text attention while `sigma_start` and `sigma_end` of the options allow.
        """
        self.callbacks.append((callback, options))

    def _text(self, q: Tensor, k: Tensor, v: Tensor, extra: TransformerOptions) -> Tensor:
        # A patch set later for all layers of the block has no slot that the host would look at.
        below = self.below or wrappers.patch_of_block(extra, self.address)
        if below is not None:
            # Ours may sit further down too, under another pack's; the outermost one adds them.
            return below(q, k, v, wrappers.without_image_prompts(extra))
        return optimized_attention(
            q,
            k,
            v,
            extra["n_heads"],
            attn_precision=extra.get("attn_precision"),
            transformer_options=extra,
        )

    def to(self, device_or_dtype: torch.device | torch.dtype) -> LayerPatch:
        """Passed on; what is ours moves when it is used."""
        move = getattr(self.below, "to", None)
        below = self.below if move is None else move(device_or_dtype)
        return self if below is self.below else dataclasses.replace(self, below=below)

    def models(self) -> list[object]:
        """Side models of the patch below; ours needs none while sampling."""
        models = getattr(self.below, "models", None)
        return [] if models is None else models()

    def cleanup(self) -> None:
        """Passed on; the prompts are released by their stack."""
        cleanup = getattr(self.below, "cleanup", None)
        if cleanup is not None:
            cleanup()


def _unquantised_attention() -> Callable[..., Tensor]:
    """The host's attention, unless it is one of those that quantise whatever they are asked."""
    quantised = (getattr(host_attention, name, None) for name in _QUANTISED_KERNELS)
    return attention_pytorch if optimized_attention in tuple(quantised) else optimized_attention


def _in_sigma_range(options: Mapping[str, Any], extra: TransformerOptions) -> bool:
    """Whether a callback is to run at the noise level of this call."""
    if "sigma_start" not in options or "sigmas" not in extra:
        return True
    sigma = float(extra["sigmas"].max())
    return options.get("sigma_end", 0.0) <= sigma <= options["sigma_start"]


def _copy_patches(original: Model, clone: Model) -> None:
    """Callback of the host's `clone`: see `LayerPatch.callbacks`."""
    slots = _slots(clone)
    for key, patch in slots.items():
        if isinstance(patch, LayerPatch):
            slots[key] = dataclasses.replace(patch, callbacks=list(patch.callbacks))


def install(model: Model, *prompts: ImagePrompt) -> Model:
    """A new MODEL with more image prompts."""
    patched = model.clone()
    _set_stack(patched, prompts_of(model).add(*prompts))
    slots = _slots(patched)
    for slot in {slot: None for prompt in prompts for slot in prompt.positions}:
        address = cast("LayerAddress", slot)
        below = slots.get(tuple(address), slots.get((address.block, address.number)))
        if not isinstance(below, LayerPatch):
            patched.set_model_attn2_replace(LayerPatch(address, below), *address)
    tables = patched.model_options["transformer_options"].setdefault("wrappers", {})
    for kind, wrapper in _WRAPPERS.items():
        tables.setdefault(kind, {})[wrappers.KEY] = [wrapper]
    patched.remove_callbacks_with_key(_ON_CLONE, wrappers.KEY)
    patched.add_callback_with_key(_ON_CLONE, wrappers.KEY, _copy_patches)
    return patched


def remove(model: Model) -> Model:
    """A new MODEL without any image prompt; other packs' patches stay where they were."""
    cleared = model.clone()
    remove_lora(cleared)
    options = cleared.model_options["transformer_options"]
    options.pop(wrappers.KEY, None)
    options.get("patches", {}).pop(wrappers.KEY, None)
    for kind in _WRAPPERS:
        options.get("wrappers", {}).get(kind, {}).pop(wrappers.KEY, None)
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
        cleared.remove_callbacks_with_key(_ON_CLONE, wrappers.KEY)
    return cleared


def prompts_of(model: Model) -> PromptStack:
    """The image prompts a MODEL carries."""
    return model.model_options["transformer_options"].get(wrappers.KEY) or PromptStack()


def _set_stack(model: Model, stack: PromptStack) -> None:
    options = model.model_options["transformer_options"]
    options[wrappers.KEY] = stack
    # Here the host looks for objects to clean up after sampling.
    options.setdefault("patches", {})[wrappers.KEY] = [stack]


def _slots(model: Model) -> dict[Slot, AttentionPatch]:
    """The MODEL's own table of attn2 patches; `clone` has copied it."""
    options = model.model_options["transformer_options"]
    return options.get("patches_replace", {}).get("attn2", {})
