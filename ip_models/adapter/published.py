"""Files that were published, for messages that say what to get, where to put it and for what.

A file fits a base model only if it has its layers, one by one. Models distilled from SDXL keep its
text encoders and its name in most lists, and have fewer layers, so that none for SDXL fits them.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from .spec import UNET_FAMILIES, AdapterSpec, Family, Kind


class Choice(str, Enum):
    """What a user asks for; some kinds differ in training only, not in shape."""

    STANDARD = "standard"
    LIGHT = "light"
    VIT_G = "ViT-G"
    PLUS = "plus"
    PLUS_FACE = "plus face"
    FULL_FACE = "full face"
    COMPOSITION = "composition"
    FACEID = "FaceID"
    FACEID_PLUS = "FaceID plus"
    FACEID_PLUS_V2 = "FaceID plus v2"
    PORTRAIT = "FaceID portrait"
    PORTRAIT_UNNORMED = "FaceID portrait unnormed"
    XLABS = "XLabs"
    XLABS_V2 = "XLabs v2"
    INSTANTX = "InstantX"


class Rule(NamedTuple):
    """How a choice is recognised: by kind, then by a word in the file name, then by encoder.

    Attributes:
        shortcut: for FaceID plus, whether version 2 is meant.
        tokens: image tokens of a reference, where versions differ in that.
    """

    kind: Kind
    word: str | None = None
    encoder: str | None = None
    shortcut: bool | None = None
    tokens: int | None = None


RULES: dict[Choice, Rule] = {
    Choice.STANDARD: Rule(Kind.STANDARD),
    Choice.LIGHT: Rule(Kind.STANDARD, word="light"),
    Choice.VIT_G: Rule(Kind.STANDARD, encoder="ViT-bigG"),
    Choice.PLUS: Rule(Kind.PLUS),
    Choice.PLUS_FACE: Rule(Kind.PLUS, word="face"),
    Choice.FULL_FACE: Rule(Kind.FULL_FACE),
    Choice.COMPOSITION: Rule(Kind.PLUS, word="composition"),
    Choice.FACEID: Rule(Kind.FACEID),
    Choice.FACEID_PLUS: Rule(Kind.FACEID_PLUS, shortcut=False),
    Choice.FACEID_PLUS_V2: Rule(Kind.FACEID_PLUS, shortcut=True),
    Choice.PORTRAIT: Rule(Kind.PORTRAIT),
    Choice.PORTRAIT_UNNORMED: Rule(Kind.PORTRAIT_UNNORMED),
    Choice.XLABS: Rule(Kind.XLABS, tokens=4),
    Choice.XLABS_V2: Rule(Kind.XLABS, tokens=16),
    Choice.INSTANTX: Rule(Kind.INSTANTX),
}
_VERSION_2 = re.compile(r"plus[^a-z0-9]?v2(?![0-9])|(?<![a-z0-9])v2(?![a-z0-9])", re.IGNORECASE)
_INSTANT_ID = re.compile(r"instant[^a-z0-9]?id(?![a-z])", re.IGNORECASE)

_HUB = "https://huggingface.co"
_H94 = f"{_HUB}/h94/IP-Adapter/resolve/main"
_FACE = f"{_HUB}/h94/IP-Adapter-FaceID/resolve/main/ip-adapter-faceid"
_KOLORS = f"{_HUB}/Kwai-Kolors/Kolors-IP-Adapter"
_XLABS = f"{_HUB}/XLabs-AI/flux-ip-adapter"
_OSTRIS = f"{_HUB}/ostris/ip-composition-adapter/resolve/main"

ADAPTER_ADDRESSES: dict[tuple[Family, Choice], str] = {
    (Family.SD1, Choice.STANDARD): f"{_H94}/models/ip-adapter_sd15.safetensors",
    (Family.SD1, Choice.LIGHT): f"{_H94}/models/ip-adapter_sd15_light_v11.bin",
    (Family.SD1, Choice.VIT_G): f"{_H94}/models/ip-adapter_sd15_vit-G.safetensors",
    (Family.SD1, Choice.PLUS): f"{_H94}/models/ip-adapter-plus_sd15.safetensors",
    (Family.SD1, Choice.PLUS_FACE): f"{_H94}/models/ip-adapter-plus-face_sd15.safetensors",
    (Family.SD1, Choice.FULL_FACE): f"{_H94}/models/ip-adapter-full-face_sd15.safetensors",
    (Family.SD1, Choice.COMPOSITION): f"{_OSTRIS}/ip_plus_composition_sd15.safetensors",
    (Family.SDXL, Choice.STANDARD): f"{_H94}/sdxl_models/ip-adapter_sdxl_vit-h.safetensors",
    (Family.SDXL, Choice.VIT_G): f"{_H94}/sdxl_models/ip-adapter_sdxl.safetensors",
    (Family.SDXL, Choice.PLUS): f"{_H94}/sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors",
    (Family.SDXL, Choice.PLUS_FACE): (
        f"{_H94}/sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors"
    ),
    (Family.SDXL, Choice.COMPOSITION): f"{_OSTRIS}/ip_plus_composition_sdxl.safetensors",
    (Family.SD1, Choice.FACEID): f"{_FACE}_sd15.bin",
    (Family.SD1, Choice.FACEID_PLUS): f"{_FACE}-plus_sd15.bin",
    (Family.SD1, Choice.FACEID_PLUS_V2): f"{_FACE}-plusv2_sd15.bin",
    (Family.SD1, Choice.PORTRAIT): f"{_FACE}-portrait-v11_sd15.bin",
    (Family.SDXL, Choice.FACEID): f"{_FACE}_sdxl.bin",
    (Family.SDXL, Choice.FACEID_PLUS_V2): f"{_FACE}-plusv2_sdxl.bin",
    (Family.SDXL, Choice.PORTRAIT): f"{_FACE}-portrait_sdxl.bin",
    (Family.SDXL, Choice.PORTRAIT_UNNORMED): f"{_FACE}-portrait_sdxl_unnorm.bin",
    (Family.KOLORS, Choice.PLUS): f"{_KOLORS}-Plus/resolve/main/ip_adapter_plus_general.bin",
    (Family.KOLORS, Choice.FACEID_PLUS_V2): (
        f"{_KOLORS}-FaceID-Plus/resolve/main/ipa-faceid-plus.bin"
    ),
    (Family.FLUX, Choice.XLABS): f"{_XLABS}/resolve/main/ip_adapter.safetensors",
    (Family.FLUX, Choice.XLABS_V2): f"{_XLABS}-v2/resolve/main/ip_adapter.safetensors",
    (Family.FLUX, Choice.INSTANTX): (
        f"{_HUB}/InstantX/FLUX.1-dev-IP-Adapter/resolve/main/ip-adapter.bin"
    ),
    (Family.SD3, Choice.INSTANTX): (
        f"{_HUB}/InstantX/SD3.5-Large-IP-Adapter/resolve/main/ip-adapter.bin"
    ),
}

# Under which names to keep files that were published under the same one, as the examples do.
ADAPTER_NAMES: dict[tuple[Family, Choice], str] = {
    (Family.FLUX, Choice.XLABS): "flux_xlabs_ip_adapter.safetensors",
    (Family.FLUX, Choice.XLABS_V2): "flux_xlabs_v2_ip_adapter.safetensors",
    (Family.FLUX, Choice.INSTANTX): "flux_instantx_ip-adapter.bin",
    (Family.SD3, Choice.INSTANTX): "sd35_instantx_ip-adapter.bin",
}
# Those that do not let everybody do everything.
ADAPTER_LICENCES: dict[tuple[Family, Choice], str] = {
    (Family.FLUX, Choice.XLABS): "FLUX.1 [dev] non-commercial",
    (Family.FLUX, Choice.INSTANTX): "FLUX.1 [dev] non-commercial",
    (Family.SD3, Choice.INSTANTX): "Stability AI community",
}

ENCODER_ADDRESSES: dict[str, tuple[str, str]] = {
    "ViT-H": (
        "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
        f"{_H94}/models/image_encoder/model.safetensors",
    ),
    "ViT-bigG": (
        "CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors",
        f"{_H94}/sdxl_models/image_encoder/model.safetensors",
    ),
    "ViT-L": (
        "clip-vit-large-patch14.safetensors",
        f"{_HUB}/openai/clip-vit-large-patch14/resolve/main/model.safetensors",
    ),
    "ViT-L 336": (
        "clip-vit-large-patch14-336.bin",
        f"{_KOLORS}-Plus/resolve/main/image_encoder/pytorch_model.bin",
    ),
    "SigLIP": (
        "sigclip_vision_patch14_384.safetensors",
        f"{_HUB}/Comfy-Org/sigclip_vision_384/resolve/main/sigclip_vision_patch14_384.safetensors",
    ),
}


def shortcut(spec: AdapterSpec, name: str) -> bool:
    """Whether a FaceID plus file is of version 2, whose tokens of the identity are kept.

    Version 1 exists for SD1.5 only, where the two differ in nothing but the name of the file.
    """
    if spec.kind is not Kind.FACEID_PLUS:
        return False
    return spec.family is not Family.SD1 or bool(_VERSION_2.search(name))


def rank(choice: Choice, spec: AdapterSpec, name: str) -> int | None:
    """How well a file answers a choice: 0 is best, None is not at all.

    The file name counts only between files whose shapes are the same, and only whole words of it.
    """
    rule = RULES[choice]
    if spec.kind is not rule.kind or (rule.encoder and spec.encoder != rule.encoder):
        return None
    if spec.kind is Kind.PORTRAIT_UNNORMED and _INSTANT_ID.search(name):
        return None
    if rule.tokens is not None and spec.tokens != rule.tokens:
        return None
    if rule.shortcut is not None and rule.shortcut is not shortcut(spec, name):
        # Where there is one version only, it stands in for the other.
        return 1 if spec.family is not Family.SD1 else None
    known = (other.word for other in RULES.values() if other.kind is spec.kind and other.word)
    words = set(known) & set(re.split(r"[^a-z0-9]+", name.lower()))
    if words != ({rule.word} if rule.word else set[str]()):
        return None
    # Where the encoder is not asked for, ViT-H is meant; a ViT-bigG file may stand in.
    return int(rule.encoder is None and spec.encoder == "ViT-bigG")


def choice_of(spec: AdapterSpec, name: str) -> Choice | None:
    """What one would choose to get this file, its version too; None for what nobody published."""
    ranked = [(place, one) for one in RULES if (place := rank(one, spec, name)) is not None]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


class Layers(NamedTuple):
    """What a model tells about its cross-attention.

    Attributes:
        context: width of the text, 0 where adapters bring tokens of a width of their own.
        widths: of the queries of each layer, in the order of adapter files.
        projected: whether the text was wider and is projected by the model, as in Kolors.
        stages: the parts of a transformer that the layers are in, see `Layer.stage`; empty for
            UNets, whose widths say as much.
    """

    context: int
    widths: tuple[int, ...]
    projected: bool = False
    stages: tuple[str, ...] = ()


def _flux_like(width: int, double: int, single: int) -> Layers:
    stages = ("double",) * double + ("single",) * single
    return Layers(0, (width,) * len(stages), False, stages)


def _sd3_like(width: int, joint: int) -> Layers:
    return Layers(0, (width,) * joint, False, ("joint",) * joint)


_SD = (*[320] * 2, *[640] * 2, *[1280] * 5, *[640] * 3, *[320] * 3, 1280)
_SDXL = (*[640] * 4, *[1280] * 50, *[640] * 6, *[1280] * 10)
_WHOLE = {
    Layers(768, _SD): Family.SD1,
    Layers(1024, _SD): Family.SD2,
    Layers(2048, _SDXL): Family.SDXL,
    Layers(2048, _SDXL, projected=True): Family.KOLORS,
    _flux_like(3072, 19, 38): Family.FLUX,
    _sd3_like(2432, 38): Family.SD3,
}
# As ComfyUI 0.33 knows them; the order is that of whole models: down, up, middle.
_OTHERS = {
    Layers(2048, (*[640] * 4, *[1280] * 26, *[640] * 4)): "SSD-1B",
    Layers(2048, (*[640] * 2, *[1280] * 10, *[640] * 3)): "Segmind Vega",
    Layers(2048, (*[640] * 2, *[1280] * 15, *[640] * 4)): "KOALA 700M",
    Layers(2048, (*[640] * 2, *[1280] * 18, *[640] * 4, *[1280] * 6)): "KOALA 1B",
    Layers(1280, (*[768] * 8, *[1536] * 20, *[768] * 12, *[1536] * 4)): "the SDXL refiner",
    Layers(1024, (320, 640, *[1280] * 3, *[640] * 2, *[320] * 2)): "SDXS 0.9",
    Layers(768, (640, *[1280] * 3, *[640] * 2)): "SDXS",
    _flux_like(6144, 8, 48): "Flux.2 dev",
    _flux_like(3072, 5, 20): "Flux.2 klein 4B",
    _flux_like(4096, 8, 24): "Flux.2 klein 9B",
    _flux_like(3072, 10, 20): "LongCat-Image",
    _sd3_like(1536, 24): "SD3 Medium or SD3.5 Medium",
}
_REFINER = 1280  # the width of its text, which no other model has
_PUBLISHED = (Family.SD1, Family.SDXL, Family.KOLORS, Family.FLUX, Family.SD3)
_TRANSFORMERS = {"double": Family.FLUX, "single": Family.FLUX, "joint": Family.SD3}


def family_of(layers: Layers) -> Family | None:
    """The family a model's text belongs to, whether or not it has all layers of that."""
    if layers.stages:
        return _TRANSFORMERS.get(layers.stages[0])
    return Family.KOLORS if layers.projected else UNET_FAMILIES.get(layers.context)


