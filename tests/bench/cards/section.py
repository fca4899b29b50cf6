"""Everything of the plan that fits into so many minutes, kept in a file as it is found."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from bench.cards import deep, goals, numbers, plan
from bench.cards.measure import HEADER, LEGEND, Found, Table
from bench.contenders import Contender
from bench.report import Check, table

_SLACK = 1.2  # a row may take so much longer than the last one of its kind
_FIRST = 60.0  # seconds that a model of a new kind may take
_LATENT, _NARROW_LATENT = 128, 16
FAMILIES = ("sd1", "sdxl")
Measure = Callable[[], Mapping[str, Found]]


@dataclass(frozen=True)
class Piece:
    """One entry of the plan: its name, its kind, how it is measured and what is promised of it."""

    name: str
    kind: str
    measure: Measure
    promised: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass
class Record:
    """What was found so far.

    Attributes:
        path: of a JSON file that is written again after each row; None for none.
        left_out: reasons by the names of rows.
    """

    path: Path | None
    about: dict[str, Any]
    rows: dict[str, Mapping[str, Found]] = field(default_factory=dict[str, Mapping[str, Found]])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    goals: list[str] = field(default_factory=list[str])
    numbers: dict[str, numbers.Numbers] = field(default_factory=dict[str, numbers.Numbers])

    def write(self) -> None:
        """Whole or not at all, so that a run that is stopped leaves what it had."""
        if self.path is None:
            return
        rows = {
            name: {party: found.as_json() for party, found in measured.items()}
            for name, measured in self.rows.items()
        }
        found = {
            **self.about,
            "goals": self.goals,
            "numbers": {name: one.as_json() for name, one in self.numbers.items()},
            "left out": self.left_out,
            "rows": rows,
        }
        text = json.dumps(found, indent=1)
        partial = self.path.with_name(f"{self.path.name}.part")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, self.path)


def run(parties: Sequence[Contender], folder: Path, minutes: float, record: Record) -> list[Check]:
    """Measure, print and keep; the counts are promises."""
    card = torch.cuda.is_available()
    end = time.monotonic() + 60 * minutes
    planned = pieces(parties, folder, card)
    checks = _agreement(record, folder, card)
    last: dict[str, float] = {}
    for number, piece in enumerate(planned):
        begin = time.monotonic()
        needed = _SLACK * last.get(piece.kind, _FIRST if card else 0.0)
        if begin + needed > end:
            record.left_out[piece.name] = f"{minutes:g} minutes are over"
            continue
        print(f"\n[{number + 1}/{len(planned)}] {piece.name}", flush=True)
        checks += _measured(record, piece)
        last[piece.kind] = time.monotonic() - begin
        record.write()
    wanted = [row for row in plan.on_card() if row.unusual == 0 and row.family == "sdxl"]
    record.goals = goals.verdicts(wanted, record.rows if card else {})
    record.write()
    print("\n" + "\n".join(record.goals))
    for name, reason in record.left_out.items():
        print(f"left out      {name}: {reason}")
    print(f"\n{LEGEND}")
    return checks


def _agreement(record: Record, folder: Path, card: bool) -> list[Check]:
    """Whether the device gives diffusers' numbers, in each precision."""
    halves = (torch.float16, torch.bfloat16) if card else (torch.bfloat16,)
    rows: list[list[str]] = []
    checks: list[Check] = []
    for family, dtype in product(FAMILIES, (torch.float32, *halves)):
        name = f"{family} {str(dtype).removeprefix('torch.')}"
        try:
            found = numbers.numbers(family, dtype, folder)
        except Exception as problem:  # noqa: BLE001 - see `_measured`
            record.left_out[f"numbers of {name}"] = f"{type(problem).__name__}: {problem}"[:300]
            continue
        record.numbers[name] = found
        rows.append(found.row(name))
        checks += found.checks(name)
    print("\n" + table(numbers.HEADER, rows) + f"\n\n{numbers.LEGEND}")
    record.write()
    return checks


def _measured(record: Record, piece: Piece) -> list[Check]:
    """One piece; what goes wrong in it must not lose the others, whose time is lent."""
    try:
        found = piece.measure()
    except Exception as problem:  # noqa: BLE001 - also what a driver or another pack raises
        record.left_out[piece.name] = f"{type(problem).__name__}: {problem}"[:300]
        return []
    record.rows[piece.name] = found
    print(table(HEADER, [one.row(party) for party, one in found.items()]))
    ours = found[goals.OURS]
    return ours.checks(piece.name, **piece.promised)


def pieces(parties: Sequence[Contender], folder: Path, card: bool) -> list[Piece]:
    """UNets used in a plain way or nearly, then transformers, then all other UNets."""
    shared = Table(parties, folder, card)
    rows = plan.on_card() if card else plan.on_processor()
    unets = [
        Piece(row.name, f"{row.family} {row.batch}", lambda row=row: shared.measure(row))
        for row in rows
    ]
    cases = deep.CASES if card else [case.narrow() for case in deep.CASES]
    transformers = [_transformer(case, folder, card) for case in cases]
    plain = sum(row.unusual < 2 for row in rows)
    return [*unets[:plain], *transformers, *unets[plain:]]


def _transformer(case: deep.Deep, folder: Path, card: bool) -> Piece:
    dtype, latent = (torch.bfloat16, _LATENT) if card else (torch.float32, _NARROW_LATENT)
    promised = {"kernels": case.most, "rest": 2, "syncs": case.syncs}
    return Piece(
        f"{case.name} {str(dtype).removeprefix('torch.')}",
        case.name,
        lambda: {goals.OURS: deep.found(case, dtype, latent, folder)},
        promised,
    )
