"""EMBEDS, which are bare rows, as this pack's features, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ....ip_models.adapter.spec import IDENTITY_WIDTH, Feature
from ....ip_models.errors import BadInput
from ....ip_models.inputs import require, sides
from ....ip_models.references.features import FaceFeatures, Features, Regions
from ....ip_models.references.ipadpt import Entry, is_sequence


def features_of(positive: Any, negative: Any = None) -> Features:
    """Features with one sort of rows, pooled or hidden, as the rank of the rows says.

    Args:
        positive: (n, width), (n, sequence, width), or both signs stacked as in version 1.
        negative: the same, or None where the rows bring it, or where it is zero.

    Raises:
        BadInput: they are no such rows, or nothing says what is heard without a reference.
    """
    require("embeds", positive, Tensor, "IPAdapter Encoder")
    if negative is not None:
        require("neg_embed", negative, Tensor, "IPAdapter Encoder")
    elif _is_stacked(positive):
        positive, negative = positive
    hidden = positive.ndim == 3
    if positive.ndim not in (2, 3) or not positive.numel():
        raise BadInput(
            f"the embeds have shape {sides(positive.shape)}",
            "rows of an image encoder, n x width or n x sequence x width, are needed",
            "Connect IPAdapter Encoder",
        )
    if negative is None and hidden:
        raise BadInput(
            "neg_embed is not connected",
            "embeds of plus and full face adapters need both outputs of IPAdapter Encoder",
            "Connect neg_embed of the same IPAdapter Encoder",
        )
    negative = torch.zeros_like(positive) if negative is None else fitted(negative, positive)
    rows = [one.detach().cpu().float().clone() for one in (positive, negative)]
    face = not hidden and positive.shape[-1] == IDENTITY_WIDTH
    feature = Feature.IDENTITY if face else Feature.PENULTIMATE if hidden else Feature.POOLED
    return Entry(feature, rows[0], rows[1]).features("the EMBEDS")


def _is_stacked(rows: Tensor) -> bool:
    pooled = rows.ndim == 3 and not is_sequence(rows.shape[1])
    return len(rows) == 2 and (rows.ndim == 4 or pooled)


def fitted(negative: Tensor, positive: Tensor) -> Tensor:
    """Negative rows, as many as the positive ones.

    Raises:
        BadInput: they are of another shape, or none.
    """
    if negative.shape[1:] != positive.shape[1:] or not len(negative):
        raise BadInput(
            f"neg_embed has shape {sides(negative.shape)} and the embeds {sides(positive.shape)}",
            "rows of the same encoder and adapter are needed",
            "Connect both outputs of one IPAdapter Encoder",
        )
    return to_size(negative, len(positive))


def to_size(rows: Tensor, count: int) -> Tensor:
    """Cut, or the last one repeated."""
    if len(rows) >= count:
        return rows[:count]
    return torch.cat((rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])))


def rows_of(embeds: Features | Regions, feature: Feature) -> tuple[Tensor, Tensor]:
    """Positive and negative rows of the one sort that EMBEDS can carry.

    Raises:
        BadInput: they hold faces or regions, or no such features.
    """
    if isinstance(embeds, Regions | FaceFeatures):
        held = "regions with masks" if isinstance(embeds, Regions) else "faces"
        raise BadInput(
            f"the embeds hold {held}",
            "EMBEDS carry rows of whole pictures only",
            "Connect them to Apply IP-Adapter",
        )
    pair = embeds.pair(feature)
    if pair is None:
        raise BadInput(
            f"the embeds of {embeds.source} hold no {feature.value} features",
            "the ones the adapter reads are needed",
            "Choose the other feature, or encode with another CLIP vision model",
        )
    return pair[0].clone(), pair[1].clone()
