"""The curves over the blocks that x-flux-comfyui's node Advanced has, under its names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import BadInput
from ..layer import Layer, stacks
from .gains import BlockRule, Gain

_LARGEST = 1e6


def _linear(block: int, count: int) -> float:
    return block / max(count - 1, 1)


def _first_half(block: int, count: int) -> float:
    """Reaches the end at the last block of the first half, and stays there."""
    return min(block / max(count // 2 - 1, 1), 1.0)


def _second_half(block: int, count: int) -> float:
    """Stays at the beginning until the second half, which of an odd number is the smaller one."""
    half = count // 2
    return max(block - (count - half), 0) / max(half - 1, 1)


def _sigmoid(block: int, count: int) -> float:
    """From -0.48 to less than 0.48: literally so in x-flux, which never reaches the end."""
    return 1 / (1 + math.exp(-(block - count / 2) * 8 / count)) - 0.5


_SHARES: dict[str, Callable[[int, int], float]] = {
    "Linear": _linear,
    "First half": _first_half,
    "Second half": _second_half,
    "Sigmoid": _sigmoid,
}
XFLUX_CURVES = tuple(_SHARES)
"""Names in the order of x-flux's own list."""


@dataclass(frozen=True)
class XFluxCurve:
    """Factors between two strengths from the first transformer to the last.

    Attributes:
        name: one of `XFLUX_CURVES`.
        begin, end: strengths; "Sigmoid" goes around begin by about half the way to end.
    """

    name: str
    begin: float
    end: float

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
        """See `BlockRule.gains`; all references have the same gains."""
        share, found = _SHARES[self.name], stacks(layers)
        gain_of: dict[Layer, Gain] = {}
        for number, stack in enumerate(found):
            factor = self.begin + (self.end - self.begin) * share(number, len(found))
            gain_of |= dict.fromkeys(stack, Gain(factor))
        return [gain_of[layer] for layer in layers]


def xflux_curve(name: str, begin: float, end: float) -> BlockRule:
    """The rule of one of x-flux's curves.

    Raises:
        BadInput: there is no such curve, or a strength is not finite.
    """
    if name not in _SHARES:
        raise BadInput(
            f'"{name[:60]}" is not a curve over the blocks',
            f"the curves are {', '.join(XFLUX_CURVES)}",
            "Choose one",
        )
    for knob, strength in (("begin_strength", begin), ("end_strength", end)):
        if not abs(strength) <= _LARGEST:
            raise BadInput(f"{knob} is {strength}", "a finite number is needed", "Enter 1.0")
    return XFluxCurve(name, begin, end)
