"""What is measured, what is worth most first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch

BATCHES, REFERENCES = (2, 1, 4), (1, 3)
_HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Row:
    """One way of using an adapter."""

    family: str
    dtype: torch.dtype
    batch: int = 2
    references: int = 1
    masked: bool = False

    @property
    def name(self) -> str:
        """For people, and as a key in the record."""
        precision = str(self.dtype).removeprefix("torch.")
        mask = ", mask" if self.masked else ""
        return f"{self.family} {precision}, batch {self.batch}, refs {self.references}{mask}"

    @property
    def unusual(self) -> int:
        """In how many ways it differs from the plain use."""
        return (self.batch != BATCHES[0]) + (self.references != REFERENCES[0]) + self.masked


def on_card() -> list[Row]:
    """The goal's row; all rows that differ from the plain use in one way; the rest."""
    rows = [
        Row(*one) for one in product(("sdxl", "sd1"), _HALVES, BATCHES, REFERENCES, (False, True))
    ]
    return sorted(rows, key=lambda row: (min(row.unusual, 2) > 1, _group(row), row.unusual))


def _group(row: Row) -> tuple[bool, bool]:
    return row.dtype != _HALVES[0], row.family != "sdxl"


def on_processor() -> list[Row]:
    """The same for narrow UNets, in the precision that ComfyUI uses there."""
    return list(_in_single(on_card()))


def _in_single(rows: list[Row]) -> Iterator[Row]:
    for row in rows:
        if row.dtype == _HALVES[0]:
            yield Row(row.family, torch.float32, row.batch, row.references, row.masked)
