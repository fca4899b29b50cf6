"""What embeds hold, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import cast

from torch import Tensor

from .features import SIGLIP, FaceFeatures, Features, Regions

_POOLED = "standard and light (4 tokens each)"
_MEGABYTE = 2**20


def describe(embeds: Features | Regions) -> str:
    """Encoder, references, tokens for each kind of adapter, masks and size."""
    lines = list(_regions(embeds)) if isinstance(embeds, Regions) else list(_features(embeds))
    size = sum(rows.numel() * rows.element_size() for rows in _tensors(embeds))
    return "\n".join([*lines, f"{size / _MEGABYTE:.1f} MB"])


def _regions(embeds: Regions) -> Iterator[str]:
    about: dict[str, None] = {}  # each line once, in order
    for number, region in enumerate(embeds.regions, 1):
        first, *rest = _features(region.features)
        mask = region.mask
        where = "whole picture" if mask is None else f"mask {mask.shape[-1]} x {mask.shape[-2]}"
        about |= dict.fromkeys(rest)
        yield f"{number}: {first}, scale {region.scale:g}, {where}"
    yield from about


def _features(features: Features) -> Iterator[str]:
    if isinstance(features, FaceFeatures):
        yield f"{_counted(features.count, 'face')} of {features.source}"
        yield "for FaceID (4 tokens each) and portrait (16)"
        if features.crops is not None:
            yield f"and, with {features.crops.source}, for FaceID plus (4 tokens)"
        return
    first = f"{_counted(features.count, 'reference')} of {features.source}"
    if features.picture_of:  # some are the tiles of others
        first += f", from {_counted(max(features.picture_of) + 1, 'picture')}"
    yield first
    siglip = features.source == SIGLIP  # which no adapter for a UNet reads
    if features.pooled is not None:
        kinds = "the Flux adapter of InstantX (128 tokens each)" if siglip else _POOLED
        kinds += ", XLabs" if features.black_pooled is not None else ""
        yield f"pooled {features.pooled.shape[-1]}: for {kinds}"
    if features.penultimate is not None:
        sequence, width = features.penultimate.shape[1:]
        kinds = f"plus (16 tokens each), full face ({sequence})"
        kinds = "the SD3.5 adapter of InstantX (64 tokens each)" if siglip else kinds
        yield f"penultimate {sequence} x {width}: for {kinds}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors of features, of tuples of them, and of what holds them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for one in cast("tuple[object, ...]", value):
            yield from _tensors(one)
    elif is_dataclass(value):
        yield from _tensors(tuple(vars(value).values()))
