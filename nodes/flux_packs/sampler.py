"""x-flux-comfyui's sampler over the host's own: Euler, its schedule, guidance from a step on."""

from __future__ import annotations

from typing import Any

from ...ip_models.errors import BadInput
from ..host.late_guidance import LateGuidance, sample
from ..host.protocols import require_conditioning, require_latent, require_model
from .widgets import PackNode, Table


class XlabsSampler(PackNode):
    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("latent",)
    FUNCTION = "sampling"
    CATEGORY = "XLabsNodes"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL",),
                "conditioning": ("CONDITIONING",),
                "neg_conditioning": ("CONDITIONING",),
                "noise_seed": ("INT", {"default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF}),
                "steps": ("INT", {"default": 20, "min": 1, "max": 100}),
                "timestep_to_start_cfg": ("INT", {"default": 20, "min": 0, "max": 100}),
                "true_gs": ("FLOAT", {"default": 3, "min": 0, "max": 100}),
                "image_to_image_strength": (
                    "FLOAT",
                    {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.01},
                ),
                "denoise_strength": (
                    "FLOAT",
                    {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01},
                ),
            },
            "optional": {
                "latent_image": ("LATENT", {"default": None}),
                "controlnet_condition": ("ControlNetCondition", {"default": None}),
            },
        }

    def sampling(
        self,
        model: Any,
        conditioning: Any,
        neg_conditioning: Any,
        noise_seed: int = 0,
        steps: int = 20,
        timestep_to_start_cfg: int = 20,
        true_gs: float = 3.0,
        image_to_image_strength: float = 0.0,
        denoise_strength: float = 1.0,
        latent_image: Any = None,
        controlnet_condition: Any = None,
        **_ignored: Any,
    ) -> tuple[dict[str, Any]]:
        require_model("model", model)
        require_conditioning("conditioning", conditioning)
        require_conditioning("neg_conditioning", neg_conditioning)
        require_latent(latent_image)
        if not conditioning or not neg_conditioning:
            raise BadInput(
                "a conditioning is an empty list", "a text is needed", "Connect CLIP Text Encode"
            )
        if controlnet_condition is not None:
            raise BadInput(
                "controlnet_condition is connected, which is x-flux-comfyui's own",
                "a ControlNet of ComfyUI is needed here",
                "Connect Apply ControlNet to the conditioning, and nothing here",
            )
        late = LateGuidance(true_gs, timestep_to_start_cfg, steps, denoise_strength)
        return (
            sample(
                model,
                (conditioning, neg_conditioning),
                latent_image,
                noise_seed,
                late,
                image_to_image_strength,
            ),
        )


TABLE = Table({"XlabsSampler": XlabsSampler}, {"XlabsSampler": "Xlabs Sampler"})
