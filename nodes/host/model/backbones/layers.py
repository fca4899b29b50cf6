"""Which attention layers of a MODEL take image prompts."""

from __future__ import annotations

from .....ip_models.errors import WrongBase
from ...protocols import Model
from .unet import AttentionLayer, TextProjection, read_depths, read_unet, text_projection

__all__ = [
    "AttentionLayer",
    "TextProjection",
    "attention_depths",
    "attention_layers",
    "no_unet",
    "text_projection",
]


def attention_layers(model: Model) -> list[AttentionLayer]:
    """The cross-attention layers of a MODEL in checkpoint order.

    Raises:
        WrongBase: it has none, so it is no UNet.
    """
    layers = read_unet(model)
    if not layers:
        raise no_unet(type(getattr(model, "model", model)).__name__)
    return layers


def attention_depths(model: Model) -> list[int]:
    """For each of these layers, how often the latent is halved before it.

    Raises:
        WrongBase: there are none.
    """
    attention_layers(model)
    return read_depths(model)


def no_unet(base: str) -> WrongBase:
    """What to say of a model without cross-attention to text."""
    return WrongBase(
        f"this MODEL is of class {base} and has no cross-attention to text",
        "SD1.5, SD2 and SDXL UNets, that of Kolors too, can be prompted with images",
        "Load a checkpoint of one of these families",
    )
