"""The pictures that reach an encoder's network, to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from ...ip_models.squares import Manner, Squares
from .vision import Reference, checked, manner_of

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
    manner, size = manner_of(reference)
    size, colour = size or int(clip_vision.image_size), tuple(clip_vision.image_mean)
    squares = Squares(manner, size, colour)
    others: Iterator[Tensor] = iter(())
    if negative is not None:
        untiled = Manner(reference.fit, at_once=manner.at_once)
        others = Squares(untiled, size, colour).every(negative)
    shown = list(islice(chain(squares.every(images), others), MOST_SHOWN))
    tiles = reference.tiling.count**2 * len(images) if reference.tiling.used else 0
    text = _text(len(images), tiles, 0 if negative is None else len(negative))
    return View(torch.stack(shown), text)


def _text(wholes: int, tiles: int, negatives: int) -> str:
    counted = [(wholes, "whole"), (tiles, "tile"), (negatives, "negative")]
    parts = [f"{n} {noun}{'' if n == 1 else 's'}" for n, noun in counted if n]
    total = wholes + tiles + negatives
    order = "in this order" if total <= MOST_SHOWN else f"the first {MOST_SHOWN} of {total} shown"
    return f"the encoder sees {', '.join(parts)}" + (f", {order}" if total > 1 else "")
