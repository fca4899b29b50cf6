"""Packs that give parts of the picture a prompt of their own inside the attention layers.

The law of all: they run a layer once for each region of the positive prompt and add the results
after `to_out`, weighted by masks whose sum is 1. The reference is added in each of these rows, so
in the sum it is added once: what is right is the pack's own run with the reference added to each
row, and which row is whose follows from the number of regions alone.
"""

from __future__ import annotations

from typing import Any

import torch
from company.checkout import Checkout
from company.pilot import pilot
from company.scene import Company, Scene, Way
from torch import Tensor


@pilot("ComfyUI-ppm", "Attention Couple")
def ppm(pack: Checkout, scene: Scene) -> Company:
    """Two regions besides the prompt's own.

    Its start imports names that host 0.33 does not have, for another family of models; so the
    functions that its node puts on a UNet are called as the node calls them.
    """
    pack.bare()
    couple = pack.module("src.attention_couple.unet_couple")
    left, right = scene.halves()
    masks = torch.stack([left * 0.25 + right * 0.5, left, right])
    masks = masks / masks.sum(0, keepdim=True)
    others = [scene.prompt(51), scene.prompt(52)]

    def patch(model: Any) -> Any:
        model = model.clone()
        before = couple.unet_attn2_couple_wrapper(
            scene.positive, others, 3, False, torch.device("cpu"), torch.float32
        )
        model.set_model_attn2_patch(before)
        model.set_model_attn2_output_patch(couple.unet_attn2_output_couple_wrapper(masks))
        return model

    return Company(patch, regions=3)


@pilot("ComfyUI-ppm", "CLIP NegPip")
def negpip(pack: Checkout, scene: Scene) -> Company:
    """Keys and values are every other token of the text; the rows stay as they are."""
    pack.bare()
    patch = pack.module("src.negpip.unet_negpip").sdxl_attn2_negpip

    def patched(model: Any) -> Any:
        model = model.clone()
        model.set_model_attn2_patch(patch)
        return model

    return Company(patched)


@pilot("comfyui-tooling-nodes", "Regions Attention Mask")
def krita(pack: Checkout, scene: Scene) -> Company:
    """A background and a region; the first region's text stands for the prompt."""
    left, _ = scene.halves()

    def patch(model: Any) -> Any:
        (background,) = pack.call("ETN_BackgroundRegion", conditioning=scene.positive)
        (regions,) = pack.call(
            "ETN_DefineRegion", mask=left, conditioning=scene.prompt(51), regions=background
        )
        return pack.call("ETN_AttentionMask", model=model, regions=regions)[0]

    return Company(patch, regions=2)


@pilot("cgem156-ComfyUI", "Attention couple")
def ancestor(pack: Checkout, scene: Scene) -> Company:
    """The node the others were made from; it tells nobody how many rows it has made."""
    pack.bare(ROOT_NAME="", SYMBOL="", NODE_SURFIX="")
    node = pack.module("scripts.attention_couple.node").AttentionCouple
    left, right = scene.halves()

    def patch(model: Any) -> Any:
        return node().attention_couple_simple(
            model, base_mask=left, cond_1=scene.prompt(51), mask_1=right
        )[0]

    return Company(patch, regions=2)


@pilot("comfyui-prompt-control", "ATTN() regions")
def prompt_control(pack: Checkout, scene: Scene) -> Company:
    """The couple hangs on the positive prompt as a hook, which runs in a call of its own."""
    make = pack.module("prompt_control.attention_couple_ppm").set_cond_attnmask
    left, right = scene.halves()

    def region(seed: int, mask: Tensor) -> list[Any]:
        text, options = scene.prompt(seed)[0]
        return [text, {**options, "mask": mask, "mask_strength": 1.0}]

    def sample(model: Any, way: Way) -> Tensor:
        text, options = scene.positive[0]
        base = [[text, {**options, "mask": left, "mask_strength": 1.0}]]
        return scene.sample(model, way, positive=make(base, [region(51, right)]))

    return Company(sample=sample, sampler_only=True, regions=2)


@pilot("ComfyUI_densediffusion", "DenseDiffusion Apply")
def dense_diffusion(pack: Checkout, scene: Scene) -> Company:
    """It replaces the attention of every layer and changes no rows; its own prompt comes out."""
    left, right = scene.halves()

    def both(model: Any) -> tuple[Any, Any]:
        for seed, mask in ((51, left), (52, right)):
            (model,) = pack.call(
                "DenseDiffusionAddCondNode",
                model=model,
                conditioning=scene.prompt(seed),
                strength=1.0,
                mask=mask,
            )
        return pack.call("DenseDiffusionApplyNode", model=model)

    def patch(model: Any) -> Any:
        return both(model)[0]

    def sample(model: Any, way: Way) -> Tensor:
        return scene.sample(model, way, positive=both(scene.model)[1])

    return Company(patch, sample)
