"""When a factor changes: in which whole steps of a run, or pictures of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from ..errors import BadInput

TO_THE_END = -1
_LEAST, _ROUNDS = 8, 3  # steps or frames of a picture, and fades where they are repeated


class Repeat(str, Enum):
    """What comes after a fade."""

    ONCE = "once"
    LOOP = "loop"
    ALTERNATE = "alternate"


class Moment(NamedTuple):
    """How far a fade has come.

    Attributes:
        passed: steps or frames since its beginning, perhaps between two.
        share: from 0 to 1.
    """

    passed: float
    share: float


@dataclass(frozen=True)
class Timing:
    """When a factor changes; by itself over all steps or frames.

    Attributes:
        first: step or frame at which a fade begins, counted from 0.
        last: at which it ends, `TO_THE_END` for the last of all.
        lead_in, lead_out: how many stand still before and after everything else.
        repeat: with `length`, what comes after a fade.
        length: steps or frames of a fade; 0 for as many as it has values, else all.

    Raises:
        BadInput: it ends before it begins.
    """

    first: int = 0
    last: int = TO_THE_END
    lead_in: int = 0
    lead_out: int = 0
    repeat: Repeat = Repeat.ONCE
    length: int = 0

    def __post_init__(self) -> None:
        if TO_THE_END < self.last < self.first:
            raise BadInput(
                f"first_frame is {self.first} and last_frame is {self.last}",
                "the last one is not before the first",
                f"Enter {TO_THE_END} as last_frame for the end, or swap them",
            )

    def at(self, place: float, count: int, values: int = 0) -> Moment:
        """How far the fade is at a place from 0 to count - 1.

        Args:
            values: of a list, 0 for a curve.
        """
        inner = max(count - self.lead_in - self.lead_out, 1)
        place = max(place - self.lead_in, 0.0)
        if self.lead_out:
            place = min(place, inner - 1.0)
        if self.repeat is not Repeat.ONCE:
            inner = self.length or values or inner
            number, place = divmod(place, inner)
            if self.repeat is Repeat.ALTERNATE and number % 2:
                place = inner - 1 - place
        last = inner - 1 if self.last == TO_THE_END else self.last
        passed = max(place - self.first, 0.0)
        if self.last != TO_THE_END:
            passed = min(passed, last - self.first)
        span = last - self.first
        # Where both are one the factor jumps behind it.
        share = min(passed / span, 1.0) if span > 0 else float(place > last == self.last)
        return Moment(passed, share)

    def shown(self, values: int) -> int:
        """Steps or frames of a picture that shows all of it, 0 where any number does.

        Args:
            values: of a list, 0 for a curve.
        """
        if self == Timing():
            return 0
        fade = max(values, self.first + 2, self.last + 2, _LEAST)
        if self.repeat is not Repeat.ONCE:
            fade = _ROUNDS * (self.length or fade)
        return self.lead_in + fade + self.lead_out
