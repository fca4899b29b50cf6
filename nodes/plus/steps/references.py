"""What an encoder says about the pictures of an old node, as its profile has them encoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ....ip_models.adapter.spec import AdapterSpec, Feature
from ....ip_models.errors import BadInput, MissingModel
from ....ip_models.inputs import chosen, sides
from ....ip_models.pictures.fit import fit_images, require_images
from ....ip_models.references.combine import Combine, combine
from ....ip_models.references.features import FaceFeatures, Features, ImageFeatures
from ...host.encoder.encode import MOST_BATCH, Reference, encode
from ...host.encoder.run import run_normalised
from ...host.encoder.siglip import shown_fit
from ..objects.rows import fitted, to_size
from ..pixels import enhance
from ..pixels.mask import masked_pixels
from .profile import Profile


@dataclass(frozen=True)
class Looks:
    """How pictures are looked at.

    Attributes:
        negative: pictures to stay away from, None for the profile's "no reference".
        combine: how several become one.
        batch_size: pictures that the encoder gets together, 0 for the usual number.
        tiles: along each side, for a closer look; 1 for none.
        ratio: how much the whole picture counts beside its tiles.
    """

    negative: Tensor | None = None
    combine: str = Combine.CONCAT.value
    batch_size: int = 0
    tiles: int = 1
    ratio: float = 1.0


def encode_rows(
    clip_vision: Any,
    images: Tensor,
    profile: Profile,
    looks: Looks = Looks(),
    mask: Tensor | None = None,
) -> ImageFeatures:
    """Features of pictures, not mixed, and as many rows of "no reference".

    Args:
        mask: (n, height, width), multiplied with the normalised pixels of the encoder's square.

    Raises:
        BadInput: the pictures or the encoder cannot be used.
        MissingModel: there is no encoder.
    """
    if clip_vision is None:
        raise no_encoder()
    if mask is not None:
        return _behind(mask, clip_vision, images, profile, looks)
    negative = None if looks.negative is None else to_size(looks.negative, len(images))
    features = encode(clip_vision, _reference(images, profile, looks, negative))
    return _closer(features, clip_vision, images, profile, looks) if looks.tiles > 1 else features


def mixed(features: Features, method: str, per_picture: bool) -> Features:
    """Several references as one, except where each picture has its own."""
    if per_picture or features.count < 2 or method == Combine.CONCAT.value:
        return features
    one = combine([features], [1.0], chosen("combine_embeds", method, Combine))
    assert isinstance(one, type(features))
    return one


def raw_features(
    positive: Tensor, negative: Tensor | None, spec: AdapterSpec, clip_vision: Any, profile: Profile
) -> ImageFeatures:
    """Bare rows of an EMBEDS socket as features.

    Args:
        positive, negative: (n, width), or (n, sequence, width) for plus and full face.

    Raises:
        BadInput: the rows are of another rank.
        MissingModel: no negative rows came, and no encoder to make them.
    """
    hidden = spec.feature is Feature.PENULTIMATE
    rows = [positive] if negative is None else [positive, negative]
    for one in rows:
        if one.ndim != (3 if hidden else 2):
            raise BadInput(
                f"the embeds have shape {sides(one.shape)}",
                f"this adapter reads {'n x sequence x width' if hidden else 'n x width'}",
                "Encode the picture with IPAdapter Encoder and the same IPADAPTER",
            )
        if not one.numel() or not bool(torch.isfinite(one).all()):
            raise BadInput(
                f"the embeds have shape {sides(one.shape)} and are empty or not finite",
                "this adapter reads finite numbers",
                "Encode the picture again",
            )
    if negative is None:
        negative = _nothing(positive, hidden, clip_vision, profile)
    positive, negative = positive.float(), fitted(negative, positive).float()
    return ImageFeatures(
        pooled=None if hidden else positive,
        penultimate=positive if hidden else None,
        negative_pooled=None if hidden else negative,
        negative_penultimate=negative if hidden else None,
        source="an image encoder",
        negative_given=bool(negative.any()),
    )


def only(features: Features, index: int) -> Features:
    """One of several references."""
    if isinstance(features, FaceFeatures):
        crops = None if features.crops is None else _only(features.crops, index)
        return replace(features, identity=features.identity[index : index + 1], crops=crops)
    return _only(features, index)


def _only(features: ImageFeatures, index: int) -> ImageFeatures:
    rows: dict[str, Tensor | None] = {}
    for feature, name in ((Feature.POOLED, "pooled"), (Feature.PENULTIMATE, "penultimate")):
        pair = features.pair(feature)
        both = (None, None) if pair is None else (one[index : index + 1] for one in pair)
        rows[name], rows[f"negative_{name}"] = both
    return replace(features, **rows)


def no_encoder() -> MissingModel:
    """What to say without a CLIP_VISION."""
    return MissingModel(
        "no CLIP vision model came with the IPADAPTER or as clip_vision",
        "an image encoder is needed",
        "Connect Load CLIP Vision, or load the IPADAPTER with a unified loader",
    )


def _reference(
    images: Tensor, profile: Profile, looks: Looks, negative: Tensor | None = None
) -> Reference:
    return Reference(
        images=images,
        fit=profile.fit,
        negative=negative,
        unconditional=profile.unconditional,
        batch_size=min(looks.batch_size, MOST_BATCH),
    )


def _behind(
    shown: Tensor, clip_vision: Any, images: Tensor, profile: Profile, looks: Looks
) -> ImageFeatures:
    """Features of pictures behind a mask."""
    require_images(images, "image")
    # One picture is enough for what is heard without a reference.
    features = encode(clip_vision, _reference(images[:1], profile, looks))
    size = int(clip_vision.image_size)
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in _colours(clip_vision))
    fit = shown_fit(clip_vision, profile.fit)
    squares = fit_images(images, size, fit, tuple(clip_vision.image_mean))
    pixels = masked_pixels((squares.movedim(-1, 1) - mean) / std, shown)
    pooled, hidden = run_normalised(clip_vision, pixels)
    return replace(features, pooled=pooled, penultimate=hidden)


def _colours(clip_vision: Any) -> tuple[list[float], list[float]]:
    return list(clip_vision.image_mean), list(clip_vision.image_std)


def _closer(
    whole: ImageFeatures, clip_vision: Any, images: Tensor, profile: Profile, looks: Looks
) -> ImageFeatures:
    tiles = encode(clip_vision, _reference(enhance.split(images, looks.tiles), profile, looks))
    assert whole.pooled is not None and tiles.pooled is not None
    assert whole.penultimate is not None and tiles.penultimate is not None
    pooled = enhance.merged_pooled(tiles.pooled, looks.tiles)
    hidden = enhance.merged_hidden(tiles.penultimate, looks.tiles)
    pooled = enhance.mixed(whole.pooled, pooled, looks.ratio)
    hidden = enhance.mixed(whole.penultimate, hidden, looks.ratio)
    assert whole.negative_pooled is not None and whole.negative_penultimate is not None
    return replace(
        whole,
        pooled=pooled,
        penultimate=hidden,
        negative_pooled=to_size(whole.negative_pooled, len(pooled)),
        negative_penultimate=to_size(whole.negative_penultimate, len(hidden)),
    )


def _nothing(positive: Tensor, hidden: bool, clip_vision: Any, profile: Profile) -> Tensor:
    if not hidden:
        return torch.zeros_like(positive)
    if clip_vision is None:
        raise no_encoder()
    black = torch.zeros(1, 8, 8, 3)
    empty = encode(clip_vision, _reference(black, profile, Looks())).negative_penultimate
    assert empty is not None
    return empty
