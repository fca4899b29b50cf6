"""Packs that leave out a part of the UNet in some steps.

The law of all: the layers that run hear the reference, and what is kept of others was heard. So
what is right is the pack's own run with the reference added in every layer that runs.
"""

from __future__ import annotations

from typing import Any

from company.checkout import Checkout
from company.pilot import pilot
from company.scene import Company, Scene, Way
from torch import Tensor


@pilot("ComfyUI-deepcache", "Deep Cache")
def deep_cache(pack: Checkout, scene: Scene) -> Company:
    """It calls the UNet's blocks itself, around the host's wrappers."""

    def patch(model: Any) -> Any:
        return pack.call(
            "DeepCache", model=model, cache_interval=2, cache_depth=3, start_step=0, end_step=1000
        )[0]

    def sample(model: Any, way: Way) -> Tensor:
        return scene.sample(model, way, steps=4)

    return Company(patch, sample)


@pilot("Comfy-WaveSpeed", "Apply First Block Cache")
def first_block_cache(pack: Checkout, scene: Scene) -> Company:
    """Whether a step is left out is decided by how much its first block has changed."""

    def patch(model: Any) -> Any:
        return pack.call(
            "ApplyFBCacheOnModel",
            model=model,
            object_to_patch="diffusion_model",
            residual_diff_threshold=0.5,
        )[0]

    def sample(model: Any, way: Way) -> Tensor:
        return scene.sample(model, way, steps=6)

    return Company(patch, sample)


@pilot("ComfyUI-TeaCache", "TeaCache")
def tea_cache(pack: Checkout, scene: Scene) -> Company:
    """It knows transformers only, so that it must say so by itself."""

    def patch(model: Any) -> Any:
        return pack.call(
            "TeaCache",
            model=model,
            model_type="flux",
            rel_l1_thresh=0.4,
            start_percent=0.0,
            end_percent=1.0,
            cache_device="cpu",
        )[0]

    return Company(patch)


@pilot("ComfyUI-Spectrum-KSampler", "DiT Spectrum Patch")
def spectrum(pack: Checkout, scene: Scene) -> Company:
    """It knows transformers only, so that it must say so by itself."""
    node = next(name for name in pack.nodes() if "Patch" in name and "pectrum" in name)

    def patch(model: Any) -> Any:
        return pack.call(node, model=model)[0]

    return Company(patch)
