"""Loaders: a preset for a MODEL, a file, and face models."""

from __future__ import annotations

from typing import Any, ClassVar

from ...ip_models.errors import MissingModel
from ..host.doctor.queued import refused
from ..host.files import folders
from ..host.protocols import require_model
from .objects.adapter_dict import AdapterDict
from .objects.faces import load_faces
from .objects.pipeline import Pipeline
from .objects.unified import LORAS, Kept, Wanted, load_all
from .steps.profile import Version
from .widgets import OldNode

_PROVIDERS = ["CPU", "CUDA", "ROCM"]
_PACK = "buffalo_l"


class UnifiedLoader(OldNode):
    PRESETS: ClassVar[list[str]] = [
        "LIGHT - SD1.5 only (low strength)",
        "STANDARD (medium strength)",
        "VIT-G (medium strength)",
        "PLUS (high strength)",
        "PLUS FACE (portraits)",
        "FULL FACE - SD1.5 only (portraits stronger)",
    ]
    RETURN_TYPES = ("MODEL", "IPADAPTER")
    RETURN_NAMES = ("model", "ipadapter")
    FUNCTION = "load_models"
    CATEGORY = "ipadapter"

    def __init__(self) -> None:
        self._kept = Kept(Pipeline())

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"model": ("MODEL",), "preset": (cls.PRESETS,), **cls._more()},
            "optional": {"ipadapter": ("IPADAPTER",)},
        }

    @classmethod
    def _more(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def IS_CHANGED(cls, **_: Any) -> str:
        return folders.fingerprint(folders.ADAPTERS) + folders.fingerprint(folders.ENCODERS)

    def load_models(
        self,
        model: Any,
        preset: str,
        lora_strength: float = 0.0,
        provider: str = "CPU",
        ipadapter: Any = None,
        **_ignored: Any,
    ) -> tuple[Any, Any]:
        require_model("model", model)
        wanted = Wanted(preset, lora_strength, provider)
        model, pipeline, self._kept = load_all(model, wanted, ipadapter, self._kept)
        return model, pipeline


class UnifiedLoaderFaceID(UnifiedLoader):
    PRESETS: ClassVar[list[str]] = [
        "FACEID",
        "FACEID PLUS - SD1.5 only",
        "FACEID PLUS V2",
        "FACEID PORTRAIT (style transfer)",
        "FACEID PORTRAIT UNNORM - SDXL only (strong)",
    ]
    RETURN_NAMES = ("MODEL", "ipadapter")
    CATEGORY = "ipadapter/faceid"

    @classmethod
    def _more(cls) -> dict[str, Any]:
        return {
            "lora_strength": ("FLOAT", {"default": 0.6, "min": 0, "max": 1, "step": 0.01}),
            "provider": ([*_PROVIDERS, "DirectML", "OpenVINO", "CoreML"],),
        }

    @classmethod
    def IS_CHANGED(cls, **values: Any) -> str:
        return super().IS_CHANGED(**values) + folders.fingerprint(LORAS)


class UnifiedLoaderCommunity(UnifiedLoader):
    PRESETS: ClassVar[list[str]] = ["Composition", "Kolors"]
    CATEGORY = "ipadapter/loaders"


class ModelLoader(OldNode):
    RETURN_TYPES = ("IPADAPTER",)
    FUNCTION = "load_ipadapter_model"
    CATEGORY = "ipadapter/loaders"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"ipadapter_file": (folders.files(folders.ADAPTERS),)}}

    @classmethod
    def VALIDATE_INPUTS(cls, ipadapter_file: Any = None) -> bool | str:
        """In place of the host's check, which takes this platform's separator only."""
        try:
            return ipadapter_file is None or bool(path_of(ipadapter_file))
        except MissingModel as error:
            return refused(error)

    @classmethod
    def IS_CHANGED(cls, ipadapter_file: Any = None, **_: Any) -> str:
        return folders.fingerprint(
            folders.ADAPTERS, folders.in_place(folders.ADAPTERS, ipadapter_file)
        )

    def load_ipadapter_model(self, ipadapter_file: str, **_ignored: Any) -> tuple[AdapterDict]:
        return (AdapterDict(path_of(ipadapter_file)),)


def path_of(name: Any) -> str:
    """The file of an adapter that a workflow names.

    Raises:
        MissingModel: there is none of this name.
    """
    return folders.resolve(folders.ADAPTERS, folders.in_place(folders.ADAPTERS, name))


class FaceModelsLoader(OldNode):
    RETURN_TYPES = ("INSIGHTFACE",)
    FUNCTION = "load_insightface"
    CATEGORY = "ipadapter/loaders"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"provider": (_PROVIDERS,), "model_name": ([_PACK, "antelopev2"],)}}

    def load_insightface(
        self, provider: str, model_name: str = _PACK, **_ignored: Any
    ) -> tuple[Any]:
        return (load_faces(provider, model_name),)


class FaceModelsLoaderV1(OldNode):
    VERSION = Version.ONE
    RETURN_TYPES = ("INSIGHTFACE",)
    FUNCTION = "load_insight_face"
    CATEGORY = "ipadapter"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"provider": (_PROVIDERS,)}}

    def load_insight_face(self, provider: str, **_ignored: Any) -> tuple[Any]:
        return (load_faces(provider, _PACK),)


NODES: dict[str, type[OldNode]] = {
    "IPAdapterUnifiedLoader": UnifiedLoader,
    "IPAdapterUnifiedLoaderFaceID": UnifiedLoaderFaceID,
    "IPAdapterUnifiedLoaderCommunity": UnifiedLoaderCommunity,
    "IPAdapterModelLoader": ModelLoader,
    "IPAdapterInsightFaceLoader": FaceModelsLoader,
    "InsightFaceLoader": FaceModelsLoaderV1,
}
TITLES: dict[str, str] = {
    "IPAdapterUnifiedLoader": "IPAdapter Unified Loader",
    "IPAdapterUnifiedLoaderFaceID": "IPAdapter Unified Loader FaceID",
    "IPAdapterUnifiedLoaderCommunity": "IPAdapter Unified Loader Community",
    "IPAdapterModelLoader": "IPAdapter Model Loader",
    "IPAdapterInsightFaceLoader": "IPAdapter InsightFace Loader",
    "InsightFaceLoader": "Load InsightFace",
}
