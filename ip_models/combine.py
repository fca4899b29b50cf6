"""How several references become the references of one adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

import torch
from torch import Tensor

from .errors import BadInput, WrongEncoder
from .features import FaceFeatures, Features, ImageFeatures, Regions
from .spec import Feature


class Combine(str, Enum):
    """How several references become the references of one adapter."""

    CONCAT = "concat"
    ADD = "add"
    SUBTRACT = "subtract"
    AVERAGE = "average"
    NORM_AVERAGE = "norm average"


def _subtract(rows: Tensor) -> Tensor:
    return rows[:1] - rows[1:].mean(0, keepdim=True) if len(rows) > 1 else rows


def _norm_average(rows: Tensor) -> Tensor:
    # The norm runs over the references, as in ComfyUI_IPAdapter_plus, whose formula users know.
    return (rows / rows.norm(dim=0, keepdim=True)).nan_to_num().mean(0, keepdim=True)


_FORMULAE: dict[Combine, Callable[[Tensor], Tensor]] = {
    Combine.CONCAT: lambda rows: rows,
    Combine.ADD: lambda rows: rows.sum(0, keepdim=True),
    Combine.SUBTRACT: _subtract,
    Combine.AVERAGE: lambda rows: rows.mean(0, keepdim=True),
    Combine.NORM_AVERAGE: _norm_average,
}


def combine(
    inputs: Sequence[Features | Regions], weights: Sequence[float], method: Combine
) -> Features:
    """Join references on the encoder's features, each part times its weight.

    Except for `concat` the negative rows are those of the first reference. Adapters that read a
    normed identity do not hear the weight a face has by itself, only that in a mix.

    Raises:
        BadInput: there is nothing to combine, regions were given, or faces and whole pictures.
        WrongEncoder: the parts come from different encoders.
    """
    parts = [one for one in inputs if not isinstance(one, Regions)]
    if len(parts) < len(inputs):
        raise BadInput(
            "the embeds are regions, each with a part of the picture of its own",
            "plain embeds are needed for merging",
            "Merge first, and give the result a region",
        )
    if not parts:
        raise BadInput("no embeds are connected", "merging needs one or more", "Connect embeds")
    faces = [one for one in parts if isinstance(one, FaceFeatures)]
    images = [one for one in parts if isinstance(one, ImageFeatures)]
    if faces and images:
        raise BadInput(
            f"embeds of faces ({faces[0].source}) and of pictures ({images[0].source}) "
            "were connected",
            "embeds of one sort can be merged",
            "Apply them one after the other, each with an adapter of its own",
        )
    if faces:
        return _combine_faces(faces, weights, method)
    return _combine_images(images, weights, method)


def _combine_faces(
    parts: Sequence[FaceFeatures], weights: Sequence[float], method: Combine
) -> FaceFeatures:
    # Features of nobody add nothing.
    heard = [pair for pair in zip(parts, weights, strict=True) if pair[0].count]
    if not heard:
        return parts[0]
    parts, weights = [part for part, _ in heard], [weight for _, weight in heard]
    if len({(part.identity.shape[-1], part.crops is None) for part in parts}) > 1:
        raise WrongEncoder(
            "some of the faces were read by another recogniser or without clip_vision",
            "faces can be merged only if all of them were encoded alike",
            "Connect the same face models and clip_vision to every Encode Face",
        )
    crops = [part.crops for part in parts if part.crops is not None]
    rows = [part.identity * w for part, w in zip(parts, weights, strict=True)]
    return FaceFeatures(
        identity=_FORMULAE[method](torch.cat(rows)),
        crops=_combine_images(crops, weights, method) if crops else None,
        source=parts[0].source,
        doubts=parts[0].doubts,
    )


def _combine_images(
    parts: Sequence[ImageFeatures], weights: Sequence[float], method: Combine
) -> ImageFeatures:
    first = parts[0]
    for other in parts[1:]:
        if _shapes(other) != _shapes(first):
            raise WrongEncoder(
                f"embeds of {first.source} and of {other.source} were connected",
                "embeds can be merged only if they come from one encoder",
                "Encode all images with the same CLIP vision model",
            )
    formula = _FORMULAE[method]

    def joined(rows: list[Tensor]) -> Tensor:
        return formula(torch.cat([part * w for part, w in zip(rows, weights, strict=True)]))

    def negatives(rows: list[tuple[Tensor, Tensor]]) -> Tensor:
        return torch.cat([n for _, n in rows]) if method is Combine.CONCAT else rows[0][1][:1]

    pooled = [pair for part in parts if (pair := part.pair(Feature.POOLED))]
    hidden = [pair for part in parts if (pair := part.pair(Feature.PENULTIMATE))]
    return ImageFeatures(
        pooled=joined([p for p, _ in pooled]) if pooled else None,
        penultimate=joined([p for p, _ in hidden]),
        negative_pooled=negatives(pooled) if pooled else None,
        negative_penultimate=negatives(hidden),
        source=first.source,
    )


def _shapes(features: ImageFeatures) -> tuple[object, ...]:
    pooled = None if features.pooled is None else features.pooled.shape[1:]
    return pooled, features.penultimate.shape[1:]
