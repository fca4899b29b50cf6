"""What a card is to reach, and whether it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.cards.measure import Found
from bench.cards.plan import Row
from bench.report import megabytes, number

OURS, INCUMBENT = "ours", "incumbent"
_MOST_STEP, _MOST_SHARE = 0.02, 0.2
Measured = Mapping[str, Found]


@dataclass(frozen=True)
class Goal:
    """One goal for a row.

    Attributes:
        found: the number, None where what it needs was not measured.
        text: the number as people write it.
    """

    what: str
    most: float
    found: Callable[[Measured], float | None]
    text: Callable[[float], str]

    def verdict(self, row: str, measured: Measured | None) -> str:
        """One line; `measured` is None where no card ran the row."""
        value = None if measured is None else self.found(measured)
        if value is None:
            return f"not measured  {row}: {self.what}"
        word = "met" if value <= self.most else "missed"
        return f"{word:<12}  {row}: {self.what}, found {self.text(value)}"


def _overhead(name: str) -> Callable[[Measured], float | None]:
    return lambda measured: measured[name].step - 1 if name in measured else None


def _share(measured: Measured) -> float | None:
    """Of the original's overhead; none where it has none."""
    ours, theirs = _overhead(OURS)(measured), _overhead(INCUMBENT)(measured)
    return None if ours is None or theirs is None or theirs <= 0 else max(0.0, ours) / theirs


def _weights(measured: Measured) -> float | None:
    return measured[OURS].weights if OURS in measured else None


GOALS = (
    Goal("step over unpatched at most +2 %", _MOST_STEP, _overhead(OURS), "{:+.2%}".format),
    Goal("at most a fifth of the original's overhead", _MOST_SHARE, _share, number),
    Goal("no bytes of adapter weights resident", 0, _weights, megabytes),
)


def verdicts(rows: list[Row], measured: Mapping[str, Measured]) -> list[str]:
    """A line for each goal and row; rows that no card ran are missing in `measured`."""
    return [goal.verdict(row.name, measured.get(row.name)) for row in rows for goal in GOALS]
