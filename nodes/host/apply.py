"""Adapter, features and settings onto a MODEL, after everything has been checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...ip_models.errors import BadInput, WrongBase, WrongEncoder
from ...ip_models.features import ImageFeatures
from ...ip_models.keyvalue import KeyValues
from ...ip_models.masks import RegionMask
from ...ip_models.prompt import ImagePrompt
from ...ip_models.schedule import SigmaWindow
from ...ip_models.weights import EVERYWHERE, BlockWeights
from . import match
from .backbones import AttentionLayer, attention_layers
from .install import install
from .loaded import LoadedAdapter


@dataclass(frozen=True)
class Settings:
    """How much, when and where.

    Attributes:
        scale: weight of the image attention; 0 leaves the MODEL as it is.
        start_percent, end_percent: part of the run, 0..1.
        mask: part of the picture, or None.
        block_weights: factor for each block.
    """

    scale: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    mask: Tensor | None = None
    block_weights: BlockWeights = EVERYWHERE


def apply(model: Any, adapter: LoadedAdapter, features: ImageFeatures, settings: Settings) -> Any:
    """A new MODEL that hears the references.

    Raises:
        BadInput: a setting is out of range.
        WrongBase: the adapter is not for this model.
        WrongEncoder: the features are not for this adapter.
    """
    _check_numbers(settings)
    mask = None if settings.mask is None else RegionMask(settings.mask)
    layers = attention_layers(model)
    _check_base(adapter, layers)
    key_values = _key_values(adapter, features)
    factors = [settings.scale * settings.block_weights.at(layer.address) for layer in layers]
    positions = {layer.address: i for i, layer in enumerate(layers) if factors[i] != 0}
    if not positions:
        return model.clone()
    prompt = ImagePrompt(
        key_values=key_values.scaled(factors),
        positions=positions,
        window=_window(model, settings),
        mask=mask,
        label=adapter.name,
    )
    return install(model, prompt)


def _key_values(adapter: LoadedAdapter, features: ImageFeatures) -> KeyValues:
    try:
        return adapter.key_values(features)
    except WrongEncoder as error:  # only now the folders are searched for one that fits
        raise WrongEncoder(error.found, error.needed, match.encoder_hint(adapter.spec)) from None


def _window(model: Any, settings: Settings) -> SigmaWindow | None:
    if settings.start_percent <= 0 and settings.end_percent >= 1:
        return None
    to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    return SigmaWindow(
        start=float(to_sigma(settings.start_percent)), end=float(to_sigma(settings.end_percent))
    )


def _check_numbers(settings: Settings) -> None:
    start, end = settings.start_percent, settings.end_percent
    if not all(math.isfinite(number) for number in (settings.scale, start, end)):
        raise BadInput(
            f"scale is {settings.scale}, start_percent {start} and end_percent {end}",
            "finite numbers are needed",
            "Enter 1.0, 0.0 and 1.0 to begin with",
        )
    if not 0 <= start <= end <= 1:
        raise BadInput(
            f"start_percent is {start} and end_percent is {end}",
            "both lie between 0 and 1 and the start is not after the end",
            "Swap or correct them",
        )


def _check_base(adapter: LoadedAdapter, layers: list[AttentionLayer]) -> None:
    spec = adapter.spec
    if match.suits(spec, layers):
        return
    context, widths = layers[0].context, tuple(layer.width for layer in layers)
    if spec.context_width != context:
        family = match.family_name(context)
        found = f"{adapter.name} is an adapter for {spec.family.value}"
        needed = f"this MODEL is {family} (text context {context} wide)"
    elif len(widths) != len(spec.layer_widths):
        found = f"{adapter.name} has {len(spec.layer_widths)} attention layers"
        needed = f"this MODEL has {len(widths)}"
    else:
        i = next(i for i, width in enumerate(widths) if width != spec.layer_widths[i])
        found = f"{adapter.name} has {spec.layer_widths[i]} wide keys for {layers[i].address}"
        needed = f"this MODEL has {widths[i]} wide ones"
    raise WrongBase(found, needed, match.adapter_hint(layers, spec.kind))
