"""More rows in a layer, or in a call: regions, guidance by more text, tiles."""

from __future__ import annotations

from typing import Any

import comfy.hooks
import torch
from company.pilot import Make, behaviour
from company.scene import Box, Company, Scene, Way
from torch import Tensor

WAYS = (Way(4.0), Way(4.0, masked=True), Way(4.0, each=True), Way(1.0, each=True))


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

    return Company(sample=sample, sampler_only=True, ways=WAYS)


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

        return Company(patch, boxes=lambda: now, ways=WAYS)

    return make


behaviour("tiles, two at once", (2, 8, 24))(_tiles(2))
behaviour("tiles, one at once", (2, 8, 24))(_tiles(1))
