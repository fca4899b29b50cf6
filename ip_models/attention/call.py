"""One call of the model: which conditionings, which pictures, which step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from .masks import Crop


class BatchMode(str, Enum):
    """Which reference, and which mask, each picture of a batch or frame of a video gets."""

    ALL = "all references in every picture"
    REPEAT_LAST = "one per picture, last repeats"
    LOOP = "one per picture, loop"
    SPREAD = "one per picture, spread"


PICK: dict[BatchMode, Callable[[int, int, int], int]] = {
    BatchMode.ALL: lambda place, total, count: min(place, count - 1),
    BatchMode.REPEAT_LAST: lambda place, total, count: min(place, count - 1),
    BatchMode.LOOP: lambda place, total, count: place % count,
    BatchMode.SPREAD: lambda place, total, count: min(place * count // total, count - 1),
}


@dataclass(frozen=True)
class CondChunk:
    """One conditioning's share of a batch.

    Attributes:
        cond_or_uncond: `COND` or `UNCOND`; the host's list of that name holds places in the list of
            conditionings instead, which some guiders order in another way.
        crop: the part of the picture it is about, None for all of it.
        bindings: the references that were bound to it.
    """

    cond_or_uncond: int
    crop: Crop | None = None
    bindings: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Call:
    """One call of the model.

    Attributes:
        chunks: in the order of the batch.
        frames: place in the whole batch of each picture of a chunk.
        total: number of pictures in the whole batch.
        within: place of each picture in the run, where that is a part of a batch.
        sigma: noise level, None if it was not read.
        step, steps: place in the sampler's schedule and its length.
    """

    chunks: tuple[CondChunk, ...]
    frames: tuple[int, ...] = (0,)
    total: int = 1
    sigma: float | None = None
    step: int = 0
    steps: int = 1
    within: tuple[int, ...] = ()
