"""Old nodes that make pictures of pictures."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .pixels.noise import KINDS, make_noise
from .pixels.prepare import CROPS, INTERPOLATIONS, OLD_INTERPOLATIONS, prepare, prepare_face
from .widgets import OldNode

_SHARPENING = {"default": 0.0, "min": 0, "max": 1, "step": 0.05}


class Noise(OldNode):
    """IPAdapter Noise."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "make_noise"
    CATEGORY = "ipadapter/utils"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "type": (list(KINDS),),
                "strength": ("FLOAT", {"default": 1.0, "min": 0, "max": 1, "step": 0.05}),
                "blur": ("INT", {"default": 0, "min": 0, "max": 32, "step": 1}),
            },
            "optional": {"image_optional": ("IMAGE",)},
        }

    def make_noise(
        self,
        type: str,
        strength: float,
        blur: int,
        image_optional: Tensor | None = None,
        **_ignored: object,
    ) -> tuple[Tensor]:
        return (make_noise(type, strength, blur, image_optional),)


class PrepareForEncoder(OldNode):
    """Prep Image For ClipVision."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "prep_image"
    CATEGORY = "ipadapter/utils"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "image": ("IMAGE",),
                "interpolation": (list(INTERPOLATIONS),),
                "crop_position": ([*CROPS, "pad"],),
                "sharpening": ("FLOAT", dict(_SHARPENING)),
            },
        }

    def prep_image(
        self,
        image: Tensor,
        interpolation: str = "LANCZOS",
        crop_position: str = "center",
        sharpening: float = 0.0,
        **_ignored: object,
    ) -> tuple[Tensor]:
        method = OLD_INTERPOLATIONS.get(interpolation, interpolation)
        return (prepare(image, method, crop_position, sharpening),)


class PrepareForFaces(OldNode):
    """Version 1's Prepare Image For InsightFace."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "prep_image"
    CATEGORY = "ipadapter"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "image": ("IMAGE",),
                "crop_position": (["center", *CROPS[:-1]],),
                "sharpening": ("FLOAT", dict(_SHARPENING)),
                "pad_around": ("BOOLEAN", {"default": True}),
            },
        }

    def prep_image(
        self,
        image: Tensor,
        crop_position: str,
        sharpening: float = 0.0,
        pad_around: bool = True,
        **_ignored: object,
    ) -> tuple[Tensor]:
        return (prepare_face(image, crop_position, sharpening, pad_around),)


NODES: dict[str, type[OldNode]] = {
    "IPAdapterNoise": Noise,
    "PrepImageForClipVision": PrepareForEncoder,
    "PrepImageForInsightFace": PrepareForFaces,
}
TITLES: dict[str, str] = {
    "IPAdapterNoise": "IPAdapter Noise",
    "PrepImageForClipVision": "Prep Image For ClipVision",
    "PrepImageForInsightFace": "Prepare Image For InsightFace",
}
