"""Version 2: the inputs of the apply nodes that share one method."""

from __future__ import annotations

from .apply import Apply, IPAdapter
from .widgets import (
    LINKS,
    Inputs,
    OldNode,
    batch_size,
    combine,
    model,
    number,
    scaling,
    sockets,
    weight,
    weight_type,
    whole,
    window,
)


class Advanced(Apply):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                **model(),
                **weight(5),
                **weight_type(),
                **combine(),
                **window(),
                **scaling(),
            },
            "optional": sockets(*LINKS),
        }


class Batch(Apply):
    PER_PICTURE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                **model(),
                **weight(5),
                **weight_type(),
                **window(),
                **scaling(),
                **batch_size(),
            },
            "optional": sockets(*LINKS),
        }


class FaceID(Apply):
    CATEGORY = "ipadapter/faceid"
    RETURN_TYPES = ("MODEL", "IMAGE")
    RETURN_NAMES = ("MODEL", "face_image")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return _face_inputs({})


class FaceIDBatch(FaceID):
    PER_PICTURE = True


class FaceIDKolors(FaceID):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return _face_inputs({"weight_kolors": number(1.0, -1, 5.0)})


def _face_inputs(more: Inputs) -> dict[str, Inputs]:
    return {
        "required": {
            **model(),
            **weight(3),
            "weight_faceidv2": number(1.0, -1, 5.0),
            **more,
            **weight_type(),
            **combine(),
            **window(),
            **scaling(),
        },
        "optional": sockets(*LINKS, "insightface"),
    }


class StyleComposition(Apply):
    CATEGORY = "ipadapter/style_composition"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return _two_pictures(combine("average"))


class StyleCompositionBatch(StyleComposition):
    PER_PICTURE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return _two_pictures({})


def _two_pictures(mix: Inputs) -> dict[str, Inputs]:
    return {
        "required": {
            **model("image_style"),
            "image_composition": ("IMAGE",),
            **weight(5, "weight_style"),
            **weight(5, "weight_composition"),
            "expand_style": ("BOOLEAN", {"default": False}),
            **mix,
            **window(),
            **scaling(),
        },
        "optional": sockets(*LINKS),
    }


class MadScientist(Apply):
    CATEGORY = "ipadapter/dev"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                **model(),
                **weight(5),
                "weight_faceidv2": number(1.0, -1, 5.0),
                **weight_type(),
                **combine(),
                **window(),
                **scaling(),
                "layer_weights": ("STRING", {"default": "", "multiline": True}),
            },
            "optional": sockets(*LINKS, "insightface"),
        }


class Enhancer(Apply):
    CATEGORY = "ipadapter/dev"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return _enhancer_inputs(combine(), 1.0, {})


class EnhancerBatch(Enhancer):
    PER_PICTURE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return _enhancer_inputs({}, 0.5, batch_size())


def _enhancer_inputs(mix: Inputs, ratio: float, more: Inputs) -> dict[str, Inputs]:
    return {
        "required": {
            **model(),
            **weight(5),
            **weight_type(),
            **mix,
            **window(),
            **scaling(),
            "enhance_tiles": whole(2, 1, 16),
            "enhance_ratio": number(ratio, 0.0, 1.0),
            **more,
        },
        "optional": sockets(*LINKS),
    }


class FromParams(Apply):
    CATEGORY = "ipadapter/params"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                **model(None),
                "ipadapter_params": ("IPADAPTER_PARAMS",),
                **combine(),
                **scaling(),
            },
            "optional": sockets("image_negative", "clip_vision"),
        }


class PreciseStyle(Apply):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return _boosted("style_boost", 1.0)


class PreciseStyleBatch(PreciseStyle):
    PER_PICTURE = True


class PreciseComposition(Apply):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return _boosted("composition_boost", 0.0)


class PreciseCompositionBatch(PreciseComposition):
    PER_PICTURE = True


def _boosted(name: str, default: float) -> dict[str, Inputs]:
    return {
        "required": {
            **model(),
            **weight(5),
            name: number(default, -5, 5),
            **combine(),
            **window(),
            **scaling(),
        },
        "optional": sockets(*LINKS),
    }


NODES: dict[str, type[OldNode]] = {
    "IPAdapter": IPAdapter,
    "IPAdapterAdvanced": Advanced,
    "IPAdapterBatch": Batch,
    "IPAdapterFaceID": FaceID,
    "IPAdapterFaceIDKolors": FaceIDKolors,
    "IPAAdapterFaceIDBatch": FaceIDBatch,
    "IPAdapterStyleComposition": StyleComposition,
    "IPAdapterStyleCompositionBatch": StyleCompositionBatch,
    "IPAdapterMS": MadScientist,
    "IPAdapterClipVisionEnhancer": Enhancer,
    "IPAdapterClipVisionEnhancerBatch": EnhancerBatch,
    "IPAdapterFromParams": FromParams,
    "IPAdapterPreciseStyleTransfer": PreciseStyle,
    "IPAdapterPreciseStyleTransferBatch": PreciseStyleBatch,
    "IPAdapterPreciseComposition": PreciseComposition,
    "IPAdapterPreciseCompositionBatch": PreciseCompositionBatch,
}
TITLES: dict[str, str] = {
    "IPAdapter": "IPAdapter",
    "IPAdapterAdvanced": "IPAdapter Advanced",
    "IPAdapterBatch": "IPAdapter Batch (Adv.)",
    "IPAdapterFaceID": "IPAdapter FaceID",
    "IPAdapterFaceIDKolors": "IPAdapter FaceID Kolors",
    "IPAAdapterFaceIDBatch": "IPAdapter FaceID Batch",
    "IPAdapterStyleComposition": "IPAdapter Style & Composition SDXL",
    "IPAdapterStyleCompositionBatch": "IPAdapter Style & Composition Batch SDXL",
    "IPAdapterMS": "IPAdapter Mad Scientist",
    "IPAdapterClipVisionEnhancer": "IPAdapter ClipVision Enhancer",
    "IPAdapterClipVisionEnhancerBatch": "IPAdapter ClipVision Enhancer Batch",
    "IPAdapterFromParams": "IPAdapter from Params",
    "IPAdapterPreciseStyleTransfer": "IPAdapter Precise Style Transfer",
    "IPAdapterPreciseStyleTransferBatch": "IPAdapter Precise Style Transfer Batch",
    "IPAdapterPreciseComposition": "IPAdapter Precise Composition",
    "IPAdapterPreciseCompositionBatch": "IPAdapter Precise Composition Batch",
}
