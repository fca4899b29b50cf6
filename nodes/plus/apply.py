"""Version 2: the apply nodes that share one method, and the short one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from ...ip_models.inputs import text
from ..host.protocols import require_model
from .objects.pipeline import adapter_of, encoder_of, faces_of, is_pipeline, no_pipeline
from .params import FIELDS, require_params
from .steps.references import Looks
from .steps.run import Tools, Wanted, applied
from .steps.weight_types import (
    COMPOSITION_PRECISE,
    STRONG_STYLE_AND_COMPOSITION,
    STYLE_AND_COMPOSITION,
    STYLE_PRECISE,
)
from .widgets import (
    Inputs,
    OldNode,
    model,
    sockets,
    weight,
    window,
)

_SHORT_TYPES = {
    "standard": "linear",
    "prompt is more important": "ease out",
    "style transfer": "style transfer",
}
_BOTH = {False: STYLE_AND_COMPOSITION, True: STRONG_STYLE_AND_COMPOSITION}  # by expand_style
_MOST_TILES = 16


class Apply(OldNode):
    """What all of them do; how many of its arguments a node has is a matter of its inputs."""

    RETURN_TYPES: ClassVar[tuple[str, ...]] = ("MODEL",)
    FUNCTION = "apply_ipadapter"
    CATEGORY = "ipadapter"
    PER_PICTURE: ClassVar[bool] = False

    def __init__(self) -> None:
        self.unfold_batch = self.PER_PICTURE

    def apply_ipadapter(
        self,
        model: Any,
        ipadapter: Any,
        start_at: Any = 0.0,
        end_at: Any = 1.0,
        weight: Any = 1.0,
        weight_style: Any = 1.0,
        weight_composition: Any = 1.0,
        expand_style: bool = False,
        weight_type: Any = "linear",
        combine_embeds: str = "concat",
        weight_faceidv2: float | None = None,
        image: Any = None,
        image_style: Any = None,
        image_composition: Any = None,
        image_negative: Any = None,
        clip_vision: Any = None,
        attn_mask: Any = None,
        insightface: Any = None,
        embeds_scaling: str = "V only",
        layer_weights: str | None = None,
        ipadapter_params: Any = None,
        encode_batch_size: int = 0,
        style_boost: float | None = None,
        composition_boost: float | None = None,
        enhance_tiles: int = 1,
        enhance_ratio: float = 1.0,
        weight_kolors: float = 1.0,
        **_ignored: Any,
    ) -> tuple[Any, Any]:
        if image_style is not None:
            image, weight = image_style, weight_style
            image_composition = image_style if image_composition is None else image_composition
            weight_type = _BOTH[bool(expand_style)]
        if style_boost is not None:
            weight_type = STYLE_PRECISE
        elif composition_boost is not None:
            weight_type = COMPOSITION_PRECISE
        wanted = Wanted(
            weight=weight,
            weight_type=weight_type,
            layer_weights=layer_weights,
            composition=weight_composition,
            boost=composition_boost if style_boost is None else style_boost,
            start=start_at,
            end=end_at,
            mask=attn_mask,
            scaling=embeds_scaling,
            per_picture=self.unfold_batch,
            structure=weight_faceidv2,
            text_scale=weight_kolors,
        )
        tiles = min(enhance_tiles, _MOST_TILES)
        looks = Looks(image_negative, combine_embeds, encode_batch_size, tiles, enhance_ratio)
        tools = tools_of(ipadapter, clip_vision, insightface)
        profile = self.profile
        if ipadapter_params is None:
            return applied(model, tools, image, looks, wanted, profile, image_composition)
        require_model("model", model)
        patched, crops = model.clone(), None
        for picture, each in _listed(ipadapter_params, wanted):
            patched, crops = applied(patched, tools, picture, looks, each, profile)
        return patched, crops


def tools_of(
    ipadapter: Any, clip_vision: Any = None, insightface: Any = None, encodes: bool = True
) -> Tools:
    """What came with the IPADAPTER, and what was connected instead of it.

    Args:
        encodes: there are pictures to encode.
    """
    adapter = adapter_of(ipadapter)
    encoder = encoder_of(ipadapter, clip_vision, encodes)
    reads = encodes and adapter.spec.needs_face
    return Tools(adapter, encoder, faces_of(ipadapter, insightface) if reads else None)


def _listed(params: Any, wanted: Wanted) -> list[tuple[Any, Wanted]]:
    """Each picture of an IPADAPTER_PARAMS with its own settings; entries without one are left."""
    lists = require_params(params)
    rows = zip(*(lists[name] for name in FIELDS), strict=True)
    return [
        (
            image,
            replace(wanted, weight=w, weight_type=kind, start=start, end=end, mask=mask),
        )
        for image, mask, w, kind, start, end in rows
        if image is not None
    ]


class IPAdapter(OldNode):
    """The short one, for a pipeline."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply_ipadapter"
    CATEGORY = "ipadapter"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                **model(),
                **weight(3),
                **window(),
                "weight_type": (list(_SHORT_TYPES),),
            },
            "optional": sockets("attn_mask"),
        }

    def apply_ipadapter(
        self,
        model: Any,
        ipadapter: Any,
        image: Any,
        weight: Any,
        start_at: float,
        end_at: float,
        weight_type: str,
        attn_mask: Any = None,
        **_ignored: Any,
    ) -> tuple[Any, Any]:
        if not is_pipeline(ipadapter):
            raise no_pipeline()
        weight_type = text("weight_type", weight_type)
        known = "style transfer" if weight_type.startswith("style") else weight_type
        wanted = Wanted(
            weight=weight,
            weight_type=_SHORT_TYPES.get(known, "linear"),
            start=start_at,
            end=end_at,
            mask=attn_mask,
        )
        return applied(model, tools_of(ipadapter), image, Looks(), wanted, self.profile)
