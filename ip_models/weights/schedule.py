"""During which steps a reference is active, and the factor of its scale over steps and frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from random import Random

from ..errors import BadInput
from .timing import Moment, Timing

_RANDOM_SHOWN = 16


@dataclass(frozen=True)
class SigmaWindow:
    """Noise levels (sigmas) from `start` down to `end`, both included.

    Attributes:
        percents: the part of the run the levels were made from, to make them anew when the model's
            noise schedule has been changed since.
    """

    start: float
    end: float
    percents: tuple[float, float] | None = None

    def contains(self, sigma: float) -> bool:
        """Whether a step at this noise level lies in the window."""
        return self.end <= sigma <= self.start

    def under(self, to_sigma: Callable[[float], float]) -> SigmaWindow:
        """The same part of the run under another noise schedule."""
        if self.percents is None:
            return self
        start, end = self.percents
        if end <= 0:  # closed, though with a flow the first step is at the level of 0 percent
            return SigmaWindow(-math.inf, math.inf, self.percents)
        return SigmaWindow(float(to_sigma(start)), float(to_sigma(end)), self.percents)


class Curve(str, Enum):
    """How a factor goes from its first value to its last; names as users know them."""

    LINEAR = "linear"
    EASE_IN_OUT = "ease_in_out"
    EASE_IN = "ease_in"
    EASE_OUT = "ease_out"


_SHAPES: dict[Curve, Callable[[float], float]] = {
    Curve.LINEAR: lambda x: x,
    Curve.EASE_IN_OUT: lambda x: (1 - math.cos(math.pi * x)) / 2,
    Curve.EASE_IN: lambda x: math.sin(math.pi * x / 2),
    Curve.EASE_OUT: lambda x: 1 - math.cos(math.pi * x / 2),
}


@dataclass(frozen=True)
class Ramp:
    """A factor over steps or frames: a curve between two values, a list, or random numbers.

    Attributes:
        start, end: value of the first and of the last step or frame.
        values: if any, one for each step or frame instead; the last one goes on.
        seed: if any, of random numbers between start and end instead of the curve.
        timing: during which steps or frames.
        mirrored: high where it would be low, between its own least and greatest.

    Raises:
        BadInput: a number is not finite.
    """

    start: float = 1.0
    end: float = 1.0
    curve: Curve = Curve.LINEAR
    values: tuple[float, ...] = ()
    seed: int | None = None
    timing: Timing = Timing()
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.start, self.end, *self.values)):
            raise BadInput(
                f"the schedule goes from {self.start} to {self.end}",
                "finite numbers are needed",
                "Enter 1.0 and 0.0 to fade a reference out",
            )

    def at(self, place: float, count: int) -> float:
        """The factor at a place from 0 to count - 1, which may lie between two steps."""
        factor = self._factor(self.timing.at(place, count, len(self.values)))
        return self._both - factor if self.mirrored else factor

    def _factor(self, moment: Moment) -> float:
        if self.values:
            return self.values[min(int(moment.passed), len(self.values) - 1)]
        if self.seed is not None:
            # Each has numbers of its own, so that they are the same however many there are.
            return Random(f"{self.seed} {int(moment.passed)}").uniform(self.start, self.end)
        return self.start + (self.end - self.start) * _SHAPES[self.curve](moment.share)

    @cached_property
    def _both(self) -> float:
        """What it and its mirror image are together."""
        return min(self.values) + max(self.values) if self.values else self.start + self.end

    @property
    def shown(self) -> int:
        """Steps or frames of a picture that shows all of it, 0 where any number does."""
        if self.seed is not None and not self.values:
            return self.timing.shown(0) or _RANDOM_SHOWN
        return self.timing.shown(len(self.values))
