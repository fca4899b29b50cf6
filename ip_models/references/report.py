"""What embeds hold, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import cast

from torch import Tensor

from ..inputs import sides
from .features import SIGLIP, FaceFeatures, Features, Regions

_MEGABYTE = 2**20


def describe(embeds: Features | Regions) -> str:
    """Encoder, references, which kinds of adapters can hear them, masks and size."""
    lines = list(_regions(embeds)) if isinstance(embeds, Regions) else list(_features(embeds))
    kinds = dict.fromkeys(kind for part in _parts(embeds) for kind in _kinds(part))
    size = sum(rows.numel() * rows.element_size() for rows in _tensors(embeds))
    works = [f"works with: {', '.join(kinds)}"] if kinds else []
    return "\n".join([*lines, *works, f"{size / _MEGABYTE:.1f} MB"])


def details(embeds: Features | Regions) -> str:
    """What whoever looks closer asks for: the features with their shapes."""
    return "; ".join(dict.fromkeys(_details(part) for part in _parts(embeds)))


def _parts(embeds: Features | Regions) -> list[Features]:
    return [one.features for one in embeds.regions] if isinstance(embeds, Regions) else [embeds]


def _details(features: Features) -> str:
    if isinstance(features, FaceFeatures):
        crops = "" if features.crops is None else f", pictures of them: {_details(features.crops)}"
        return f"identities of {features.identity.shape[-1]} values{crops}"
    pooled = "no pooled" if features.pooled is None else f"pooled {features.pooled.shape[-1]}"
    if features.penultimate is None:
        return f"{pooled}, no penultimate"
    return f"{pooled}, penultimate {sides(features.penultimate.shape[1:])}"


def _regions(embeds: Regions) -> Iterator[str]:
    rest: dict[str, None] = {}  # each line once, in order
    for number, region in enumerate(embeds.regions, 1):
        first, *others = _features(region.features)
        mask = region.mask
        where = "whole picture" if mask is None else f"mask {mask.shape[-1]} x {mask.shape[-2]}"
        if mask is not None and not bool(mask.any()):
            where += ", all black: heard nowhere"
        rest |= dict.fromkeys(others)
        yield f"{number}: {first}, scale {region.scale:g}, {where}"
    yield from rest


def _features(features: Features) -> Iterator[str]:
    if isinstance(features, FaceFeatures):
        yield f"{features.count} face{'' if features.count == 1 else 's'} of {features.source}"
        if features.crops is not None:
            yield f"and their pictures of {features.crops.source}"
        return
    count = features.count
    first = f"{count} reference{'' if count == 1 else 's'} of {features.source}"
    if features.picture_of:  # some are the tiles of others
        pictures = max(features.picture_of) + 1
        first += f", from {pictures} picture{'' if pictures == 1 else 's'}"
    yield first


def _kinds(features: Features) -> Iterator[str]:
    """The kinds of adapters that read such features."""
    if isinstance(features, FaceFeatures):
        yield from ("FaceID", "FaceID portrait", "InstantID")
        if features.crops is not None:
            yield "FaceID plus"
        return
    pooled, hidden = _KINDS.get(features.source, _KINDS["ViT-H"])
    if features.pooled is not None:
        yield from pooled
        if features.black_pooled is not None:
            yield "XLabs for Flux"
    if features.penultimate is not None:
        yield from hidden


_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ViT-H": (("standard", "light"), ("plus", "plus face", "full face", "composition")),
    "ViT-bigG": (("ViT-G",), ("plus",)),
    "ViT-L": ((), ("plus",)),
    "ViT-L 336": ((), ("plus for Kolors",)),
    SIGLIP: (("InstantX for Flux",), ("InstantX for SD3.5",)),
}
"""The kinds that read the pooled feature of an encoder, and those that read its hidden states."""


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors of features, of tuples of them, and of what holds them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for one in cast("tuple[object, ...]", value):
            yield from _tensors(one)
    elif is_dataclass(value):
        yield from _tensors(tuple(vars(value).values()))
