"""During which steps a reference is active, and the factor of its scale over steps and frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ..errors import BadInput


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
    """A factor over steps or frames: a curve between two values, or a list of values.

    Attributes:
        start, end: value of the first and of the last step or frame.
        values: if any, one for each step or frame instead; the last one goes on.

    Raises:
        BadInput: a number is not finite.
    """

    start: float = 1.0
    end: float = 1.0
    curve: Curve = Curve.LINEAR
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.start, self.end, *self.values)):
            raise BadInput(
                f"the schedule goes from {self.start} to {self.end}",
                "finite numbers are needed",
                "Enter 1.0 and 0.0 to fade a reference out",
            )

    def at(self, place: float, count: int) -> float:
        """The factor at a place from 0 to count - 1, which may lie between two steps."""
        if self.values:
            return self.values[min(max(int(place), 0), len(self.values) - 1)]
        share = min(max(place / (count - 1), 0.0), 1.0) if count > 1 else 0.0
        return self.start + (self.end - self.start) * _SHAPES[self.curve](share)
