"""How several references become the references of one adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum

import torch
from torch import Tensor

from ..adapter.spec import Feature
from ..errors import BadInput, WrongEncoder
from ..inputs import sides
from .features import FaceFeatures, Features, ImageFeatures, Region, Regions


class Combine(str, Enum):
    """How several references become the references of one adapter."""

    CONCAT = "concat"
    ADD = "add"
    SUBTRACT = "subtract"
    AVERAGE = "average"
    NORM_AVERAGE = "norm average"
    MAX = "max"
    MIN = "min"


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
    Combine.MAX: lambda rows: rows.amax(0, keepdim=True),
    Combine.MIN: lambda rows: rows.amin(0, keepdim=True),
}


def mix(rows: Tensor, method: Combine) -> Tensor:
    """Bare rows, (n, ...), as `combine` mixes them."""
    return _FORMULAE[method](rows)


def combine(
    inputs: Sequence[Features | Regions], weights: Sequence[float], method: Combine
) -> Features | Regions:
    """Join references on the encoder's features, each part times its weight.

    Except for `concat` the negative rows are those of the first reference, and tiles are mixed like
    pictures. Regions keep their masks
    and scales and can only be set side by side; what comes with them gets the whole picture.
    For adapters that read a normed identity the weight of a face counts in a mix only.

    Raises:
        BadInput: there is nothing to combine, regions were to be mixed, or faces with pictures.
        WrongEncoder: the parts come from different encoders.
    """
    if not inputs:
        raise BadInput("no embeds are connected", "merging needs one or more", "Connect embeds")
    if any(isinstance(one, Regions) for one in inputs):
        return _side_by_side(inputs, weights, method)
    return _join([one for one in inputs if not isinstance(one, Regions)], weights, method)


def only(features: ImageFeatures, rows: slice) -> ImageFeatures:
    """Some of the references, none of which is the tile of another."""

    def some(values: Tensor | None) -> Tensor | None:
        return values if values is None or len(values) == 1 else values[rows]

    return replace(
        features,
        pooled=some(features.pooled),
        penultimate=some(features.penultimate),
        negative_pooled=some(features.negative_pooled),
        negative_penultimate=some(features.negative_penultimate),
    )


def warning(inputs: Sequence[Features | Regions]) -> str:
    """Why the mix may mean little although all shapes are right, or nothing."""
    known = sorted({one.encoder for one in inputs if isinstance(one, ImageFeatures)} - {""})
    if len(known) < 2:
        return ""
    return f"made by {len(known)} encoders with the same shapes and other weights"


def _side_by_side(
    inputs: Sequence[Features | Regions], weights: Sequence[float], method: Combine
) -> Regions:
    if method is not Combine.CONCAT:
        raise BadInput(
            f"some embeds are regions with masks and the method is {method.value}",
            "references with a part of the picture of their own cannot become one reference",
            "Choose concat, or merge first and give the result a region",
        )
    pairs = list(zip(inputs, weights, strict=True))
    plain = [(part, weight) for part, weight in pairs if not isinstance(part, Regions)]
    joined = _join([part for part, _ in plain], [w for _, w in plain], method) if plain else None
    regions: list[Region] = []
    for one, weight in pairs:
        if isinstance(one, Regions):
            regions += [
                Region(_join([each.features], [weight], method), each.mask, each.scale)
                for each in one.regions
            ]
        elif joined is not None:  # all of them at the place of the first
            regions.append(Region(joined, None, 1.0))
            joined = None
    return Regions(tuple(regions))


def _join(parts: Sequence[Features], weights: Sequence[float], method: Combine) -> Features:
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
    pairs = [pair for pair in zip(parts, weights, strict=True) if pair[0].count]
    if not pairs:  # no input has a face
        return parts[0]
    parts, weights = [part for part, _ in pairs], [weight for _, weight in pairs]
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
        warnings=parts[0].warnings,
        prepared=parts[0].prepared,
    )


def _combine_images(
    parts: Sequence[ImageFeatures], weights: Sequence[float], method: Combine
) -> ImageFeatures:
    formula = _FORMULAE[method]

    def joined(rows: list[Tensor]) -> Tensor:
        return formula(torch.cat([part * w for part, w in zip(rows, weights, strict=True)]))

    def negatives(rows: list[tuple[Tensor, Tensor]]) -> Tensor:
        return torch.cat([n for _, n in rows]) if method is Combine.CONCAT else rows[0][1][:1]

    heard = parts if method is Combine.CONCAT else parts[:1]  # in the negative prompt
    pooled, hidden = _common(parts, Feature.POOLED), _common(parts, Feature.PENULTIMATE)
    if not pooled and not hidden:
        raise WrongEncoder(
            f"embeds of {parts[0].source} with and without hidden states were connected",
            "embeds can be merged only if they hold the same sort of features",
            "Encode all images with the same CLIP vision model",
        )
    return ImageFeatures(
        pooled=joined([p for p, _ in pooled]) if pooled else None,
        penultimate=joined([p for p, _ in hidden]) if hidden else None,
        negative_pooled=negatives(pooled) if pooled else None,
        negative_penultimate=negatives(hidden) if hidden else None,
        source=parts[0].source,
        encoder=parts[0].encoder if len({part.encoder for part in parts}) == 1 else "",
        picture_of=_pictures(parts) if method is Combine.CONCAT else (),
        black_pooled=_black(parts) if pooled else None,
        negative_given=any(one.negative_given for one in heard),
    )


def _black(parts: Sequence[ImageFeatures]) -> Tensor | None:
    """One for all, because the parts come from one encoder; old files have none."""
    return next((one.black_pooled for one in parts if one.black_pooled is not None), None)


def _pictures(parts: Sequence[ImageFeatures]) -> tuple[int, ...]:
    """Whose tiles the references are side by side, nothing where none has tiles."""
    if not any(part.picture_of for part in parts):
        return ()
    numbers: list[int] = []
    for part in parts:
        before = max(numbers, default=-1) + 1
        numbers += [before + number for number in part.pictures]
    return tuple(numbers)


def _common(parts: Sequence[ImageFeatures], feature: Feature) -> list[tuple[Tensor, Tensor]]:
    """The rows of each part, nothing if a part has none.

    Raises:
        WrongEncoder: two parts have rows of another shape.
    """
    shaped = [(part, pair[0]) for part in parts if (pair := part.pair(feature))]
    if not shaped:
        return []
    first, reference = shaped[0]
    for part in parts:
        own = part.pair(feature)
        # A file may hold one sort of feature only; the other sort may still be common to all.
        same = (
            part.source == first.source if own is None else own[0].shape[1:] == reference.shape[1:]
        )
        if not same:
            raise WrongEncoder(
                f"embeds of {first.source} and of {part.source} were connected, with "
                f"{sides(reference.shape[1:])} and {sides(own[0].shape[1:]) if own else 'no'} "
                f"{feature.value} values",
                "embeds can be merged only if they come from one encoder",
                "Encode all images with the same CLIP vision model",
            )
    pairs = [part.pair(feature) for part in parts]
    return [pair for pair in pairs if pair] if len(shaped) == len(parts) else []
