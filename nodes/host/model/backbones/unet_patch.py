"""The patch in the slot of a UNet's layer: the attention that is there, and the image prompts.

A slot is a key of the host's `patches_replace["attn2"]`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import comfy.patcher_extension
import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from .....ip_models.attention.attend import add_image_attention
from .....ip_models.attention.masks import Grid
from .....ip_models.attention.shared import Shared
from .....ip_models.attention.stack import ActivePrompts, PromptStack
from .....ip_models.errors import WrongBatch
from .....ip_models.unet.address import LayerAddress
from ...protocols import AttentionPatch, Model, TransformerOptions
from ..call import calls, rows
from .kernel import compiler, unquantised_attention

_ON_CLONE = comfy.patcher_extension.CallbacksMP.ON_CLONE
_SLOTS = "ipadapter_slots"
_HEARD = "ipadapter_heard"
_NO_SLOTS: Mapping[Slot, AttentionPatch] = {}
Slot = tuple[str | int, ...]  # block and number, and mostly the layer
AddedCallback = tuple[Callable[..., Tensor], Mapping[str, Any]]


class _Heard(Shared):
    """Whose image prompts were added below a patch that was put around; one for all copies."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []


@dataclass(frozen=True, eq=False)
class LayerPatch:
    """The attn2 patch of one layer: whatever owned the slot, plus the image prompts of the MODEL.

    The prompts are not held here but in the options of each call, so that a patch another pack has
    copied or wrapped adds exactly the prompts of the MODEL it runs in.

    Attributes:
        slot: key of the layer.
        below: the patch that owned the slot, None for the layer's own attention.
        callbacks: what packs that know only their own kind of patch have put here with `add`. Each
            clone of a MODEL has patches of its own, so that what is added to one stays there.
        retaken: it was put around a patch that another node has set after the references were
            applied, which may have kept ours and call it.
    """

    slot: Slot
    below: AttentionPatch | None
    callbacks: list[AddedCallback] = field(default_factory=list[AddedCallback])
    retaken: bool = False

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra: TransformerOptions) -> Tensor:
        """Cross-attention of the layer before its output projection."""
        # Held off from torch.compile, by a wrapper that costs as much as all the rest of a layer.
        if compiler() is not None:
            return _not_compiled(self, q, k, v, extra)
        return self.attend(q, k, v, extra)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, extra: TransformerOptions) -> Tensor:
        """The same, run by Python."""
        active = extra.get(calls.KEY)
        if self.retaken and active is not None and self.below is not None:
            heard = extra[_HEARD] = _Heard()
            text = self.below(q, k, v, extra)
            extra.pop(_HEARD, None)
            if heard.slots:  # ours is called below: what stands around it is meant for both
                return text
        else:
            text = self._text(q, k, v, extra)
        for callback, options in self.callbacks:
            if _in_sigma_range(options, extra, active):
                text = text + callback(text, q, k, v, extra, **options).to(text.dtype)
        return text if active is None else self.with_images(text, q, active, extra)

    def with_images(
        self,
        text: Tensor,
        q: Tensor,
        active: PromptStack | ActivePrompts,
        extra: TransformerOptions,
    ) -> Tensor:
        """What a layer has worked out, plus the image attention of its query.

        Args:
            extra: the layer's options.
        """
        if isinstance(active, PromptStack):  # the model was called around the host's wrappers
            active = calls.active_in_layer(active, extra, q.shape[0])
        told = extra.get(_HEARD)
        if q.shape[0] != active.batch or extra.get("cond_or_uncond") != active.places:
            try:
                active = rows.of_layer(active, q.shape[0], extra, self.name, told is None)
            except WrongBatch:
                if told is None:
                    raise
                return text  # a part of the batch; the patch around adds them to all of it
        if told is not None:
            told.slots.append(self.slot)
        entries = active.table(q.device, q.dtype).get(self.slot)
        if entries is None:
            return text
        # Users report damaged pictures with quantised kernels (cubiq's pack, #794 and #827).
        attention = partial(
            unquantised_attention(),
            attn_precision=extra.get("attn_precision"),
            low_precision_attention=False,
        )
        grid = self._grid(q, extra) if active.masked else None
        heads, record = extra["n_heads"], active.layer_record(self.slot, q.shape[0])
        if record is None:
            return add_image_attention(text, q, heads, entries, grid, attention)
        record.begin(text)
        out = add_image_attention(text, q, heads, entries, grid, record.listening(attention))
        record.end(entries, _shape(extra), q)
        return out

    def add(self, callback: Callable[..., Tensor], **options: Any) -> None:
        """Take a callback as the patches of ComfyUI_IPAdapter_plus, InstantID and PuLID do.

        Args:
            callback: called as callback(text, q, k, v, extra, **options); what it returns is added
                to the text attention while `sigma_start` and `sigma_end` of the options allow.
        """
        self.callbacks.append((callback, options))

    @property
    def name(self) -> str:
        """What to call the layer in messages."""
        return "layer " + " ".join(str(part) for part in self.slot)

    def _grid(self, q: Tensor, extra: TransformerOptions) -> Grid:
        """The grid that the queries of this layer stand on."""
        grid = _shape(extra)
        if grid[0] * grid[1] != q.shape[1]:
            raise rows.no_grid(self.name, q.shape[1], grid[:2])
        return grid

    def _text(self, q: Tensor, k: Tensor, v: Tensor, extra: TransformerOptions) -> Tensor:
        # A patch set later for all layers of the block has no slot that the host would look at.
        below = self.below or extra.get(_SLOTS, _NO_SLOTS).get(self.slot[:2])
        if below is not None:
            # Ours may sit further down too, under another pack's; the outermost one adds them.
            hidden = {key: extra.pop(key) for key in (calls.KEY, _SLOTS) if key in extra}
            try:
                return below(q, k, v, extra)
            finally:
                extra.update(hidden)
        if k.shape[0] != q.shape[0]:
            raise rows.other_keys(self.name, q.shape[0], k.shape[0])
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
        """Side models of the patch below; ours are known to the MODEL."""
        models = getattr(self.below, "models", None)
        return [] if models is None else models()

    def cleanup(self) -> None:
        """Passed on; the prompts are released by their stack."""
        cleanup = getattr(self.below, "cleanup", None)
        if cleanup is not None:
            cleanup()

    def copied(self) -> LayerPatch:
        """One to which callbacks can be added by themselves."""
        return dataclasses.replace(self, callbacks=list(self.callbacks))

    def __deepcopy__(self, memo: dict[int, Any]) -> LayerPatch:
        return dataclasses.replace(self.copied(), below=copy.deepcopy(self.below, memo))


