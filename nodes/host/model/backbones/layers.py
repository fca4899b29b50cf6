"""Which layers of a MODEL take image prompts."""

from __future__ import annotations

from functools import reduce

from .....ip_models.errors import WrongBase
from .....ip_models.layer import Layer
from .....ip_models.weights.vocabulary import Vocabulary
from ...protocols import Model
from .backbone import Backbone
from .flux import Flux
from .sd3 import StableDiffusion3
from .unet import Unet

BACKBONES: tuple[Backbone, ...] = (Unet(), Flux(), StableDiffusion3())
VOCABULARY = reduce(Vocabulary.joined, (backbone.vocabulary for backbone in BACKBONES))
"""What users may write and choose, whatever MODEL it will be for."""


def backbone_of(model: Model) -> Backbone:
    """The kind of diffusion model a MODEL is of.

    Raises:
        WrongBase: it is of none that takes image prompts, or something is in the way.
    """
    return found(model)[0]


def attention_layers(model: Model) -> tuple[Layer, ...]:
    """The layers of a MODEL that take image prompts, in checkpoint order.

    Raises:
        WrongBase: see `backbone_of`.
    """
    return found(model)[1]


def found(model: Model) -> tuple[Backbone, tuple[Layer, ...]]:
    """Both at once, which looks at the MODEL once.

    Raises:
        WrongBase: see `backbone_of`.
    """
    for backbone in BACKBONES:
        layers = backbone.layers(model)
        if layers:
            return backbone, layers
    raise no_unet(type(getattr(model, "model", model)).__name__)


def no_unet(base: str) -> WrongBase:
    """What to say of a model without cross-attention to text."""
    return WrongBase(
        f"this MODEL is {base}, for which there is no IP-Adapter",
        "SD1.5, SD2, SDXL, Kolors, Flux.1, Chroma and SD3.5 can be prompted with images",
        "Load a checkpoint of one of these families",
    )
