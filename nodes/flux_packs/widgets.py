"""What these nodes share: their base, their adapter on a link, and inputs that come again.

Names, order, defaults and ranges are those of XLabs-AI/x-flux-comfyui @ 0032855,
Shakker-Labs/ComfyUI-IPAdapter-Flux @ eef22b6, Slickytail/ComfyUI-InstantX-IPAdapter-SD3 @ 9f9a9a8
and TK3R/ComfyUI-IPAdapter-FluxChroma @ bddbc19.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from ...ip_models.errors import BadInput
from ...ip_models.inputs import require, shown
from ...ip_models.pictures.fit import Fit
from ..host.encoder.encode import Reference, encode
from ..host.model.adapter import LoadedAdapter
from ..host.model.apply import Settings, apply
from ..host.protocols import Model, require_model
from ..plus.steps.checks import checked

Inputs = dict[str, tuple[Any, ...]]


class PackNode:
    """A node under a name of one of these packs; tells this pack's from theirs."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        name = getattr(cls, "FUNCTION", "")
        if name in vars(cls):
            setattr(cls, name, checked(vars(cls)[name]))


class Table(NamedTuple):
    """Nodes of a module by their names, and what the editor calls them."""

    nodes: dict[str, type[PackNode]]
    titles: dict[str, str]


@dataclass(frozen=True)
class PackAdapter:
    """What the sockets of these packs carry here.

    Attributes:
        encoder: that reads pictures for it, None where they come encoded.
    """

    adapter: LoadedAdapter
    encoder: Any = None


def number(default: float, least: float, most: float, step: float) -> tuple[Any, ...]:
    """A FLOAT."""
    return "FLOAT", {"default": default, "min": least, "max": most, "step": step}


def window(step: float = 0.001) -> Inputs:
    """The part of the run."""
    return {
        "start_percent": number(0.0, 0.0, 1.0, step),
        "end_percent": number(1.0, 0.0, 1.0, step),
    }


def put_on(model: Any, held: Any, image: Any, settings: Settings) -> Model:
    """A copy of the MODEL that hears pictures.

    Raises:
        IPAdapterError: a link carries something else, or the parts do not go together.
    """
    require_model("model", model)
    own = require_own(held)
    require("image", image, Tensor, "an IMAGE")
    features = encode(own.encoder, Reference(image, Fit.CROP_CENTRE))
    return apply(model, own.adapter, features, settings)


def require_own(held: Any) -> PackAdapter:
    """An adapter that a loader of these nodes has loaded.

    Raises:
        BadInput: it is that of another pack.
    """
    if isinstance(held, PackAdapter):
        return held
    raise BadInput(
        f"the adapter is {shown(held)} that another pack's loader has made",
        "the loader of the same name of this pack is needed",
        "Take out that pack, or use Load IP-Adapter and Apply IP-Adapter",
    )
