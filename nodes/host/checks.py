"""What may come to each input of a node: what is typed, and what comes by a link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...ip_models.attention.masks import require_mask
from ...ip_models.attention_maps.view import AttentionView
from ...ip_models.errors import BadInput
from ...ip_models.inputs import listed, numbers_within, require, shown, switch, text, whole, within
from ...ip_models.pictures.fit import require_images
from ...ip_models.references.features import Features, Regions
from ...ip_models.weights.gains import Weights as LayerWeights
from .face.encode import engine_of
from .model.adapter import LoadedAdapter
from .protocols import require_conditioning, require_encoder, require_latent, require_model

Adapter = io.Custom("IP_ADAPTER")
Embeds = io.Custom("IPA_EMBEDS")
Weights = io.Custom("IPA_WEIGHTS")
FaceModels = io.Custom("IPA_FACE_MODELS")
Attention = io.Custom("IPA_ATTENTION")


class Numbers(io.Float.Input):
    """A number, or a list of numbers where other packs give one on a FLOAT link."""


def face_models_input(**more: Any) -> Any:
    """Face models of this pack, or those of another."""
    types = [FaceModels, io.Custom("INSIGHTFACE"), io.Custom("FACEANALYSIS")]
    return io.MultiType.Input("face_models", types=types, **more)


_MOST_DIGITS = 4  # of the number in the name of an input


def by_number(inputs: object, prefix: str) -> dict[int, Any]:
    """What is connected to an Autogrow, by the number in the name of the input, in order.

    Raises:
        BadInput: it is one link instead of inputs with numbers.
    """
    needed = f"inputs called {prefix}0, {prefix}1 and so on are needed"
    if inputs is not None and not isinstance(inputs, dict):
        raise BadInput(f"{prefix} is one link", needed, f"Write the link as {prefix}0")
    numbers: dict[int, Any] = {}
    for name, value in (inputs or {}).items():
        number = str(name).removeprefix(prefix)
        if not number.isdecimal() or len(number) > _MOST_DIGITS:
            found = f"{prefix} has an input called {shown(name)}"
            raise BadInput(found, needed, f"Call it {prefix}0")
        if value is not None:
            numbers[int(number)] = value
    return dict(sorted(numbers.items()))


def right(one: Any, name: str, value: Any) -> Any:
    """The value of an input, if it is one.

    Raises:
        BadInput: it is not.
    """
    if isinstance(one, io.Autogrow.Input):
        prefix = one.template.prefix
        for number, link in by_number(value, prefix).items():
            right(one.template.input, f"{prefix}{number}", link)
        return value
    sort = one.get_io_type()
    if sort in _WIDGETS:
        return _WIDGETS[sort](one, name, value)
    _SOCKETS[sort](name, value)
    return value


def right_list(one: Any, name: str, values: Any) -> Any:
    """The same for a node that gets all values of a list at once."""
    if isinstance(one, io.Autogrow.Input):
        prefix = one.template.prefix
        for number, links in by_number(values, prefix).items():
            right_list(one.template.input, f"{prefix}{number}", links)
        return values
    each: list[Any] = values if isinstance(values, list) else [values]
    return [right(one, name, value) for value in each]


def _float(one: Any, name: str, value: Any) -> float | tuple[float, ...]:
    check = numbers_within if isinstance(one, Numbers) else within
    return check(name, value, one.min, one.max)


_WIDGETS: dict[str, Callable[[Any, str, Any], Any]] = {
    "BOOLEAN": lambda _, name, value: switch(name, value),
    "COMBO": lambda one, name, value: listed(name, value, one.options),
    "FLOAT": _float,
    "INT": lambda one, name, value: whole(name, value, one.min, one.max),
    "STRING": lambda _, name, value: text(name, value),
}


def _image(name: str, value: Any) -> None:
    require(name, value, Tensor, "a node with an IMAGE")
    require_images(value, name)


def _mask(name: str, value: Any) -> None:
    require(name, value, Tensor, "a node with a MASK")
    require_mask(value, name)


_SOCKETS: dict[str, Callable[[str, Any], object]] = {
    "MODEL": require_model,
    "CLIP_VISION": lambda _, value: require_encoder(value),
    "CONDITIONING": require_conditioning,
    "LATENT": lambda _, value: require_latent(value),
    "IMAGE": _image,
    "MASK": _mask,
    Adapter.io_type: lambda name, value: require(name, value, LoadedAdapter, "Load IP-Adapter"),
    Embeds.io_type: lambda name, value: require(
        name, value, Features | Regions, "Encode Image, Encode Face or Regions"
    ),
    Weights.io_type: lambda name, value: require(
        name, value, LayerWeights, "Block Weights or Schedule"
    ),
    Attention.io_type: lambda name, value: require(name, value, AttentionView, "Attention View"),
    face_models_input().get_io_type(): lambda _, value: engine_of(value),
}
