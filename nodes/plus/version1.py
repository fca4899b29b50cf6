"""Version 1: the apply nodes, which that pack itself has not had since March 2024.

One more is of laksjdjf/IPAdapter-ComfyUI, whose only node had the name that version 2 took later.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from ...ip_models.attention.keyvalue import KvScaling
from ...ip_models.errors import BadInput
from ...ip_models.inputs import listed, require, sides
from ..host.files import folders
from .apply import tools_of
from .loaders import ModelLoader, path_of
from .objects.adapter_dict import AdapterDict
from .pixels import noise as noises
from .pixels import tiles
from .steps.profile import Profile, Version
from .steps.references import Looks, encode_rows, only, raw_features
from .steps.run import Heard, Tools, Wanted, applied, put_on, read
from .widgets import Inputs, OldNode, number, sockets, weight, whole, window

_SCALING = {
    "original": KvScaling.V_ONLY,
    "linear": KvScaling.K_V,
    "channel penalty": KvScaling.K_MEAN_V_PENALTY,
}
_SOCKETS = {
    "ipadapter": "IPADAPTER",
    "clip_vision": "CLIP_VISION",
    "insightface": "INSIGHTFACE",
    "image": "IMAGE",
    "embeds": "EMBEDS",
    "model": "MODEL",
}
_UNFOLD: Inputs = {"unfold_batch": ("BOOLEAN", {"default": False})}


def _links(*names: str) -> Inputs:
    return {name: (_SOCKETS[name],) for name in names}


def _noise() -> Inputs:
    return {"noise": number(0.0, 0.0, 1.0, 0.01)}


def _weight_type() -> Inputs:
    return {"weight_type": (list(_SCALING),)}


class ApplyOne(OldNode):
    VERSION = Version.ONE
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply_ipadapter"
    CATEGORY = "ipadapter"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                **_links("ipadapter", "clip_vision", "image", "model"),
                **weight(3),
                **_noise(),
                **_weight_type(),
                **window(),
                **_UNFOLD,
            },
            "optional": sockets("attn_mask"),
        }

    def apply_ipadapter(
        self,
        ipadapter: Any,
        model: Any,
        weight: Any,
        clip_vision: Any = None,
        image: Any = None,
        weight_type: str = "original",
        noise: float | None = None,
        embeds: Any = None,
        attn_mask: Any = None,
        start_at: float = 0.0,
        end_at: float = 1.0,
        unfold_batch: bool = False,
        insightface: Any = None,
        faceid_v2: bool = False,
        weight_v2: float = False,  # as scripts that leave it out have it: the looks count nothing
        clip_vision_mask: Any = None,
        short_side_tiles: int = 0,
        tile_weight: float = 0.0,
        tile_blur: int = 0,
        **_ignored: Any,
    ) -> tuple[Any, Any, Any]:
        listed("weight_type", weight_type, list(_SCALING))
        tools = tools_of(ipadapter, clip_vision, insightface, encodes=embeds is None)
        profile = self.profile
        tools = tools._replace(adapter=tools.adapter.as_version(bool(faceid_v2)))
        wanted = Wanted(
            weight=weight,
            start=start_at,
            end=end_at,
            mask=attn_mask,
            scaling=_SCALING[weight_type].value,
            per_picture=bool(unfold_batch),
            structure=float(weight_v2),
        )
        if embeds is not None:
            heard = _encoded(tools, embeds, profile)
            return put_on(model, tools.adapter, heard, wanted, profile), attn_mask, image
        require("image", image, Tensor, "an IMAGE")
        if short_side_tiles > 0:
            image, masks = tiles.masked_tiles(image, short_side_tiles, tile_weight, tile_blur)
            heard = _read(tools, image, noise or 0.0, wanted, profile)
            patched = model
            for i, mask in enumerate(masks.split(1)):
                each = heard._replace(features=only(heard.features, i))
                tiled = replace(wanted, mask=mask)
                patched = put_on(patched, tools.adapter, each, tiled, profile)
            return patched, masks, image
        heard = _read(tools, image, noise or 0.0, wanted, profile)
        patched = put_on(model, tools.adapter, heard, wanted, profile)
        return patched, attn_mask, image if heard.crops is None else heard.crops


def _read(tools: Tools, image: Tensor, noise: float, wanted: Wanted, profile: Profile) -> Heard:
    """References, with the picture and noise as what to stay away from if there is any."""
    spec = tools.adapter.spec
    if noise > 0 and not spec.needs_face:
        looks = Looks(noises.noisy_negative(image, noise))
        return read(tools, image, looks, wanted, profile)
    heard = read(tools, image, Looks(), wanted, profile)
    if noise <= 0 or heard.crops is None or not spec.needs_encoder:
        return heard
    looks = Looks(noises.noisy_negative(heard.crops, noise))
    crops = encode_rows(tools.clip_vision, heard.crops, profile, looks)
    return heard._replace(features=replace(heard.features, crops=crops))


def _encoded(tools: Tools, embeds: Any, profile: Profile) -> Heard:
    require("embeds", embeds, Tensor, "Encode IPAdapter Image")
    if embeds.ndim not in (3, 4) or len(embeds) != 2:
        raise BadInput(
            f"the embeds have shape {sides(embeds.shape)}",
            "positive and negative rows together, 2 x n x width, are needed",
            "Connect Encode IPAdapter Image, or use IPAdapter Embeds",
        )
    positive, negative = embeds
    return Heard(raw_features(positive, negative, tools.adapter.spec, tools.clip_vision, profile))


class ApplyFaceID(ApplyOne):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                **_links("ipadapter", "clip_vision", "insightface", "image", "model"),
                **weight(3),
                **_noise(),
                **_weight_type(),
                **window(),
                "faceid_v2": ("BOOLEAN", {"default": False}),
                **weight(3, "weight_v2"),
                **_UNFOLD,
            },
            "optional": sockets("attn_mask"),
        }


class ApplyEncoded(ApplyOne):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                **_links("ipadapter", "embeds", "model"),
                **weight(3),
                **_weight_type(),
                **window(),
                **_UNFOLD,
            },
            "optional": sockets("attn_mask"),
        }


class TilesMasked(ApplyOne):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                **_links("ipadapter", "clip_vision", "image", "model"),
                **weight(3, default=0.7),
                **_noise(),
                **_weight_type(),
                **window(),
                "short_side_tiles": whole(1, 0, 12, 1),
                "tile_weight": number(0.6, 0.0, 1.0),
            },
        }


class Laksjdjf(OldNode):
    VERSION = Version.ONE
    RETURN_TYPES = ("MODEL", "CLIP_VISION_OUTPUT")
    FUNCTION = "adapter"
    CATEGORY = "ipadapter"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                **_links("model", "image", "clip_vision"),
                **weight(3),
                "model_name": (folders.files(folders.ADAPTERS),),
                "dtype": (["fp16", "fp32"],),
            },
            "optional": {"mask": ("MASK",)},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, model_name: Any = None) -> bool | str:
        """In place of the host's check, which takes this platform's separator only."""
        return ModelLoader.VALIDATE_INPUTS(model_name)

    @classmethod
    def IS_CHANGED(cls, model_name: Any = None, **_: Any) -> str:
        return super().IS_CHANGED() + ModelLoader.IS_CHANGED(model_name)

    def adapter(
        self,
        model: Any,
        image: Any,
        clip_vision: Any,
        weight: Any,
        model_name: str,
        dtype: str = "fp16",
        mask: Any = None,
        **_ignored: Any,
    ) -> tuple[Any, Any]:
        tools = tools_of(AdapterDict(path_of(model_name)), clip_vision)
        wanted, profile = Wanted(weight=weight, mask=mask), self.profile
        patched, _ = applied(model, tools, image, Looks(), wanted, profile)
        return patched, clip_vision.encode_image(image)


NODES: dict[str, type[OldNode]] = {
    "IPAdapterApply": ApplyOne,
    "IPAdapterApplyFaceID": ApplyFaceID,
    "IPAdapterApplyEncoded": ApplyEncoded,
    "IPAdapterTilesMasked": TilesMasked,
    "IPAdapterLaksjdjf": Laksjdjf,
}
TITLES: dict[str, str] = {
    "IPAdapterApply": "Apply IPAdapter",
    "IPAdapterApplyFaceID": "Apply IPAdapter FaceID",
    "IPAdapterApplyEncoded": "Apply IPAdapter from Encoded",
    "IPAdapterTilesMasked": "IPAdapter Masked Tiles (experimental)",
    "IPAdapterLaksjdjf": "IPAdapter (laksjdjf)",
}
