"""What an image encoder or a face recogniser says about the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..adapter.spec import (
    ENCODER_NAMES,
    IDENTITY_WIDTH,
    AdapterSpec,
    Family,
    Feature,
    Identity,
    Kind,
)
from ..errors import Action, Mend, WrongEncoder

SIGLIP = ENCODER_NAMES[Feature.POOLED, 1152]


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Encoder outputs for n references; serves every adapter of that encoder.

    Attributes:
        pooled: (n, width), or None if the encoder has no single pooled vector.
        penultimate: (n, sequence, width), raw output of the second last layer, or None if a file
            holds the pooled vectors alone. One of the two is there.
        negative_pooled: (1 or n, width), zeros unless a negative image was given.
        negative_penultimate: (1 or n, sequence, width).
        source: what to call the encoder in messages.
        encoder: fingerprint of the encoder's weights, empty where it is not known.
        picture_of: for each reference the number of its picture, where some are the tiles of
            another; empty where each has a picture of its own.
        black_pooled: (1, width), the pooled feature of a black picture, or None where it was not
            encoded. XLabs' adapters hear it as "no reference".
        negative_given: whether a negative image is behind the negative rows. Where several
            references were joined, those whose pooled negative row is zero had none.
    """

    pooled: Tensor | None
    penultimate: Tensor | None
    negative_pooled: Tensor | None
    negative_penultimate: Tensor | None
    source: str
    encoder: str = ""
    picture_of: tuple[int, ...] = ()
    black_pooled: Tensor | None = None
    negative_given: bool = False

    @property
    def count(self) -> int:
        """Number of references."""
        return next(len(rows) for rows in (self.penultimate, self.pooled) if rows is not None)

    @property
    def pictures(self) -> Sequence[int]:
        """For each reference the number of its picture, from 0; tiles have that of the whole."""
        return self.picture_of or range(self.count)

    def pair(self, feature: Feature) -> tuple[Tensor, Tensor] | None:
        """Positive and negative rows of one feature, both with n rows."""
        if feature is Feature.PENULTIMATE:
            positive, negative = self.penultimate, self.negative_penultimate
        else:
            positive, negative = self.pooled, self.negative_pooled
        if positive is None or negative is None:
            return None
        return positive, negative.expand_as(positive) if len(negative) == 1 else negative


@dataclass(frozen=True, eq=False)
class FaceFeatures:
    """The faces of n references; serves every adapter that reads faces.

    Attributes:
        identity: (n, 512), the recogniser's raw output, not normalised.
        crops: encoder features of the cropped faces, n of them, or None without an encoder.
        source: what to call the face pack and its recogniser in messages.
        warnings: by the name of a published recogniser, why an adapter trained with it may not
            know these faces.
        prepared: identity and crops are read as they are: the identity is normalised already if it
            is to be, and the crops' own negative rows count for Kolors too.
    """

    identity: Tensor
    crops: ImageFeatures | None
    source: str
    warnings: Mapping[str, str] = field(default_factory=dict[str, str])
    prepared: bool = False

    @property
    def count(self) -> int:
        """Number of references."""
        return len(self.identity)

    @property
    def pictures(self) -> Sequence[int]:
        """For each reference the number of its picture, from 0."""
        return range(self.count)


Features = ImageFeatures | FaceFeatures


@dataclass(frozen=True, eq=False)
class Region:
    """References for a part of the picture.

    Attributes:
        mask: (n, height, width), from 0 (no reference) to 1; None for the whole picture.
        scale: multiplied with the scale they are applied with.
    """

    features: Features
    mask: Tensor | None
    scale: float


@dataclass(frozen=True, eq=False)
class Regions:
    """Several references, each attended to by itself, in its own part of the picture."""

    regions: tuple[Region, ...]

    @property
    def source(self) -> str:
        """What to call the encoder in messages."""
        return self.regions[0].features.source


def inputs(features: Features, spec: AdapterSpec, adapter: str, hint: str) -> tuple[Tensor, ...]:
    """What an adapter's projection reads, each (2, n, ...): positive first, then negative.

    Args:
        hint: what to do if the features come from another encoder.

    Raises:
        WrongEncoder: a face or an encoder is missing, or is not what the adapter was trained on.
    """
    if not spec.needs_face:
        return (select(_picture(features, spec, adapter), spec, adapter, hint),)
    if isinstance(features, ImageFeatures):
        raise no_face_read(features.source, adapter)
    identity = _identity(features, spec, adapter)
    if not spec.needs_encoder:
        return (identity,)
    crops = select(_picture(features, spec, adapter), spec, adapter, hint)
    if spec.family is Family.KOLORS and not features.prepared:
        # Trained with nothing at all where no face is given.
        crops = torch.stack((crops[0], torch.zeros_like(crops[0])))
    return identity, crops


def _picture(features: Features, spec: AdapterSpec, adapter: str) -> ImageFeatures:
    if isinstance(features, ImageFeatures):
        return features
    if features.crops is None:
        raise no_picture_of_face(features.source, spec, adapter)
    return features.crops


