"""What other packs do, written anew in a few lines each; met in every run of the tests.

Who does it is said with each. The laws are those of the pilots: regions are one layer with more
rows, tiles are pictures of their own, and the reference is added where a layer's result leaves it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import comfy.hooks
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.ldm.modules.diffusionmodules.openaimodel import (
    forward_timestep_embed,
    timestep_embedding,
)
from company.checkout import Checkout
from company.pilot import pilot
from company.scene import Box, Company, Scene, Way
from pack.nodes.host.model.backbones.layers import attention_layers
from torch import Tensor

SIZE = (2, 8, 12)
WAYS = (Way(4.0), Way(4.0, masked=True), Way(4.0, each=True), Way(1.0, each=True))
SLOTS = (Way(4.0), Way(1.0))
Make = Callable[[Scene], Company]


def behaviour(name: str, size: tuple[int, int, int] = SIZE) -> Callable[[Make], Make]:
    """Enter a pilot that needs no pack."""

    def enter(make: Make) -> Make:
        def fly(_: Checkout, scene: Scene) -> Company:
            return make(scene)

        fly.__doc__ = make.__doc__
        pilot("", name, size=size)(fly)
        return make

    return enter


# Rows


class _Couple:
    """Two more rows for each row of the positive prompt, averaged after the layer."""

    def __init__(self, scene: Scene, announced: str = "", rewritten: bool = False) -> None:
        self.texts = [scene.prompt(seed)[0][0] for seed in (51, 52)]
        self.announced, self.rewritten = announced, rewritten
        self.before: list[int] = []

    def more(self, q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> tuple[Tensor, ...]:
        """attn2_patch."""
        self.before = list(extra["cond_or_uncond"])
        count = len(q) // len(self.before)
        parts: list[tuple[int, Tensor, Tensor]] = []
        for place, rows, text in zip(self.before, q.split(count), k.split(count), strict=True):
            parts.append((place, rows, text))
            if place != 1:
                parts += [(0, rows, other.expand_as(text)) for other in self.texts]
        places = [place for place, *_ in parts]
        if self.rewritten:
            extra["cond_or_uncond"][:] = places
        elif self.announced:
            extra[self.announced] = places
        text = torch.cat([text for *_, text in parts])
        return torch.cat([rows for _, rows, _ in parts]), text, text

    def fewer(self, out: Tensor, extra: dict[str, Any]) -> Tensor:
        """attn2_output_patch."""
        if self.rewritten:
            extra["cond_or_uncond"][:] = self.before
        rows = len(out) // sum(1 if place == 1 else 3 for place in self.before)
        parts = iter(out.split(rows))
        return torch.cat(
            [
                next(parts) if place == 1 else (next(parts) + next(parts) + next(parts)) / 3
                for place in self.before
            ]
        )

    def patch(self, model: Any) -> Any:
        """What the node does with a MODEL."""
        model = model.clone()
        model.set_model_attn2_patch(self.more)
        model.set_model_attn2_output_patch(self.fewer)
        return model


for _key in ("cond_or_uncond_couple", "swarm_cond_or_uncond_couple"):

    @behaviour(f"regions, their rows listed as {_key}")
    def _listed(scene: Scene, key: str = _key) -> Company:
        """ComfyUI-ppm, SwarmUI."""
        return Company(_Couple(scene, announced=key).patch, regions=3, ways=WAYS)


@behaviour("regions, cond_or_uncond rewritten inside the layer")
def _rewritten(scene: Scene) -> Company:
    """comfyui-tooling-nodes (krita)."""
    return Company(_Couple(scene, rewritten=True).patch, regions=3, ways=WAYS)


@behaviour("regions that nothing tells of")
def _untold(scene: Scene) -> Company:
    """cgem156-ComfyUI, where the others come from."""
    return Company(_Couple(scene).patch, regions=3, ways=WAYS, may_refuse=True)


@behaviour("regions hung on the prompt as a hook")
def _hooked(scene: Scene) -> Company:
    """comfyui-prompt-control; hooked prompts run in calls of their own."""
    couple = _Couple(scene, announced="cond_or_uncond_hook_couple")
    patches = {"attn2_patch": [couple.more], "attn2_output_patch": [couple.fewer]}

    def sample(model: Any, way: Way) -> Tensor:
        group = comfy.hooks.HookGroup()
        scope = comfy.hooks.EnumHookScope.HookedOnly
        group.add(comfy.hooks.TransformerOptionsHook({"patches": patches}, hook_scope=scope))
        positive = comfy.hooks.set_hooks_for_conditioning(scene.positive, group)
        return scene.sample(model, way, positive=positive, steps=2)

    return Company(sample=sample, sampler_only=True, regions=3, ways=WAYS)


@behaviour("a second negative prompt as more rows of text")
def _more_text(scene: Scene) -> Company:
    """ComfyUI-NAG: the last rows of the text are for the last rows of the queries.

    Here the layer's own forward leaves these rows out, as it is done where the guidance is 0.
    """
    further = scene.prompt(61)[0][0]
    layers = [m for n, m in scene.model.model.diffusion_model.named_modules() if n[-5:] == "attn2"]

    def sample(model: Any, way: Way) -> Tensor:
        model = model.clone()

        def wrapper(call: Any, given: dict[str, Any]) -> Tensor:
            text = given["c"]["c_crossattn"]
            more = torch.cat([text, further.expand(scene.size[0], *text.shape[1:])])
            return call(given["input"], given["timestep"], **given["c"] | {"c_crossattn": more})

        model.set_model_unet_function_wrapper(wrapper)
        plain = type(layers[0]).forward

        def forward(self: Any, x: Tensor, context: Tensor, **options: Any) -> Tensor:
            return plain(self, x, context=context[: len(x)], **options | {"value": None})

        for layer in layers:
            layer.forward = forward.__get__(layer)
        try:
            return scene.sample(model, way, steps=2)
        finally:
            for layer in layers:
                del layer.forward

    return Company(sample=sample, sampler_only=True, ways=WAYS, may_refuse=True)


# Tiles


def _tiles(together: int) -> Make:
    def make(scene: Scene) -> Company:
        """ComfyUI-TiledDiffusion: tiles one after the other, each with all rows of the call."""
        boxes = [Box(0, left, 8, 8) for left in (0, 8, 16)]
        now: list[Box] = []

        def wrapper(call: Any, given: dict[str, Any]) -> Tensor:
            x, named, out = given["input"], given["c"], torch.zeros_like(given["input"])
            for first in range(0, len(boxes), together):
                now[:] = boxes[first : first + together]
                parts = torch.cat([x[..., b.left : b.left + b.width] for b in now])
                text = named["c_crossattn"].repeat(len(now), 1, 1)
                time = given["timestep"].repeat(len(now))
                done = call(parts, time, **{**named, "c_crossattn": text})
                for box, part in zip(now, done.split(len(x)), strict=True):
                    out[..., box.left : box.left + box.width] = part
            return out

        def patch(model: Any) -> Any:
            model = model.clone()
            model.set_model_unet_function_wrapper(wrapper)
            return model

        return Company(patch, boxes=lambda: now, ways=WAYS, may_refuse=True)

    return make


behaviour("tiles, two at once", (2, 8, 24))(_tiles(2))
behaviour("tiles, one at once", (2, 8, 24))(_tiles(1))


# Slots


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
