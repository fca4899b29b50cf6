"""Settings to compare: each with each, or one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product

from .. import limits
from ..errors import BadInput

SEPARATOR = " | "
"""Between the parts of a label; a sheet reads rows and columns from it."""


class Order(str, Enum):
    """Which of several lists go together."""

    GRID = "each with each"
    PAIRS = "one after the other"


@dataclass(frozen=True)
class Axis:
    """One setting and its values.

    Attributes:
        name: of the setting, for labels; empty where its values say enough.
        values: none where it is not compared.
        usual: its value then.
    """

    name: str
    values: list[float | str]
    usual: float | str

    def label(self, value: float | str) -> str:
        """A value in words."""
        shown = value if isinstance(value, str) else f"{value:g}"
        return f"{self.name} {shown}".strip()


@dataclass(frozen=True)
class Sweep:
    """A value of each axis for each run of the graph.

    Attributes:
        values: by axis.
        labels: what is special about each run.
        columns: runs in a row that differ in one axis only.
    """

    values: tuple[list[float | str], ...]
    labels: list[str]
    columns: int


def sweep(axes: Sequence[Axis], order: Order) -> Sweep:
    """All runs, those that differ in the last axis side by side.

    Raises:
        BadInput: nothing is to be compared, or too much.
    """
    used = [axis for axis in axes if axis.values]
    if not used:
        raise BadInput(
            "no values are entered",
            "a sweep needs one list or more",
            "Enter scales, e.g. 0, 0.5, 1",
        )
    runs = _grid(used) if order is Order.GRID else _pairs(used)
    columns = [
        [run[used.index(axis)] if axis in used else axis.usual for run in runs] for axis in axes
    ]
    labels = [
        SEPARATOR.join(axis.label(value) for axis, value in zip(used, run, strict=True))
        for run in runs
    ]
    across = len(used[-1].values) if order is Order.GRID and len(used) > 1 else len(runs)
    return Sweep(tuple(columns), labels, across)


def numbers(name: str, values: Sequence[float], low: float, high: float) -> list[float | str]:
    """The values, if each of them may be one of the setting.

    Raises:
        BadInput: one may not.
    """
    for place, value in enumerate(values, 1):
        if not low <= value <= high:
            raise BadInput(
                f"number {place} of {name} is {value:g}",
                f"a number from {low:g} to {high:g} is needed",
                "Enter one between them",
            )
    return [float(value) for value in values]


def words(name: str, text: str, known: Sequence[str]) -> list[float | str]:
    """Words of a text, separated by commas or lines, each of which has to be known.

    Raises:
        BadInput: one is not.
    """
    found = [word.strip() for word in text.replace("\n", ",").split(",")]
    for word in filter(None, found):
        if word not in known:
            raise BadInput(
                f'"{word[:60]}" in {name} is not known',
                f"{', '.join(known)} are known",
                "Correct the name",
            )
    return [word for word in found if word]


def require_order(starts: Sequence[float | str], ends: Sequence[float | str]) -> None:
    """Refuse runs in which the reference would end before it begins.

    Raises:
        BadInput: there is one.
    """
    for start, end in zip(starts, ends, strict=True):
        if float(start) > float(end):
            raise BadInput(
                f"start {float(start):g} with end {float(end):g} would be one of the runs",
                "a reference does not end before it begins",
                'Set order to "one after the other", or take out such starts or ends',
            )


def _grid(axes: Sequence[Axis]) -> list[tuple[float | str, ...]]:
    count = 1
    for axis in axes:
        count *= len(axis.values)
    _require_few(count)
    return list(product(*(axis.values for axis in axes)))


def _pairs(axes: Sequence[Axis]) -> list[tuple[float | str, ...]]:
    """The last value of a shorter list goes on."""
    count = max(len(axis.values) for axis in axes)
    _require_few(count)
    each = [[*axis.values, *axis.values[-1:] * (count - len(axis.values))] for axis in axes]
    return list(zip(*each, strict=True))


def _require_few(count: int) -> None:
    if count > limits.SWEEP:
        raise BadInput(
            f"these lists make {count:,} pictures",
            f"a sweep makes no more than {limits.SWEEP}",
            "Enter fewer values",
        )
