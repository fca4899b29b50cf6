"""What an adapter is: the facts that decide how it is built, fed and applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ..errors import UnsupportedAdapter
from ..layer import Layer


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


class Identity(str, Enum):
    """In which form a face recogniser's output is read."""

    NORMED = "normed"
    RAW = "raw"


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
IDENTITY_WIDTH = 512
KOLORS_TEXT_WIDTH = 4096  # of ChatGLM, before the UNet's encoder_hid_proj
UNET_FAMILIES = {768: Family.SD1, 1024: Family.SD2, 2048: Family.SDXL}
_STAGES = {
    (Family.FLUX, Kind.XLABS): ("double",),
    (Family.FLUX, Kind.INSTANTX): ("double", "single"),
    (Family.SD3, Kind.INSTANTX): ("joint",),
}
_CLIP_KINDS = (Kind.STANDARD, Kind.PLUS, Kind.FULL_FACE)
FACE_KINDS = (Kind.FACEID, Kind.FACEID_PLUS, Kind.PORTRAIT, Kind.PORTRAIT_UNNORMED)


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
        if self.family is Family.KOLORS:
            return self.kind in (Kind.PLUS, Kind.FACEID_PLUS)
        if self.family in (Family.FLUX, Family.SD3):
            return bool(self.stages)
        return self.family in UNET_FAMILIES.values() and self.kind in _CLIP_KINDS + FACE_KINDS

    @property
    def stages(self) -> tuple[str, ...]:
        """The parts of a transformer whose blocks it has layers for, see `Layer.stage`."""
        return _STAGES.get((self.family, self.kind), ())

    def of(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        """Those of a model's layers that it has its own for, by the stage they are in."""
        return tuple(one for one in layers if not self.stages or one.stage in self.stages)

    @property
    def streamed(self) -> bool:
        """Whether its weights stay in the file, read layer by layer: gigabytes, used once."""
        return self.family is Family.FLUX

    @property
    def timed(self) -> bool:
        """Whether its keys and values depend on the noise level."""
        return self.family is Family.SD3

    @property
    def needs_face(self) -> bool:
        """Whether it reads who a face belongs to."""
        return self.kind in FACE_KINDS

    @property
    def needs_encoder(self) -> bool:
        """Whether it reads an image encoder, be it of a whole picture or of the face in it."""
        return self.feature is not Feature.IDENTITY

    @property
    def identity(self) -> Identity | None:
        """In which form the face is read, None if it is not."""
        if not self.needs_face:
            return None
        raw = self.kind is Kind.PORTRAIT_UNNORMED or self.family is Family.KOLORS
        return Identity.RAW if raw else Identity.NORMED

    @property
    def through_text_projection(self) -> bool:
        """Whether its tokens are as wide as the text encoder's, and projected as the text is."""
        return self.family is Family.KOLORS and self.kind is Kind.FACEID_PLUS

    @property
    def token_width(self) -> int:
        """Width of an image token as the image projection gives it."""
        return KOLORS_TEXT_WIDTH if self.through_text_projection else self.context_width

    @property
    def needs(self) -> str:
        """What its references are made with, e.g. "ViT-H and a face"."""
        if not self.needs_face:
            return self.encoder
        return f"{self.encoder} and a face" if self.needs_encoder else "a face"

    def describe(self) -> str:
        """One line for people, e.g. "SD1.5, plus, 16 tokens, needs ViT-H"."""
        twin = "; InstantID looks the same" if self.kind is Kind.PORTRAIT_UNNORMED else ""
        tokens = f"{self.tokens} tokens"
        return f"{self.family.value}, {self.kind.value}, {tokens}, needs {self.needs}{twin}"

    def details(self) -> str:
        """What whoever looks closer asks for, e.g. "16 layers, penultimate features, 1280 wide"."""
        features = f"{self.feature.value} features, {self.feature_width} wide"
        return f"{len(self.layers)} layers, {features}"


def require_supported(spec: AdapterSpec, name: str) -> None:
    """Refuse, by name, an adapter that is recognised but cannot be applied yet.

    Raises:
        UnsupportedAdapter: always, unless `spec.supported`.
    """
    if not spec.supported:
        raise UnsupportedAdapter(
            f"{name} is a {spec.family.value} adapter of kind {spec.kind.value}",
            "adapters of SD1.5, SD2, SDXL, Kolors, Flux and SD3.5 can be applied",
            "Choose one of those, or update this pack",
        )