def _identity(features: FaceFeatures, spec: AdapterSpec, adapter: str) -> Tensor:
    rows = features.identity
    if rows.shape[-1] != IDENTITY_WIDTH:
        raise WrongEncoder(
            f"the faces of {features.source} are {rows.shape[-1]} values wide",
            f"{adapter} needs {IDENTITY_WIDTH} values for each face",
            "Load a face pack with an ArcFace recogniser, e.g. buffalo_l",
        )
    if spec.identity is Identity.NORMED and not features.prepared:
        rows = torch.nn.functional.normalize(rows, dim=-1)
    if spec.kind is Kind.PORTRAIT_UNNORMED:
        rows = rows.unsqueeze(1)  # a sequence of one token, for the resampler
    return torch.stack((rows, torch.zeros_like(rows)))


def select(features: ImageFeatures, spec: AdapterSpec, adapter: str, hint: str) -> Tensor:
    """The rows an adapter reads, (2, n, ...): positive first, then negative.

    Raises:
        WrongEncoder: the features are not of the width the adapter was trained on, or lack what it
            hears without a reference.
    """
    pair = features.pair(spec.feature)
    if pair is None or not _fits(pair[0], spec) or _of_another(features, spec):
        width = None if pair is None else int(pair[0].shape[-1])
        raise other_encoder(features.source, width, spec, adapter, hint)
    if spec.stages:
        pair = pair[0], _negative(features, spec, adapter, pair)
    return torch.stack(pair)


def _negative(
    features: ImageFeatures, spec: AdapterSpec, adapter: str, pair: tuple[Tensor, Tensor]
) -> Tensor:
    """Negative rows as adapters for transformers know them: a negative image's, or their rule's."""
    positive, negative = pair
    given = torch.full((len(positive),), features.negative_given, device=positive.device)
    pooled = features.pair(Feature.POOLED)
    if features.negative_given and pooled is not None:
        given = pooled[1].any(dim=-1)
    if bool(given.all()):
        return negative
    nothing = _no_reference(features, spec, adapter, positive)
    return torch.where(given.view(-1, *[1] * (positive.ndim - 1)), negative, nothing)


def _no_reference(
    features: ImageFeatures, spec: AdapterSpec, adapter: str, positive: Tensor
) -> Tensor:
    """What stands for no reference in the published pipelines."""
    if spec.family is Family.SD3:
        return torch.zeros_like(positive)
    if spec.kind is Kind.INSTANTX:  # for distilled models, whose negative prompt nobody hears
        return positive
    if features.black_pooled is None:
        raise WrongEncoder(
            f"the embeds of {features.source} were made without a black picture",
            f"{adapter} hears one in the negative prompt",
            "Encode the image again, or connect clip_vision to Load Embeds",
        )
    return features.black_pooled.to(positive)


def other_encoder(
    source: str, width: int | None, spec: AdapterSpec, adapter: str, hint: str
) -> WrongEncoder:
    """What to say of features `width` wide, None if there are none of the kind that is read."""
    if width is None and spec.feature is Feature.POOLED and source == spec.encoder == SIGLIP:
        return WrongEncoder(
            f"the embeds come from {SIGLIP} without its pooled feature",
            f"{adapter} reads it, and ComfyUI's own Load CLIP Vision drops the pooling head that "
            "makes it",
            "Load the encoder with Load Image Encoder (IP-Adapter) and encode again",
        )
    if width is not None and source != spec.encoder:
        return WrongEncoder(
            f"the embeds come from {source}", f"{adapter} needs {spec.encoder}", hint
        )
    found = "no" if width is None else f"{width} wide"
    return WrongEncoder(
        f"the embeds come from {source} with {found} {spec.feature.value} features",
        f"{adapter} needs {spec.encoder} with {spec.feature_width} wide ones",
        hint,
    )


def no_face_read(source: str, adapter: str) -> WrongEncoder:
    """What to say when a whole picture was encoded for an adapter that reads faces."""
    return WrongEncoder(
        f"the embeds come from {source} and hold no face",
        f"{adapter} needs a face",
        Action("Connect Encode Face", Mend("embeds", source="IPAEncodeFace")),
    )


def no_picture_of_face(source: str, spec: AdapterSpec, adapter: str) -> WrongEncoder:
    """What to say when only whose face it is was read, for an adapter that looks at it too."""
    return WrongEncoder(
        f"the embeds hold a face of {source} and no picture of it",
        f"{adapter} needs the picture of the face too, read by {spec.encoder}",
        Action(
            f"Connect {spec.encoder} to clip_vision of Encode Face",
            Mend("clip_vision", source="CLIPVisionLoader"),
        ),
    )


def _of_another(features: ImageFeatures, spec: AdapterSpec) -> bool:
    """Whether pooled features of the right width come from an encoder that is known to be another.

    ViT-L for 336 px and SigLIP base have 768 values as ViT-L has them.
    """
    if spec.kind is not Kind.XLABS or features.penultimate is None:
        return False
    sequence, width = features.penultimate.shape[1:]
    return (sequence, width) == (577, 1024) or width == spec.feature_width


def _fits(rows: Tensor, spec: AdapterSpec) -> bool:
    # The ViT-L for 224 px gives features as wide, but not of as many patches.
    small = spec.encoder == "ViT-L 336" and rows.shape[1] == 257
    return rows.shape[-1] == spec.feature_width and not small
