"""Base models by the widths of their attention layers: which ones adapters were published for.

A file fits a model only if it has its layers, one by one. Models distilled from SDXL keep its text
encoders and its name in most lists, and have fewer layers, so that no adapter for SDXL fits them.
"""

from __future__ import annotations

from typing import NamedTuple

from .spec import UNET_FAMILIES, Family


class Layers(NamedTuple):
    """What a model tells about its cross-attention.

    Attributes:
        context: width of the text.
        widths: of the queries of each layer, in the order of adapter files.
        projected: whether the text was wider and is projected by the model, as in Kolors.
    """

    context: int
    widths: tuple[int, ...]
    projected: bool = False


_SD = (*[320] * 2, *[640] * 2, *[1280] * 5, *[640] * 3, *[320] * 3, 1280)
_SDXL = (*[640] * 4, *[1280] * 50, *[640] * 6, *[1280] * 10)
_WHOLE = {
    Layers(768, _SD): Family.SD1,
    Layers(1024, _SD): Family.SD2,
    Layers(2048, _SDXL): Family.SDXL,
    Layers(2048, _SDXL, projected=True): Family.KOLORS,
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
}
_REFINER = 1280  # the width of its text, which no other model has
_PUBLISHED = (Family.SD1, Family.SDXL, Family.KOLORS)


def family_of(layers: Layers) -> Family | None:
    """The family a model's text belongs to, whether or not it has all layers of that."""
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
    if layers.context == _REFINER:
        return f"{none}: apply it to the SDXL base model, which runs before it"
    if family not in _PUBLISHED:
        return f"{none}: load an SD1.5 or SDXL checkpoint instead"
    return (
        f"{none}: load a whole {family.value} checkpoint instead, or start from the picture itself "
        "with VAE Encode and denoise below 1"
    )