def hook(model: Model, slots: Iterable[Hashable]) -> None:
    """Put a patch into each slot of a MODEL of one's own, around what is there."""
    taken = _slots(model)
    for slot in cast("Iterable[LayerAddress]", slots):
        below = taken.get(tuple(slot), taken.get(slot[:2]))
        if not isinstance(below, LayerPatch):
            model.set_model_attn2_replace(LayerPatch(tuple(slot), below), *slot)
    model.remove_callbacks_with_key(_ON_CLONE, calls.KEY)
    model.add_callback_with_key(_ON_CLONE, calls.KEY, _copy_patches)


def unhook(model: Model) -> None:
    """Take them off a MODEL of one's own; other packs' patches stay where they were."""
    slots = _slots(model)
    for key, patch in list(slots.items()):
        if isinstance(patch, LayerPatch) and not patch.callbacks:
            below = patch.below
            inherited = below is not None and slots.get(key[:2]) is below
            if below is None or (len(key) == 3 and inherited):
                del slots[key]
            else:
                slots[key] = below
    if not any(isinstance(patch, LayerPatch) for patch in slots.values()):
        model.remove_callbacks_with_key(_ON_CLONE, calls.KEY)


def hook_call(options: TransformerOptions, slots: Iterable[Hashable]) -> TransformerOptions:
    """Options of a call in which the image prompts have the slot of each of their layers.

    Another node may have set, wrapped or dropped a slot after they were applied. Each slot is then
    taken again around what stands there now.
    """
    replaced = options.get("patches_replace", {})
    taken = replaced.get("attn2", {})
    lost = [slot for slot in slots if not isinstance(taken.get(slot), LayerPatch)]
    if lost:
        taken = {**taken, **{slot: _retaken(slot, taken) for slot in lost}}
        options = {**options, "patches_replace": {**replaced, "attn2": taken}}
    return {**options, _SLOTS: taken}


def free_slots(
    options: TransformerOptions, slots: Iterable[Slot]
) -> tuple[TransformerOptions, list[LayerPatch]]:
    """Options without those of these slots that hold nothing but ours, and what was in them."""
    replaced = options["patches_replace"]
    taken = dict(replaced["attn2"])
    free = [
        taken.pop(slot)
        for slot in slots
        if isinstance(patch := taken.get(slot), LayerPatch)
        and not (patch.below or patch.callbacks or taken.get(slot[:2]))
    ]
    return {**options, "patches_replace": {**replaced, "attn2": taken}}, free


def _slots(model: Model) -> dict[Slot, AttentionPatch]:
    """The MODEL's own table of attn2 patches; `clone` has copied it."""
    options = model.model_options["transformer_options"]
    return options.get("patches_replace", {}).get("attn2", {})


def _copy_patches(original: Model, clone: Model) -> None:
    """Callback of the host's `clone`: see `LayerPatch.callbacks`."""
    slots = _slots(clone)
    for key, patch in slots.items():
        if isinstance(patch, LayerPatch):
            slots[key] = patch.copied()


_not_compiled = cast("Callable[..., Tensor]", torch.compiler.disable(LayerPatch.attend))


def _retaken(slot: Hashable, taken: Mapping[Hashable, AttentionPatch]) -> LayerPatch:
    return LayerPatch(tuple(cast("LayerAddress", slot)), taken.get(slot), retaken=True)


def _shape(extra: TransformerOptions) -> Grid:
    """The grid of a layer as the host tells it, of no size where it does not."""
    height, width = (extra.get("activations_shape") or (0, 0))[-2:]
    latent = extra.get("original_shape")
    return int(height), int(width), None if latent is None else tuple(latent[-2:])


def _in_sigma_range(options: Mapping[str, Any], extra: TransformerOptions, active: object) -> bool:
    """Whether a callback is to run at the noise level of this call."""
    if "sigma_start" not in options or "sigmas" not in extra:
        return True
    sigmas = cast("Tensor", extra["sigmas"])
    known = isinstance(active, ActivePrompts)
    sigma = active.noise_level(sigmas) if known else float(sigmas.max())
    return options.get("sigma_end", 0.0) <= sigma <= options["sigma_start"]
