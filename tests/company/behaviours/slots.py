"""Slots that others take, MODELs that others copy, call in their own way, or run in windows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.ldm.modules.diffusionmodules.openaimodel import (
    forward_timestep_embed,
    timestep_embedding,
)
from company.behaviours.rows import WAYS
from company.pilot import behaviour
from company.scene import Company, Scene, Way
from pack.nodes.host.model.backbones.layers import attention_layers
from torch import Tensor

SLOTS = (Way(4.0), Way(1.0))


def _foreign(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
    return 0.9 * optimized_attention(q, k, v, extra["n_heads"])


def _taken(whole_blocks: bool, chained: bool = False) -> Callable[[Any], Any]:
    def patch(model: Any) -> Any:
        model = model.clone()
        options = model.model_options["transformer_options"]
        for layer in attention_layers(model):
            place = layer.slot[:2] if whole_blocks else layer.slot
            slots = options.get("patches_replace", {}).get("attn2", {})
            below = slots.get(tuple(place)) if chained else None
            model.set_model_attn2_replace(_around(below) if chained else _foreign, *place)
            options = model.model_options["transformer_options"]
        return model

    return patch


def _around(below: Any) -> Any:
    def guided(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
        out = _foreign(q, k, v, extra) if below is None else below(q, k, v, extra)
        return out + 0.1 * out.mean(1, keepdim=True)

    return guided


@behaviour("slots of layers taken")
def _layers_taken(scene: Scene) -> Company:
    """densediffusion, PLADIS."""
    return Company(_taken(whole_blocks=False), ways=WAYS)


@behaviour("slots of whole blocks taken")
def _blocks_taken(scene: Scene) -> Company:
    """AutomaticCFG."""
    return Company(_taken(whole_blocks=True), ways=WAYS)


@behaviour("slots taken around what stood there")
def _chained(scene: Scene) -> Company:
    """NAG of sd-perturbed-attention: it guides what was there before, so the order counts."""
    return Company(_taken(whole_blocks=False, chained=True), on_top=True, ways=SLOTS)


@behaviour("blocks called around the host's wrappers, slots taken")
def _around_wrappers(scene: Scene) -> Company:
    """DeepCache, without its cache, beside a node that takes the slots."""

    def patch(model: Any) -> Any:
        model = _taken(whole_blocks=False)(model)
        base, unet = model.model, model.model.diffusion_model

        def wrapper(call: Any, given: dict[str, Any]) -> Tensor:
            sigma, named = given["timestep"], given["c"]
            options, text = named["transformer_options"], named["c_crossattn"]
            x = base.model_sampling.calculate_input(sigma, given["input"])
            time = base.model_sampling.timestep(sigma).float()
            emb = unet.time_embed(timestep_embedding(time, unet.model_channels))
            options["original_shape"], kept, h = list(x.shape), [], x
            for i, block in enumerate(unet.input_blocks):
                options["block"] = ("input", i)
                h = forward_timestep_embed(block, h, emb, text, options)
                kept.append(h)
            options["block"] = ("middle", 0)
            h = forward_timestep_embed(unet.middle_block, h, emb, text, options)
            for i, block in enumerate(unet.output_blocks):
                options["block"] = ("output", i)
                h = torch.cat([h, kept.pop()], dim=1)
                shape = kept[-1].shape if kept else None
                h = forward_timestep_embed(block, h, emb, text, options, shape)
            return base.model_sampling.calculate_denoised(sigma, unet.out(h), given["input"])

        model.set_model_unet_function_wrapper(wrapper)
        return model

    return Company(patch, ways=WAYS)


@behaviour("patches that are asked to take one more")
def _added(scene: Scene) -> Company:
    """InstantID, PuLID, IPAdapter_plus: `add` on whatever stands in the slot."""

    def term(out: Tensor, q: Tensor, k: Tensor, v: Tensor, extra: Any, **options: Any) -> Tensor:
        return 0.1 * out.mean(1, keepdim=True).expand_as(out)

    class Stack:
        def __init__(self) -> None:
            self.terms: list[Any] = []

        def add(self, call: Any, **options: Any) -> None:
            self.terms.append(call)

        def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
            out = optimized_attention(q, k, v, extra["n_heads"])
            return out + sum(call(out, q, k, v, extra) for call in self.terms)

    def patch(model: Any) -> Any:
        model = model.clone()
        for layer in attention_layers(model):
            slots = model.model_options["transformer_options"].get("patches_replace", {})
            if tuple(layer.slot) not in slots.get("attn2", {}):
                model.set_model_attn2_replace(Stack(), *layer.slot)
            slots = model.model_options["transformer_options"]["patches_replace"]
            slots["attn2"][tuple(layer.slot)].add(term, sigma_start=1e9, sigma_end=0.0)
        return model

    return Company(patch, ways=WAYS)


# Copies, windows, modules


@behaviour("options copied in depth")
def _copied(scene: Scene) -> Company:
    """AutomaticCFG, WaveSpeed, AnimateDiff-Evolved's Unload, Spectrum."""

    def patch(model: Any) -> Any:
        model = model.clone()
        model.model_options = copy.deepcopy(model.model_options)
        return model

    return Company(patch, ways=WAYS)


@behaviour("keys and values that are every other token")
def _every_other(scene: Scene) -> Company:
    """NegPip."""

    def patch(model: Any) -> Any:
        model = model.clone()
        model.set_model_attn2_patch(lambda q, k, v, extra: (q, k[:, 0::2], v[:, 1::2]))
        return model

    return Company(patch, ways=WAYS)


@behaviour("windows of a video, told in ad_params", (5, 8, 8))
def _windows(scene: Scene) -> Company:
    """AnimateDiff-Evolved: a CALC_COND_BATCH wrapper runs some of the frames at a time."""
    now: list[int] = []

    def sliding(call: Any, model: Any, conds: Any, x: Tensor, t: Tensor, options: Any) -> Any:
        outs = [torch.zeros_like(x) for _ in conds]
        inner = options["transformer_options"]
        for window in ([0, 1, 2], [4, 3]):
            now[:] = window
            inner["ad_params"] = {"sub_idxs": window, "full_length": len(x)}
            parts = call(model, conds, x[window], t[window], options)
            for out, part in zip(outs, parts, strict=True):
                out[window] = part
        return outs

    def patch(model: Any) -> Any:
        model = model.clone()
        model.add_wrapper_with_key("calc_cond_batch", "ADE", sliding)
        return model

    return Company(patch, frames=lambda: now, ways=WAYS)


@behaviour("attention modules replaced in another branch")
def _another_branch(scene: Scene) -> Company:
    """layerdiffuse: what another branch put into the UNet for its run is none of ours."""

    class Replaced(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = [inner]

        def forward(self, *given: Any, **named: Any) -> Tensor:
            return self.inner[0](*given, **named)

    def patch(model: Any) -> Any:
        branch = scene.model.clone()
        for name, _ in scene.model.model.diffusion_model.named_modules():
            if name.endswith("attn2"):
                key = f"diffusion_model.{name}"
                branch.add_object_patch(key, Replaced(branch.get_model_object(key)))
        scene.sample(branch, Way(1.0), steps=1)
        return model

    return Company(patch, ways=WAYS)