def is_known(layers: Layers) -> bool:
    """Whether a model of just these layers is known by its name."""
    return layers in _WHOLE or layers in _OTHERS


def published_family(layers: Layers) -> Family | None:
    """The family whose published adapters fit a model, None where none was published for it."""
    family = _WHOLE.get(layers)
    return family if family in _PUBLISHED else None


def base_name(layers: Layers) -> str:
    """What a model is called: "SSD-1B", or its family, whether or not it has all layers of that."""
    family = family_of(layers)
    return _OTHERS.get(layers) or (family.value if family else "of an unknown family")


def instead(layers: Layers) -> str:
    """What to do with a model no adapter was published for."""
    family = family_of(layers)
    whose = _OTHERS.get(layers) or (family.value if layers in _WHOLE and family else "")
    none = f"No adapter was published for {whose or 'a MODEL with these layers'}"
    if layers.stages:
        return (
            f"{none}: load FLUX.1 (dev, schnell, Kontext, Fill, Krea), Chroma or SD3.5 Large "
            "instead, all blocks of it"
        )
    if layers.context == _REFINER:
        return f"{none}: apply it to the SDXL base model, which runs before it"
    if family is None or family not in _PUBLISHED:
        return f"{none}: load an SD1.5 or SDXL checkpoint instead"
    return (
        f"{none}: load a whole {family.value} checkpoint instead, or start from the picture itself "
        "with VAE Encode and denoise below 1"
    )
