"""CLIP_VISION in, `ImageFeatures` out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from ....ip_models.adapter.encoders import name_encoder
from ....ip_models.errors import BadInput
from ....ip_models.inputs import require, whole
from ....ip_models.pictures.batches import EncodeOptions
from ....ip_models.pictures.fit import Fit, blend_with, hidden_line, require_images
from ....ip_models.pictures.tiles import Rows, TileMerge, Tiling
from ....ip_models.references.features import ImageFeatures
from ..progress import Progress
from ..protocols import require_encoder
from .identity import fingerprint
from .row_cache import KnownRows, known_rows
from .run import Runner, run
from .siglip import SQUASHED, shown_fit
from .size import MOST_SIZE, at_size, copy_of

MOST_BATCH = 256
BLACK_WIDTH = 768  # of the pooled feature of ViT-L, whose adapters may hear a black picture


class Unconditional(str, Enum):
    """What Plus and full face adapters get in the negative prompt."""

    ZERO_PIXELS = "zero pixels"
    BLACK_IMAGE = "black image"


@dataclass(frozen=True)
class Reference:
    """Pictures to encode and how.

    Attributes:
        images: (n, height, width, channels) in 0..1.
        mask: which part of each picture is seen, or None.
        negative: (1 or n, height, width, channels), or None for the reference's own rule.
        tiling: closer looks at parts of each picture; a negative image has none.
        batch_size: squares that the encoder gets together, 0 for the usual number.
        size: side of what the encoder gets, in pixels, 0 for its own.
    """

    images: Tensor
    fit: Fit
    mask: Tensor | None = None
    negative: Tensor | None = None
    unconditional: Unconditional = Unconditional.ZERO_PIXELS
    tiling: Tiling = Tiling()
    batch_size: int = 0
    size: int = 0

    @property
    def lines(self) -> Iterator[str]:
        """What is out of the ordinary, for people."""
        if self.tiling.used:
            count, merge = self.tiling.count, self.tiling.merge
            how = f", {self.tiling.ratio:g} whole" if merge is TileMerge.BLEND else ""
            yield f"{count} x {count} tiles, overlap {self.tiling.overlap:g}, {merge.value}{how}"
        if self.size:
            yield f"encoder input {self.size} x {self.size}"
        hidden = "" if self.mask is None else hidden_line(self.mask, len(self.images))
        if hidden:
            yield hidden


def remarks(clip_vision: Any, reference: Reference) -> Iterator[str]:
    """What is out of the ordinary, for people, that of the encoder first."""
    height, width = reference.images.shape[1:3]
    if height != width and shown_fit(clip_vision, reference.fit) is not reference.fit:
        yield SQUASHED
    yield from reference.lines


def encode(clip_vision: Any, reference: Reference) -> ImageFeatures:
    """Encode references and what stands for "no reference".

    Without a negative image the pooled feature is zero and the penultimate one is the encoding of
    zero pixels, that is of the mean colour (diffusers 0.42 `prepare_ip_adapter_image_embeds`).
    With ViT-L a black picture is encoded beside them, for the adapters that hear it instead.

    Raises:
        BadInput: the images, the mask, a number or the encoder cannot be used.
    """
    images, negative = checked(clip_vision, reference)
    options, size = options_of(clip_vision, reference)
    steps = options.steps(len(images)) + options.tile_steps * len(images)
    with at_size(clip_vision, size) as encoder:
        known = known_rows(clip_vision, int(encoder.image_size))
        progress = Progress(steps + (1 if negative is None else options.steps(len(negative))))
        runner = Runner(encoder, options, known, progress)
        pooled, hidden = runner.references(images)
        if negative is not None:
            negative_pooled, empty = _for_each(runner.plain(negative), len(hidden))
            black = None
        else:
            negative_pooled = None if pooled is None else torch.zeros_like(pooled[:1])
            progress.step()
            empty, black = _encode_nothing(encoder, reference.unconditional, known)
            empty = empty.to(hidden.device)
    width = None if pooled is None else pooled.shape[-1]
    return ImageFeatures(
        pooled=pooled,
        penultimate=hidden,
        negative_pooled=negative_pooled,
        negative_penultimate=empty,
        source=name_encoder(width, hidden.shape[-1]),
        encoder=fingerprint(clip_vision),
        picture_of=_pictures(len(images), len(hidden)),
        black_pooled=black,
        negative_given=negative is not None,
    )


def _pictures(images: int, references: int) -> tuple[int, ...]:
    """All pictures, and again for their tiles; nothing without tiles of their own."""
    again = references // images
    return tuple(range(images)) * again if again > 1 else ()


def options_of(clip_vision: Any, reference: Reference) -> tuple[EncodeOptions, int]:
    """How squares are made of the references, and their side, 0 for the encoder's own.

    Raises:
        BadInput: a number is out of range.
    """
    batch_size = whole("batch_size", reference.batch_size, 0, MOST_BATCH)
    size = whole("encoder_size", reference.size, 0, MOST_SIZE)
    fit = shown_fit(clip_vision, reference.fit)
    return EncodeOptions(fit, reference.tiling, batch_size), size


def checked(clip_vision: Any, reference: Reference) -> tuple[Tensor, Tensor | None]:
    """References behind their mask, and the negative ones.

    Raises:
        BadInput: the images, the mask or the encoder cannot be used.
    """
    require_encoder(clip_vision)
    images, negative = reference.images, reference.negative
    require("image", images, Tensor, "an IMAGE")
    require_images(images, "image")
    if reference.mask is not None:
        require("mask", reference.mask, Tensor, "a MASK")
        images = blend_with(images, reference.mask, tuple(clip_vision.image_mean))
    if negative is not None:
        require("negative_image", negative, Tensor, "an IMAGE")
        require_images(negative, "negative_image")
        if len(negative) not in (1, len(images)):
            raise BadInput(
                f"negative_image has {len(negative)} pictures for {len(images)} references",
                "one, or one for each reference, is needed",
                "Connect a single negative image",
            )
    return images, negative


def _for_each(rows: Rows, count: int) -> Rows:
    """One for all, or for each of the pictures and again for each of their tiles."""
    pooled, hidden = rows
    again = 1 if len(hidden) == 1 else count // len(hidden)
    if again == 1:
        return rows
    return None if pooled is None else pooled.repeat(again, 1), hidden.repeat(again, 1, 1)


def _encode_nothing(
    encoder: Any, unconditional: Unconditional, known: KnownRows | None
) -> tuple[Tensor, Tensor | None]:
    """Penultimate feature of "no picture", (1, sequence, width), and a black one's pooled one."""
    pooled, hidden = _encode_empty(encoder, unconditional, known)
    if pooled is not None and unconditional is not Unconditional.BLACK_IMAGE:
        pooled, _ = _encode_empty(encoder, Unconditional.BLACK_IMAGE, known)
    return hidden, pooled


def _encode_empty(encoder: Any, unconditional: Unconditional, known: KnownRows | None) -> Rows:
    """Features of "no picture", remembered as pictures are; the pooled one of ViT-L alone."""
    size, rows = int(encoder.image_size), None if known is None else known.get(unconditional)
    if rows is not None:
        return None if rows[0] is None else rows[0].clone(), rows[1].clone()
    if unconditional is Unconditional.ZERO_PIXELS:
        encoder = copy_of(encoder)  # zero must still be zero after normalisation
        encoder.image_mean, encoder.image_std = [0.0] * 3, [1.0] * 3
    pooled, hidden = run(encoder, torch.zeros(1, size, size, 3))
    read = pooled is not None and pooled.shape[-1] == BLACK_WIDTH
    rows = pooled if read else None, hidden
    if known is not None:
        known.put(rows, unconditional)
    return rows
