"""Version 2: apply nodes with a method of their own, for embeds and for tiles."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...ip_models.errors import WrongEncoder
from ...ip_models.inputs import require
from .apply import tools_of
from .pixels import tiles
from .steps.references import Looks, raw_features
from .steps.run import Heard, Wanted, applied, put_on
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
    window,
)


class Embeds(OldNode):
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply_ipadapter"
    CATEGORY = "ipadapter/embeds"
    PER_PICTURE = False

    def __init__(self) -> None:
        self.unfold_batch = self.PER_PICTURE

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                **model(None),
                "pos_embed": ("EMBEDS",),
                **weight(3),
                **weight_type(),
                **window(),
                **scaling(),
            },
            "optional": sockets("neg_embed", "attn_mask", "clip_vision"),
        }

    def apply_ipadapter(
        self,
        model: Any,
        ipadapter: Any,
        pos_embed: Any,
        weight: Any,
        weight_type: str,
        start_at: float,
        end_at: float,
        neg_embed: Any = None,
        attn_mask: Any = None,
        clip_vision: Any = None,
        embeds_scaling: str = "V only",
        **_ignored: Any,
    ) -> tuple[Any, Any]:
        require("pos_embed", pos_embed, Tensor, "IPAdapter Encoder")
        require("neg_embed", neg_embed, Tensor | None, "IPAdapter Encoder")
        wanted = Wanted(
            weight=weight,
            weight_type=weight_type,
            start=start_at,
            end=end_at,
            mask=attn_mask,
            scaling=embeds_scaling,
            per_picture=self.unfold_batch,
        )
        tools, profile = tools_of(ipadapter, clip_vision, encodes=False), self.profile
        adapter = tools.adapter
        if adapter.spec.needs_face:
            raise WrongEncoder(
                "the embeds are of a picture",
                f"{adapter.name} reads faces",
                "Use IPAdapter FaceID",
            )
        features = raw_features(pos_embed, neg_embed, adapter.spec, tools.clip_vision, profile)
        return put_on(model, adapter, Heard(features), wanted, profile), None


class EmbedsBatch(Embeds):
    PER_PICTURE = True


class Tiled(OldNode):
    RETURN_TYPES = ("MODEL", "IMAGE", "MASK")
    RETURN_NAMES = ("MODEL", "tiles", "masks")
    FUNCTION = "apply_tiled"
    CATEGORY = "ipadapter/tiled"
    PER_PICTURE = False

    def __init__(self) -> None:
        self.unfold_batch = self.PER_PICTURE

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return _tiled_inputs(combine(), {})

    def apply_tiled(
        self,
        model: Any,
        ipadapter: Any,
        image: Any,
        weight: Any,
        weight_type: str,
        start_at: float,
        end_at: float,
        sharpening: float,
        combine_embeds: str = "concat",
        image_negative: Any = None,
        attn_mask: Any = None,
        clip_vision: Any = None,
        embeds_scaling: str = "V only",
        encode_batch_size: int = 0,
        **_ignored: Any,
    ) -> tuple[Any, Tensor, Tensor]:
        require("image", image, Tensor, "an IMAGE")
        tools, profile = tools_of(ipadapter, clip_vision), self.profile
        looks = Looks(image_negative, combine_embeds, encode_batch_size)
        parts = tiles.cut(image, attn_mask, sharpening)
        patched = model
        for tile, mask in parts:
            wanted = Wanted(
                weight=weight,
                weight_type=weight_type,
                start=start_at,
                end=end_at,
                mask=mask,
                scaling=embeds_scaling,
                per_picture=self.unfold_batch,
            )
            patched, _ = applied(patched, tools, tile, looks, wanted, profile)
        return patched, *tiles.joined(parts)


class TiledBatch(Tiled):
    PER_PICTURE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return _tiled_inputs({}, batch_size())


def _tiled_inputs(mix: Inputs, more: Inputs) -> dict[str, Inputs]:
    return {
        "required": {
            **model(),
            **weight(3),
            **weight_type(),
            **mix,
            **window(),
            "sharpening": number(0.0, 0.0, 1.0),
            **scaling(),
            **more,
        },
        "optional": sockets(*LINKS),
    }


NODES: dict[str, type[OldNode]] = {
    "IPAdapterTiled": Tiled,
    "IPAdapterTiledBatch": TiledBatch,
    "IPAdapterEmbeds": Embeds,
    "IPAdapterEmbedsBatch": EmbedsBatch,
}
TITLES: dict[str, str] = {
    "IPAdapterTiled": "IPAdapter Tiled",
    "IPAdapterTiledBatch": "IPAdapter Tiled Batch",
    "IPAdapterEmbeds": "IPAdapter Embeds",
    "IPAdapterEmbedsBatch": "IPAdapter Embeds Batch",
}
