"""The pictures that reach an encoder's network, to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from ....ip_models.adapter.encoders import EncoderWidths, encoder_widths
from ....ip_models.adapter.spec import ENCODER_NAMES
from ....ip_models.pictures.batches import EncodeOptions, Squares
from .encode import Reference, checked, options_of

MOST_SHOWN = 64


@dataclass(frozen=True)
class View:
    """What an encoder gets.

    Attributes:
        images: (n, size, size, 3) on the 8-bit grid, the first of them.
        text: what they are, for people.
    """

    images: Tensor
    text: str


def view(clip_vision: Any, reference: Reference) -> View:
    """All that `encode` shows the encoder but for what stands for "no reference".

    Raises:
        BadInput: see `encode`.
    """
    images, negative = checked(clip_vision, reference)
    options, size = options_of(clip_vision, reference)
    size, colour = size or int(clip_vision.image_size), tuple(clip_vision.image_mean)
    squares = Squares(options, size, colour)
    others: Iterator[Tensor] = iter(())
    if negative is not None:
        untiled = EncodeOptions(options.fit, batch_size=options.batch_size)
        others = Squares(untiled, size, colour).every(negative)
    shown = list(islice(chain(squares.every(images), others), MOST_SHOWN))
    tiles = reference.tiling.count**2 * len(images) if reference.tiling.used else 0
    text = _text(len(images), tiles, 0 if negative is None else len(negative))
    return View(torch.stack(shown), text)


def _text(pictures: int, tiles: int, negatives: int) -> str:
    counted = [(pictures, "whole"), (tiles, "tile"), (negatives, "negative")]
    parts = [f"{n} {noun}{'' if n == 1 else 's'}" for n, noun in counted if n]
    total = pictures + tiles + negatives
    order = "in this order" if total <= MOST_SHOWN else f"the first {MOST_SHOWN} of {total} shown"
    return f"the encoder sees {', '.join(parts)}" + (f", {order}" if total > 1 else "")


# Makes a pooled feature, as wide as the network where no projection follows.
_CLASS = "vision_model.embeddings.class_embedding"
_LAYER = ".layer_norm1.weight"
_NO_WHOLE = "gives no picture as a whole"


def describe_encoder(encoder: Any) -> str:
    """Name, input size, features and memory of a CLIP or SigLIP, in lines for people."""
    weights = encoder.model.state_dict()
    layers = sum(key.endswith(_LAYER) for key in weights)
    widths = encoder_widths(weights)
    assert widths is not None
    width, tokens = widths.penultimate, widths.sequence
    pooled = widths.pooled or (width if _CLASS in weights else None)
    name = EncoderWidths(pooled, width, tokens).name
    whole = f"gives the picture as a whole as {pooled} numbers" if pooled else _NO_WHOLE
    lines = [
        f"{name}, {layers} layers, {encoder.image_size} px, {tokens} tokens",
        whole,
        f"gives the details of it as {tokens} x {width}",
    ]
    if name in (*ENCODER_NAMES.values(), "ViT-L 336"):
        lines.append(f"for adapters that need {name}")
    if pooled is None:
        lines.append(
            "without the part that sums the picture up: not for adapters that read it as a whole"
        )
    return "\n".join([*lines, describe_memory(encoder)])


def describe_memory(encoder: Any) -> str:
    """Size of the weights and where they work."""
    megabytes = encoder.patcher.model_size() / 2**20
    return f"{megabytes:.0f} MB on {encoder.load_device}"
