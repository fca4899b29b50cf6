"""Figures of a server over many prompts, and whether they grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy

# What each figure may grow by per hundred prompts: megabytes, and numbers of what they are called.
ALLOWED = {"memory": 0.5, "descriptors": 0.2, "threads": 0.0, "files": 0.0}
# A line through whole numbers of which one is another by chance is not quite level.
ROUNDING = 1e-9
FOLDERS = ("models", "output", "temp", "input")
PER = 100


@dataclass(frozen=True)
class Figures:
    """What a server holds after a number of prompts.

    Attributes:
        memory: that somebody holds, in megabytes, without the holes between.
        resident: all that is in memory, with pages of files and with holes, for comparison.
        files: in the folders of models, output, input and what is temporary.
    """

    prompts: int
    memory: float
    descriptors: int
    threads: int
    files: int
    resident: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.prompts:5} prompts: {self.memory:.2f} MB ({self.resident:.0f} resident), "
            f"{self.descriptors} descriptors, "
            f"{self.threads} threads, {self.files} files"
        )


def read(prompts: int, told: dict[str, Any], base: Path) -> Figures:
    """The figures of now, from what the server tells and what lies in its folders."""
    return Figures(prompts, files=len(list(files(base))), **told)


def files(base: Path) -> Iterator[Path]:
    for name in FOLDERS:
        yield from (path for path in (base / name).rglob("*") if not path.is_dir())


def growth(figures: Sequence[Figures], warm_up: int) -> dict[str, float]:
    """Growth of each figure per hundred prompts: of a line through all after the first prompts."""
    later = [one for one in figures if one.prompts >= warm_up]
    prompts = numpy.array([one.prompts for one in later], float)
    found: dict[str, float] = {}
    for name in ALLOWED:
        values = numpy.array([asdict(one)[name] for one in later], float)
        found[name] = float(numpy.polyfit(prompts, values, 1)[0]) * PER
    return found


def too_much(found: dict[str, float]) -> list[str]:
    """Names of the figures that grow by more than is allowed."""
    return [name for name, value in found.items() if value > ALLOWED[name] + ROUNDING]
