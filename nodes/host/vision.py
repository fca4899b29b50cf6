"""CLIP_VISION in, `ImageFeatures` out."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from enum import Enum
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ...ip_models.errors import BadInput
from ...ip_models.features import ImageFeatures, name_encoder
from ...ip_models.image import Fit, blend_with, fit_images, require_images
from .encoder_identity import fingerprint
from .progress import Progress

_CHUNK = 8


class Unconditional(str, Enum):
    """What Plus and full face adapters hear in the negative prompt."""

    ZERO_PIXELS = "zero pixels"
    BLACK_IMAGE = "black image"


@dataclass(frozen=True)
class Reference:
    """Pictures to encode and how.

    Attributes:
        images: (n, height, width, channels) in 0..1.
        mask: which part of each picture is seen, or None.
        negative: (1 or n, height, width, channels), or None for the reference's own rule.
    """

    images: Tensor
    fit: Fit
    mask: Tensor | None = None
    negative: Tensor | None = None
    unconditional: Unconditional = Unconditional.ZERO_PIXELS


_empty: WeakKeyDictionary[Any, dict[Unconditional, Tensor]] = WeakKeyDictionary()


def encode(clip_vision: Any, reference: Reference) -> ImageFeatures:
    """Encode references and what stands for "no reference".

    Without a negative image the pooled feature is zero and the penultimate one is the encoding of
    zero pixels, that is of the mean colour (diffusers 0.42 `prepare_ip_adapter_image_embeds`).

    Raises:
        BadInput: the images, the mask or the encoder cannot be used.
    """
    _require_encoder(clip_vision)
    require_images(reference.images, "image")
    images, colour = reference.images, tuple(clip_vision.image_mean)
    if reference.mask is not None:
        images = blend_with(images, reference.mask, colour)
    negative = reference.negative
    if negative is not None:
        require_images(negative, "negative_image")
        if len(negative) not in (1, len(images)):
            raise BadInput(
                f"negative_image has {len(negative)} pictures for {len(images)} references",
                "one, or one for each reference, is needed",
                "Connect a single negative image",
            )
    batches = [images] if negative is None else [images, negative]
    progress = Progress(sum(len(batch.split(_CHUNK)) for batch in batches) + (negative is None))
    pooled, hidden = _encode_chunks(clip_vision, images, reference.fit, progress)
    if negative is not None:
        negative_pooled, empty = _encode_chunks(clip_vision, negative, reference.fit, progress)
    else:
        negative_pooled = None if pooled is None else torch.zeros_like(pooled[:1])
        progress.step()
        empty = _encode_empty(clip_vision, reference.unconditional)
    width = None if pooled is None else pooled.shape[-1]
    return ImageFeatures(
        pooled=pooled,
        penultimate=hidden,
        negative_pooled=negative_pooled,
        negative_penultimate=empty,
        source=name_encoder(width, hidden.shape[-1]),
        encoder=fingerprint(clip_vision),
    )


def _require_encoder(clip_vision: Any) -> None:
    needed = ("encode_image", "image_size", "image_mean")
    if not all(hasattr(clip_vision, name) for name in needed):
        raise BadInput(
            f"clip_vision is a {type(clip_vision).__name__}",
            "an image encoder of ComfyUI is needed",
            "Connect Load CLIP Vision",
        )


def _encode_chunks(
    clip_vision: Any, images: Tensor, fit: Fit, progress: Progress
) -> tuple[Tensor | None, Tensor]:
    size, colour = int(clip_vision.image_size), tuple(clip_vision.image_mean)
    parts: list[tuple[Tensor | None, Tensor]] = []
    for chunk in images.split(_CHUNK):
        progress.step()
        parts.append(_run(clip_vision, fit_images(chunk, size, fit, colour)))
    pooled = [part for part, _ in parts if part is not None]
    return torch.cat(pooled) if pooled else None, torch.cat([hidden for _, hidden in parts])


def _run(clip_vision: Any, squares: Tensor) -> tuple[Tensor | None, Tensor]:
    out = clip_vision.encode_image(squares, crop=False)
    pooled, hidden = out["image_embeds"], out["penultimate_hidden_states"]
    return _single(pooled) if pooled.ndim == 2 else None, _single(hidden)


def _single(feature: Tensor) -> Tensor:
    """At least single precision: projecting once in it costs nothing."""
    return feature if feature.dtype == torch.float64 else feature.float()


def _encode_empty(clip_vision: Any, unconditional: Unconditional) -> Tensor:
    """(1, sequence, width): penultimate feature of "no picture", once for each encoder."""
    known = _empty.setdefault(clip_vision, {})
    if unconditional not in known:
        size = int(clip_vision.image_size)
        encoder = clip_vision
        if unconditional is Unconditional.ZERO_PIXELS:
            encoder = copy.copy(clip_vision)  # zero must still be zero after normalisation
            vars(encoder).pop("encode_image", None)  # another pack's wrapper knows the original
            encoder.image_mean, encoder.image_std = [0.0] * 3, [1.0] * 3
        known[unconditional] = _run(encoder, torch.zeros(1, size, size, 3))[1]
    return known[unconditional]
