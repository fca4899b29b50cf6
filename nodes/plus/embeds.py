"""EMBEDS, which are bare tensors: made of pictures, mixed, saved and loaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...ip_models.adapter.spec import AdapterSpec, Feature, Kind
from ...ip_models.errors import BadInput, IPAdapterError
from ...ip_models.inputs import listed, require, sides
from ...ip_models.pictures.fit import require_images
from ...ip_models.references.combine import Combine, mix
from ..host.embeds import bare
from ..host.pictures.same_size import batch_of
from .objects.pipeline import adapter_of, encoder_of
from .pixels import noise as noises
from .steps.profile import Version
from .steps.references import Looks, encode_rows, no_encoder
from .widgets import Inputs, OldNode, number

_MORE = ("embed2", "embed3", "embed4", "embed5")


class Encoder(OldNode):
    RETURN_TYPES = ("EMBEDS", "EMBEDS")
    RETURN_NAMES = ("pos_embed", "neg_embed")
    FUNCTION = "encode"
    CATEGORY = "ipadapter/embeds"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                "ipadapter": ("IPADAPTER",),
                "image": ("IMAGE",),
                "weight": number(1.0, -1.0, 3.0, 0.01),
            },
            "optional": {"mask": ("MASK",), "clip_vision": ("CLIP_VISION",)},
        }

    def encode(
        self,
        ipadapter: Any,
        image: Any,
        weight: float,
        mask: Any = None,
        clip_vision: Any = None,
        **_ignored: Any,
    ) -> tuple[Tensor, Tensor]:
        encoder = encoder_of(ipadapter, clip_vision)
        if encoder is None:  # the adapter needs none, and this node does
            raise no_encoder()
        features = encode_rows(encoder, image, self.profile, mask=mask)
        hidden = _reads_hidden(adapter_of(ipadapter).spec)
        pair = features.pair(Feature.PENULTIMATE if hidden else Feature.POOLED)
        if pair is None:
            raise _no_pooled(features.source)
        positive, negative = pair
        # One row of nothing for all pictures, as old graphs have it.
        return _times(positive, weight), negative[:1] if hidden else negative.clone()


def _reads_hidden(spec: AdapterSpec) -> bool:
    """By the layout of the projection alone, as nodes behind this one expect."""
    return spec.feature is Feature.PENULTIMATE or spec.kind is Kind.PORTRAIT_UNNORMED


def _no_pooled(source: str) -> BadInput:
    return BadInput(
        f"{source} gives no pooled features",
        "this adapter reads them",
        "Connect the CLIP vision model that the adapter was trained with",
    )


def _times(rows: Tensor, weight: float) -> Tensor:
    return rows if weight == 1 else rows * weight


class EncoderV1(OldNode):
    VERSION = Version.ONE
    RETURN_TYPES = ("EMBEDS",)
    FUNCTION = "preprocess"
    CATEGORY = "ipadapter"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        share = number(1.0, 0, 1.0, 0.01)
        return {
            "required": {
                "clip_vision": ("CLIP_VISION",),
                "image_1": ("IMAGE",),
                "ipadapter_plus": ("BOOLEAN", {"default": False}),
                "noise": number(0.0, 0.0, 1.0, 0.01),
                "weight_1": share,
            },
            "optional": {
                **{f"image_{i}": ("IMAGE",) for i in (2, 3, 4)},
                **{f"weight_{i}": share for i in (2, 3, 4)},
            },
        }

    def preprocess(
        self,
        clip_vision: Any,
        image_1: Any,
        ipadapter_plus: bool,
        noise: float,
        weight_1: float,
        image_2: Any = None,
        image_3: Any = None,
        image_4: Any = None,
        weight_2: float = 1.0,
        weight_3: float = 1.0,
        weight_4: float = 1.0,
        **_ignored: Any,
    ) -> tuple[Tensor]:
        given = ((image_1, weight_1), (image_2, weight_2), (image_3, weight_3), (image_4, weight_4))
        pairs = [(image, weight) for image, weight in given if image is not None]
        for number_of, (image, _) in enumerate(pairs, 1):
            require(f"image_{number_of}", image, Tensor, "an IMAGE")
            require_images(image, f"image_{number_of}")
        images = batch_of([image for image, _ in pairs])
        looks = Looks(noises.noisy_negative(images, noise) if noise > 0 else None)
        features = encode_rows(clip_vision, images, self.profile, looks)
        pair = features.pair(Feature.PENULTIMATE if ipadapter_plus else Feature.POOLED)
        if pair is None:
            raise _no_pooled(features.source)
        positive, negative = pair
        weights = [weight**2 for image, weight in pairs for _ in image]
        shape = (-1, *[1] * (positive.ndim - 1))
        return (torch.stack((positive * torch.tensor(weights).view(shape).to(positive), negative)),)


class CombineEmbeds(OldNode):
    RETURN_TYPES = ("EMBEDS",)
    FUNCTION = "batch"
    CATEGORY = "ipadapter/embeds"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        methods = ["concat", "add", "subtract", "average", "norm average", "max", "min"]
        return {
            "required": {"embed1": ("EMBEDS",), "method": (methods,)},
            "optional": {name: ("EMBEDS",) for name in _MORE},
        }

    def batch(
        self,
        embed1: Any,
        method: str,
        embed2: Any = None,
        embed3: Any = None,
        embed4: Any = None,
        embed5: Any = None,
        **_ignored: Any,
    ) -> tuple[Tensor]:
        how = Combine(listed("method", method, [one.value for one in Combine]))
        rows = [one for one in (embed1, embed2, embed3, embed4, embed5) if one is not None]
        if how is Combine.CONCAT and len(rows) == 1:
            return (embed1,)
        return (mix(_joined(rows, 0), how),)


class BatchEmbeds(OldNode):
    VERSION = Version.ONE
    RETURN_TYPES = ("EMBEDS",)
    FUNCTION = "batch"
    CATEGORY = "ipadapter"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {"required": {"embed1": ("EMBEDS",), "embed2": ("EMBEDS",)}}

    def batch(self, embed1: Any, embed2: Any, **_ignored: Any) -> tuple[Tensor]:
        return (_joined([embed1, embed2], 1),)


def _joined(rows: list[Any], along: int) -> Tensor:
    for place, one in enumerate(rows, 1):
        require(f"embed{place}", one, Tensor, "IPAdapter Encoder")
    shapes = {(*one.shape[:along], *one.shape[along + 1 :]) for one in rows if one.ndim > along}
    if len(shapes) != 1 or any(one.ndim <= along for one in rows):
        raise BadInput(
            f"the embeds have shapes {', '.join(sides(one.shape) for one in rows)}",
            "rows of one encoder and one kind of adapter are needed",
            "Encode all pictures with the same IPADAPTER and CLIP vision model",
        )
    return torch.cat([one.to(rows[0].device) for one in rows], dim=along)


class SaveEmbeds(OldNode):
    RETURN_TYPES = ()
    FUNCTION = "save"
    OUTPUT_NODE = True
    CATEGORY = "ipadapter/embeds"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        prefix = ("STRING", {"default": "IP_embeds"})
        return {"required": {"embeds": ("EMBEDS",), "filename_prefix": prefix}}

    def save(self, embeds: Any, filename_prefix: str, **_ignored: Any) -> tuple[None]:
        require("embeds", embeds, Tensor, "IPAdapter Encoder")
        bare.write(embeds, filename_prefix)
        return (None,)


class LoadEmbeds(OldNode):
    RETURN_TYPES = ("EMBEDS",)
    FUNCTION = "load"
    CATEGORY = "ipadapter/embeds"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"embeds": [bare.names()]}}

    @classmethod
    def VALIDATE_INPUTS(cls, embeds: Any = None) -> bool | str:
        """In place of the host's check, which takes this platform's separator only."""
        if embeds is None:  # comes by a link
            return True
        try:
            bare.find(embeds)
        except IPAdapterError as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, embeds: Any = None, **_: Any) -> str:
        return bare.fingerprint(embeds)

    def load(self, embeds: str, **_ignored: Any) -> tuple[Tensor]:
        return (bare.read(bare.find(embeds)),)


NODES: dict[str, type[OldNode]] = {
    "IPAdapterEncoder": Encoder,
    "IPAdapterEncoderV1": EncoderV1,
    "IPAdapterCombineEmbeds": CombineEmbeds,
    "IPAdapterBatchEmbeds": BatchEmbeds,
    "IPAdapterSaveEmbeds": SaveEmbeds,
    "IPAdapterLoadEmbeds": LoadEmbeds,
}
TITLES: dict[str, str] = {
    "IPAdapterEncoder": "IPAdapter Encoder",
    "IPAdapterEncoderV1": "Encode IPAdapter Image",
    "IPAdapterCombineEmbeds": "IPAdapter Combine Embeds",
    "IPAdapterBatchEmbeds": "IPAdapter Batch Embeds",
    "IPAdapterSaveEmbeds": "IPAdapter Save Embeds",
    "IPAdapterLoadEmbeds": "IPAdapter Load Embeds",
}
