"""Packs whose samplers run the host's own, some of them many times for one picture.

The law of all: each run hears the reference as any run does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import numpy
import torch
from company.checkout import Checkout
from company.pilot import pilot
from company.scene import PIXELS, Box, Company, Scene, Vae, Way
from torch import Tensor

import nodes


def _impact(folder: Path, module: str) -> Any:
    """A module of the Impact Pack.

    Its start wants a part that is a repository of its own, so its modules are imported alone.
    """
    pack = Checkout(folder.parent / "ComfyUI-Impact-Pack")
    pack.bare()
    sys.path.append(str(pack.folder / "modules"))
    return pack.module(f"modules.impact.{module}")


@pilot("ComfyUI-Inspire-Pack", "KSampler (inspire)")
def inspire(pack: Checkout, scene: Scene) -> Company:
    """Noise of its own, and the host's sampler, which it asks the Impact Pack for."""
    samplers = _impact(pack.folder, "special_samplers")
    nodes.NODE_CLASS_MAPPINGS["RegionalSampler"] = samplers.RegionalSampler
    nodes.NODE_CLASS_MAPPINGS["ImpactKSamplerBasicPipe"] = samplers.KSamplerBasicPipe

    def sample(model: Any, way: Way) -> Tensor:
        return pack.call(
            "KSampler //Inspire",
            model=model,
            **scene.inputs(way),
            latent_image=scene.latent,
            denoise=1.0,
            noise_mode="CPU",
        )[0]["samples"]

    return Company(sample=sample, sampler_only=True)


@pilot("ComfyUI-Inspire-Pack", "Regional CFG")
def regional_cfg(pack: Checkout, scene: Scene) -> Company:
    """Guidance by a mask, after both predictions."""

    def patch(model: Any) -> Any:
        return pack.call("RegionalCFG //Inspire", model=model, mask=scene.mask.clone())[0]

    return Company(patch)


@pilot("ComfyUI-Impact-Pack", "RegionalSampler")
def impact(pack: Checkout, scene: Scene) -> Company:
    """Each region and each step is a run with a noise mask; all see the whole latent."""
    samplers = _impact(pack.folder, "special_samplers")
    masks = Path(nodes.__file__).parent / "comfy_extras" / "nodes_mask.py"
    asyncio.run(nodes.load_custom_node(str(masks), module_parent="comfy_extras"))
    left, right = scene.halves()

    def sample(model: Any, way: Way) -> Tensor:
        def sampler(positive: Any) -> Any:
            pipe = (model, None, None, positive, scene.negative)
            provider = samplers.KSamplerAdvancedProvider
            return provider.doit(way.cfg, "euler", "normal", basic_pipe=pipe)[0]

        regions = [
            samplers.RegionalPrompt.doit(mask, sampler(scene.prompt(seed)))[0][0]
            for seed, mask in ((51, left), (52, right))
        ]
        torch.manual_seed(0)
        return samplers.RegionalSampler.doit(
            seed=1,
            seed_2nd=0,
            seed_2nd_mode="ignore",
            steps=3,
            base_only_steps=1,
            denoise=1.0,
            samples=scene.latent,
            base_sampler=sampler(scene.positive),
            regional_prompts=regions,
            overlap_factor=0,
            restore_latent=True,
            additional_mode="DISABLE",
            additional_sampler="AUTO",
            additional_sigma_ratio=0.3,
        )[0]["samples"]

    return Company(sample=sample, sampler_only=True)


@pilot("ComfyUI-Impact-Pack", "Detailer (SEGS)", size=(1, 24, 32))
def detailer(pack: Checkout, scene: Scene) -> Company:
    """A part of the picture is cut out, sampled again and put back; its size stays as it is."""
    module = _impact(pack.folder, "impact_pack")
    rows, columns = (PIXELS * side for side in scene.size[1:])
    image = torch.rand(1, rows, columns, 3, generator=torch.Generator().manual_seed(5))
    box = Box(4, 8, 12, 16)
    region = [PIXELS * side for side in (box.left, box.top, box.left + 16, box.top + 12)]
    inside = numpy.ones((PIXELS * box.height, PIXELS * box.width), dtype=numpy.float32)
    seg = module.core.SEG(None, inside, 1.0, region, region, "part", None)

    def sample(model: Any, way: Way) -> Tensor:
        return module.DetailerForEach.do_detail(
            image,
            ((rows, columns), [seg]),
            model,
            None,
            Vae(),
            guide_size=64,
            guide_size_for_bbox=False,
            max_size=1024,
            **scene.inputs(way),
            denoise=1.0,
            feather=0,
            noise_mask=True,
            force_inpaint=True,
        )[0]

    return Company(sample=sample, sampler_only=True, boxes=lambda: [box], rounding=1e-3)


@pilot("ComfyUI-Easy-Use", "its samplers")
def easy_use(pack: Checkout, scene: Scene) -> Company:
    """What all of its sampler nodes call; the whole pack writes into its folder when it starts."""
    pack.bare()
    sampler = pack.module("py.libs.sampler").easySampler()

    def sample(model: Any, way: Way) -> Tensor:
        torch.manual_seed(0)
        out = sampler.common_ksampler(
            model,
            1,
            2,
            way.cfg,
            "euler",
            "normal",
            scene.positive,
            scene.negative,
            scene.latent,
            preview_latent=False,
        )
        return out["samples"]

    return Company(sample=sample, sampler_only=True)
