"""Apply nodes: pictures onto a copy of the MODEL."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...ip_models.inputs import no_link
from ...ip_models.references.features import ImageFeatures
from ...ip_models.weights.gains import Weights
from ...ip_models.weights.schedule import Ramp
from ...ip_models.weights.xflux_curves import XFLUX_CURVES, xflux_curve
from ..host.model.apply import Settings, apply
from ..host.protocols import Model, require_model
from .widgets import Inputs, PackNode, Table, number, put_on, require_own, window

_XFLUX: Inputs = {
    "model": ("MODEL",),
    "ip_adapter_flux": ("IP_ADAPTER_FLUX",),
    "image": ("IMAGE",),
}
_INSTANTX: Inputs = {
    "model": ("MODEL",),
    "ipadapter_flux": ("IP_ADAPTER_FLUX_INSTANTX",),
    "image": ("IMAGE",),
}
_OFFLOAD: Inputs = {
    "offload_preprocessing": (
        "BOOLEAN",
        {"default": True, "label_on": "enabled", "label_off": "disabled"},
    )
}


class ApplyFluxIPAdapter(PackNode):
    RETURN_TYPES = ("MODEL",)
    RETURN_NAMES = ("MODEL",)
    FUNCTION = "applymodel"
    CATEGORY = "XLabsNodes"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {**_XFLUX, "ip_scale": number(0.93, 0.0, 1.0, 0.001)}}

    def applymodel(
        self, model: Any, ip_adapter_flux: Any, image: Any, ip_scale: float = 0.93, **_ignored: Any
    ) -> tuple[Model]:
        return (put_on(model, ip_adapter_flux, image, Settings(scale=ip_scale)),)


class ApplyAdvancedFluxIPAdapter(PackNode):
    RETURN_TYPES = ("MODEL",)
    RETURN_NAMES = ("MODEL",)
    FUNCTION = "applymodel"
    CATEGORY = "XLabsNodes"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                **_XFLUX,
                "begin_strength": number(0.0, -100.0, 100.0, 0.01),
                "end_strength": number(1.0, -100.0, 100.0, 0.01),
                "smothing_type": (list(XFLUX_CURVES),),  # spelt so
            }
        }

    def applymodel(
        self,
        model: Any,
        ip_adapter_flux: Any,
        image: Any,
        begin_strength: float = 0.0,
        end_strength: float = 1.0,
        smothing_type: str = "Linear",
        **_ignored: Any,
    ) -> tuple[Model]:
        curve = xflux_curve(str(smothing_type), begin_strength, end_strength)
        settings = Settings(weights=Weights(blocks=(curve,)))
        return (put_on(model, ip_adapter_flux, image, settings),)


class ApplyIPAdapterFlux(PackNode):
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply_ipadapter_flux"
    CATEGORY = "InstantXNodes"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {**_INSTANTX, "weight": number(1.0, -1.0, 5.0, 0.05), **window()}}

    def apply_ipadapter_flux(
        self,
        model: Any,
        ipadapter_flux: Any,
        image: Any,
        weight: float = 1.0,
        start_percent: float = 0.0,
        end_percent: float = 1.0,
        **_ignored: Any,
    ) -> tuple[Model]:
        settings = Settings(weight, start_percent, end_percent)
        return (put_on(model, ipadapter_flux, image, settings),)


class ApplyIPAdapterFluxAdvanced(PackNode):
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply_ipadapter_flux_advanced"
    CATEGORY = "InstantXNodes"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                **_INSTANTX,
                "weight_start": number(0.0, -1.0, 5.0, 0.05),
                "weight_end": number(1.0, -1.0, 5.0, 0.05),
                "steps": ("INT", {"default": 10, "min": 1, "max": 100, "step": 1}),
                **window(),
            }
        }

    def apply_ipadapter_flux_advanced(
        self,
        model: Any,
        ipadapter_flux: Any,
        image: Any,
        weight_start: float = 0.0,
        weight_end: float = 1.0,
        steps: int = 10,
        start_percent: float = 0.0,
        end_percent: float = 1.0,
        **_ignored: Any,
    ) -> tuple[Model]:
        rise = [
            weight_start + (weight_end - weight_start) * i / (steps - 1) for i in range(steps - 1)
        ]
        ramp = Ramp(values=(*rise, weight_end))  # the last one goes on
        weights = Weights(steps=(ramp,))
        settings = Settings(1.0, start_percent, end_percent, weights=weights)
        return (put_on(model, ipadapter_flux, image, settings),)


class ApplyIPAdapterFluxChroma(ApplyIPAdapterFlux):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {**super().INPUT_TYPES()["required"], **_OFFLOAD}}


class ApplyIPAdapterFluxChromaAdvanced(ApplyIPAdapterFluxAdvanced):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {**super().INPUT_TYPES()["required"], **_OFFLOAD}}


class ApplyIPAdapterSD3(PackNode):
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply_ipadapter"
    CATEGORY = "InstantXNodes"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL",),
                "ipadapter": ("IP_ADAPTER_SD3_INSTANTX",),
                "image_embed": ("CLIP_VISION_OUTPUT",),
                "weight": number(1.0, -1.0, 5.0, 0.05),
                **window(0.01),
            }
        }

    def apply_ipadapter(
        self,
        model: Any,
        ipadapter: Any,
        image_embed: Any,
        weight: float = 1.0,
        start_percent: float = 0.0,
        end_percent: float = 1.0,
        **_ignored: Any,
    ) -> tuple[Model]:
        require_model("model", model)
        rows = getattr(image_embed, "penultimate_hidden_states", None)
        if not isinstance(rows, Tensor):
            raise no_link("image_embed", image_embed, "CLIP Vision Encode")
        rows = rows.float()
        features = ImageFeatures(None, rows, None, rows[:1] * 0, "CLIP Vision Encode")
        # Its percents are noise levels, counted down from 1.
        levels = (1 - start_percent, 1 - end_percent)
        settings = Settings(weight, levels=None if levels == (1, 0) else levels)
        return (apply(model, require_own(ipadapter).adapter, features, settings),)


TABLE = Table(
    {
        "ApplyFluxIPAdapter": ApplyFluxIPAdapter,
        "ApplyAdvancedFluxIPAdapter": ApplyAdvancedFluxIPAdapter,
        "ApplyIPAdapterFlux": ApplyIPAdapterFlux,
        "ApplyIPAdapterFluxAdvanced": ApplyIPAdapterFluxAdvanced,
        "ApplyIPAdapterFluxChroma": ApplyIPAdapterFluxChroma,
        "ApplyIPAdapterFluxChromaAdvanced": ApplyIPAdapterFluxChromaAdvanced,
        "ApplyIPAdapterSD3": ApplyIPAdapterSD3,
    },
    {
        "ApplyFluxIPAdapter": "Apply Flux IPAdapter",
        "ApplyAdvancedFluxIPAdapter": "Apply Advanced Flux IPAdapter",
        "ApplyIPAdapterFlux": "Apply IPAdapter Flux Model",
        "ApplyIPAdapterFluxAdvanced": "Apply IPAdapter Flux Model (Advanced)",
        "ApplyIPAdapterFluxChroma": "Apply IPAdapter Flux/Chroma Model",
        "ApplyIPAdapterFluxChromaAdvanced": "Apply IPAdapter Flux/Chroma Model Advanced",
        "ApplyIPAdapterSD3": "Apply IPAdapter SD3 Model",
    },
)
