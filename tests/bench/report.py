"""Rows of numbers as plain text, and which of them are promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One promise and what was found.

    Attributes:
        limit: what the number may be at most.
    """

    what: str
    found: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the promise is kept."""
        return self.found <= self.limit

    def __str__(self) -> str:
        return f"{self.what}: {number(self.found)}, promised are at most {number(self.limit)}"


def verdict(checks: Sequence[Check]) -> str:
    """One word for several promises; nothing where none is made."""
    if not checks:
        return ""
    return "PASS" if all(check.passed for check in checks) else "FAIL"


def number(value: float) -> str:
    """A count as people write it: whole where it is whole."""
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def megabytes(size: float) -> str:
    """Bytes in units of 2**20."""
    value = size / 2**20
    return f"{value:.2g} MB" if 0 < abs(value) < 10 else f"{value:.0f} MB"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [_line(row, widths) for row in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([row[0].ljust(widths[0]), *aligned[1:]]).rstrip()
