"""Adapter, features and settings onto a MODEL, after everything has been checked."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ....ip_models.adapter.spec import Family
from ....ip_models.attention.call import BatchMode
from ....ip_models.attention.keyvalue import KeyValues, KvScaling
from ....ip_models.attention.masks import MaskRule, RegionMask
from ....ip_models.attention.prompt import ImagePrompt, LayerPlace
from ....ip_models.attention.timed_keys import TimedKeys
from ....ip_models.errors import BadInput, WrongEncoder
from ....ip_models.inputs import require
from ....ip_models.layer import Layer
from ....ip_models.projection.projections import Structure
from ....ip_models.references.features import FaceFeatures, Features, Region, Regions
from ....ip_models.weights.gains import EVERYWHERE, Gain, Weights
from ....ip_models.weights.schedule import Ramp, SigmaWindow
from ..face.packs import Recogniser
from ..protocols import Model
from . import search
from .adapter import ANY_ENCODER, LoadedAdapter, ProjectionOptions
from .backbones.layers import found
from .lora import add_lora
from .patches import install

log = logging.getLogger("ipadapter")

Places = dict[Hashable, LayerPlace]


@dataclass(frozen=True)
class Settings:
    """At which scale, when, where and for which conditionings references count.

    Attributes:
        scale: weight of the cross-attention to the image tokens; 0 leaves the MODEL as it is. A
            list: one for each picture of the batch, the last one goes on.
        start_percent, end_percent: part of the run, 0..1.
        mask: part of the picture, or None.
        weights: factors for layers, steps and frames.
        batch: which picture of a batch gets which reference.
        scaling: what the scale is multiplied with: keys, values or both.
        mask_rule: how a mask is brought to the grid of a layer.
        binding: mark of the conditionings the references are for, None for all.
        face_structure: for FaceID plus v2, how much the face's looks count beside its identity.
        face_lora: strength of the LoRA inside a FaceID file, for the whole run and all prompts.
        first_picture: place in its batch of the first picture of a run over a part of it.
        text_scale: for Kolors, of the image tokens behind the MODEL's projection of text.
        levels: first and last noise level (sigma) of the part of the run, in place of percents.
    """

    scale: float | Sequence[float] = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    mask: Tensor | None = None
    weights: Weights = EVERYWHERE
    batch: BatchMode = BatchMode.ALL
    scaling: KvScaling = KvScaling.V_ONLY
    mask_rule: MaskRule = MaskRule.AREA
    binding: str | None = None
    face_structure: float = 1.0
    face_lora: float = 1.0
    first_picture: int = 0
    text_scale: float = 1.0
    levels: tuple[float, float] | None = None


def apply(
    model: Model, adapter: LoadedAdapter, embeds: Features | Regions, settings: Settings
) -> Model:
    """A new MODEL with the references as image prompts.

    Raises:
        BadInput: a setting is out of range, or names a block the MODEL does not have.
        BrokenFile: the LoRA inside the file is not whole.
        WrongBase: the adapter is not for this model.
        WrongEncoder: the features are not for this adapter.
    """
    _check_sockets(adapter, embeds, settings)
    settings, scale = _one_scale(settings)
    _check_numbers(settings, scale)
    regions = embeds.regions if isinstance(embeds, Regions) else (Region(embeds, None, 1.0),)
    masks = [_mask(region, settings) for region in regions]
    backbone, layers = found(model)
    search.require_base(adapter.name, adapter.spec, layers)
    layers = adapter.spec.of(layers)
    window = _window(model, settings)
    structure = Structure(adapter.shortcut, settings.face_structure)
    text = backbone.text_projection(model)
    if text is not None:
        text = replace(text, scale=settings.text_scale)
    options = ProjectionOptions(structure, text, backbone.norms(model))
    prompts: list[ImagePrompt] = []
    for i, (region, mask) in enumerate(zip(regions, masks, strict=True)):
        gains = _gains(settings.weights, layers, scale * region.scale, i, len(regions))
        places: Places = {
            backbone.slot(layer, adapter.spec): LayerPlace(n, *gains[n])
            for n, layer in enumerate(layers)
            if gains[n].factor != 0
        }
        if places and region.features.count:  # without a face the MODEL stays as it is
            key_values = _key_values(adapter, region.features, options)
            each = key_values.tokens // region.features.count
            if settings.batch is not BatchMode.ALL:
                key_values = key_values.apart(region.features.pictures)
            key_values, places = _scaled(key_values, places, gains, settings, each)
            prompts.append(_prompt(settings, key_values, places, window, mask))
    if not prompts:
        return model.clone()
    for region in regions:
        _warn_of_recogniser(adapter, region.features)
    patched = install(model, *prompts)
    add_lora(patched, adapter.lora, settings.face_lora, adapter.name, adapter.file)
    return patched


def _warn_of_recogniser(adapter: LoadedAdapter, features: Features) -> None:
    """A face read by another recogniser has another identity, though it is as many numbers."""
    if not adapter.spec.needs_face or not isinstance(features, FaceFeatures):
        return
    warning = features.warnings.get(recogniser_of(adapter.spec.family).value)
    if warning:
        log.warning("%s: %s", adapter.name, warning)


def _one_scale(settings: Settings) -> tuple[Settings, float]:
    """A scale for each picture is a factor over the pictures, as a schedule has it."""
    if not isinstance(settings.scale, Sequence):
        return settings, settings.scale
    each = Weights(frames=(Ramp(values=tuple(settings.scale)),))
    return replace(settings, weights=settings.weights.times(each)), 1.0


def recogniser_of(family: Family | None) -> Recogniser:
    """Whose numbers the adapters of a family that read faces were trained with."""
    return Recogniser.GLINTR100 if family is Family.KOLORS else Recogniser.W600K_R50


def _gains(
    weights: Weights, layers: Sequence[Layer], scale: float, number: int, count: int
) -> list[Gain]:
    return [
        gain._replace(factor=gain.factor * scale) for gain in weights.gains(layers, number, count)
    ]


def _prompt(
    settings: Settings,
    key_values: KeyValues | TimedKeys,
    places: Places,
    window: SigmaWindow | None,
    mask: RegionMask | None,
) -> ImagePrompt:
    return ImagePrompt(
        keys=key_values,
        layers=places,
        window=window,
        mask=mask,
        steps=settings.weights.steps,
        frames=settings.weights.frames,
        batch=settings.batch,
        binding=settings.binding,
        first=settings.first_picture,
    )


def _mask(region: Region, settings: Settings) -> RegionMask | None:
    if region.mask is not None and settings.mask is not None:
        raise BadInput(
            "the embeds are regions with masks, and attn_mask is connected too",
            "one mask for each reference is needed",
            "Disconnect attn_mask, or leave the region's mask empty",
        )
    mask = settings.mask if region.mask is None else region.mask
    return None if mask is None else RegionMask(mask, settings.mask_rule)


def _key_values(
    adapter: LoadedAdapter, features: Features, options: ProjectionOptions
) -> KeyValues | TimedKeys:
    try:
        return adapter.key_values(features, options)
    except WrongEncoder as error:
        if error.action != ANY_ENCODER:
            raise
        # Only now the folders are searched for one that fits.
        raise WrongEncoder(error.found, error.needed, search.encoder_hint(adapter.spec)) from None


def _scaled(
    key_values: KeyValues | TimedKeys,
    places: Places,
    gains: list[Gain],
    settings: Settings,
    tokens_each: int,
) -> tuple[KeyValues | TimedKeys, Places]:
    """Scale and block weights: of what the attention gives, or built into the keys as well."""
    if settings.scaling is KvScaling.V_ONLY:
        return key_values, places
    changing = bool(settings.weights.steps or settings.weights.frames)
    factors = [gain.factor for gain in gains]
    key_values = key_values.weighted(factors, settings.scaling, changing, tokens_each)
    return key_values, {slot: place._replace(factor=1.0) for slot, place in places.items()}


def _window(model: Model, settings: Settings) -> SigmaWindow | None:
    if settings.levels is not None:
        return SigmaWindow(*settings.levels)
    if settings.start_percent <= 0 and settings.end_percent >= 1:
        return None
    percents = (settings.start_percent, settings.end_percent)
    to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    return SigmaWindow(math.inf, -math.inf, percents).under(to_sigma)


def _check_sockets(adapter: object, embeds: object, settings: Settings) -> None:
    """Through the API anything can be put on a socket."""
    require("adapter", adapter, LoadedAdapter, "Load IP-Adapter")
    require("embeds", embeds, Features | Regions, "Encode Image, Encode Face or Regions")
    require("block_weights", settings.weights, Weights, "Block Weights or Schedule")
    require("attn_mask", settings.mask, Tensor | None, "a MASK")


def _check_numbers(settings: Settings, scale: float) -> None:
    start, end = settings.start_percent, settings.end_percent
    factors = (settings.face_structure, settings.face_lora, settings.text_scale)
    numbers = (scale, start, end, *factors)
    if not all(math.isfinite(number) for number in numbers):
        raise BadInput(
            f"scale is {scale}, start_percent {start}, end_percent {end}, face_structure "
            f"{settings.face_structure} and face_lora_strength {settings.face_lora}",
            "finite numbers are needed",
            "Enter 1.0 for each, and 0.0 as start_percent, to begin with",
        )
    if settings.first_picture < 0:
        raise BadInput(
            f"first_picture is {settings.first_picture}",
            "pictures of a batch are counted from 0",
            "Enter 0, or the number of the first picture of the part",
        )
    if settings.levels is not None and settings.levels[0] < settings.levels[1]:
        raise BadInput(
            f"the part of the run begins at noise level {settings.levels[0]:g} and ends at "
            f"{settings.levels[1]:g}",
            "noise falls, so that the start is not after the end",
            "Swap start_percent and end_percent",
        )
    require_window(start, end)


def require_window(start: float, end: float) -> None:
    """Refuse a part of the run that ends before it begins.

    Raises:
        BadInput: it does, or is none of a run.
    """
    if not 0 <= start <= end <= 1:
        raise BadInput(
            f"start_percent is {start} and end_percent is {end}",
            "both lie between 0 and 1 and the start is not after the end",
            "Swap or correct them",
        )
