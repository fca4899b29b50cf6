"""What an adapter is: the facts that decide how it is built, fed and applied."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .errors import UnsupportedAdapter


class Family(str, Enum):
    """The base model an adapter was trained for."""

    SD1 = "SD1.5"
    SD2 = "SD2"
    SDXL = "SDXL"
    KOLORS = "Kolors"
    FLUX = "Flux"
    SD3 = "SD3.5"


class Kind(str, Enum):
    """How an adapter turns image features into tokens."""

    STANDARD = "standard"
    PLUS = "plus"
    FULL_FACE = "full face"
    FACEID = "FaceID"
    FACEID_PLUS = "FaceID plus"
    PORTRAIT = "FaceID portrait"
    PORTRAIT_UNNORMED = "FaceID portrait unnormed"
    XLABS = "XLabs"
    INSTANTX = "InstantX"


class Feature(str, Enum):
    """Which output of the encoder an adapter reads."""

    POOLED = "pooled"
    PENULTIMATE = "penultimate"
    IDENTITY = "identity"


ENCODER_NAMES: dict[tuple[Feature, int], str] = {
    (Feature.POOLED, 1024): "ViT-H",
    (Feature.POOLED, 1280): "ViT-bigG",
    (Feature.POOLED, 768): "ViT-L",
    (Feature.POOLED, 1152): "SigLIP",
    (Feature.PENULTIMATE, 1280): "ViT-H",
    (Feature.PENULTIMATE, 1664): "ViT-bigG",
    (Feature.PENULTIMATE, 1024): "ViT-L",
    (Feature.PENULTIMATE, 1152): "SigLIP",
    (Feature.IDENTITY, 512): "face",
}
UNET_FAMILIES = {768: Family.SD1, 1024: Family.SD2, 2048: Family.SDXL}
_CLIP_KINDS = (Kind.STANDARD, Kind.PLUS, Kind.FULL_FACE)


@dataclass(frozen=True)
class AdapterSpec:
    """Everything shapes tell about an adapter.

    Attributes:
        tokens: image tokens for one reference; for full face, those of a 224 px encoder.
        feature: encoder output that is read; `feature_width` is its last dimension.
        context_width: width of the text context of the base model.
        layers: index in the file of each attention layer, ascending.
        layer_widths: query width of each of those layers, in the same order.
        encoder: common name of the encoder with such features, e.g. "ViT-H".
        has_lora: the file carries a LoRA for the base model.
    """

    family: Family
    kind: Kind
    tokens: int
    feature: Feature
    feature_width: int
    context_width: int
    layers: tuple[int, ...]
    layer_widths: tuple[int, ...]
    encoder: str
    has_lora: bool

    @property
    def supported(self) -> bool:
        """Whether this version of the pack can apply such an adapter."""
        return self.family in UNET_FAMILIES.values() and self.kind in _CLIP_KINDS

    def describe(self) -> str:
        """One line for people, e.g. "SD1.5, plus, 16 tokens, 16 layers, needs ViT-H"."""
        return (
            f"{self.family.value}, {self.kind.value}, {self.tokens} tokens, "
            f"{len(self.layers)} layers, needs {self.encoder} ({self.feature.value} features, "
            f"{self.feature_width} wide)"
        )


def require_supported(spec: AdapterSpec, name: str) -> None:
    """Refuse, by name, an adapter that is recognised but cannot be applied yet.

    Raises:
        UnsupportedAdapter: always, unless `spec.supported`.
    """
    if not spec.supported:
        raise UnsupportedAdapter(
            f"{name} is a {spec.family.value} adapter of kind {spec.kind.value}",
            "this version applies standard, plus and full face adapters of SD1.5, SD2 and SDXL",
            "Choose one of those, or update this pack",
        )
