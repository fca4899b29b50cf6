"""The process in which hostile files are opened; it says what came of each, and what it cost."""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from pack.ip_models.errors import IPAdapterError

from . import served
from .bed import GOOD, Bed
from .cases import Case
from .corpus import corpus
from .openers import Absent, openers

_KB = 1024


class Told(NamedTuple):
    """What came of a case, as it is sent from process to process.

    Attributes:
        size: bytes of the files.
        ends: by who opened it: seconds, "" or the kind of its error, and what that says.
        lost: what somebody did not find although it is there.
        strangers: who handed out tensors that are not in the file.
        memory: bytes by which the process grew at its peak.
        descriptors, threads: by how many it has more afterwards.
    """

    size: int
    ends: dict[str, tuple[float, str, str]]
    lost: dict[str, str]
    strangers: list[str]
    memory: int
    descriptors: int
    threads: int


def serve(bed: Bed, questions: IO[str], answers: IO[str]) -> None:
    """Open what is asked for, a case a line, until nobody asks any more."""
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    with torch.no_grad():
        _warm_up(bed)
        gc.collect()
        gc.freeze()  # of hundreds of thousands of objects of the host only new ones are looked at
        _answer(answers, "warm")
        for line in questions:
            label, place, size = json.loads(line)
            told = open_case(bed, label, Path(place), size)
            _answer(answers, told)


def _answer(answers: IO[str], told: object) -> None:
    answers.write(json.dumps(told) + "\n")
    answers.flush()


def _warm_up(bed: Bed) -> None:
    """What is imported and remembered once is nobody's cost."""
    for label in GOOD.values():
        place, size = bed.lay(Case(label, ()))
        for _ in range(2):
            open_case(bed, label, place, size)


def open_case(bed: Bed, label: str, place: Path, size: int) -> Told:
    """Have a case opened by everybody who might.

    Args:
        label: of the whole model that it was made of.
        place: where it lies.
        size: bytes of its files.
    """
    bed.enter(place)
    whole = corpus()[label]
    gc.collect()
    descriptors, threads, before = _descriptors(), threading.active_count(), _begin_peak()
    ends: dict[str, tuple[float, str, str]] = {}
    lost: dict[str, str] = {}
    marks: dict[str, set[str]] = {}
    peak = 0
    for who, opener in openers(whole.sort).items():
        begun = time.process_time()
        kind, said = "", ""
        try:
            found = opener(whole.name)
        except Exception as error:  # noqa: BLE001 (whatever comes is told)
            kind, said = _told_of(error)
            found = None
        peak = max(peak, _status("VmHWM"))
        ends[who] = time.process_time() - begun, kind, said
        if found is not None:
            marks[who] = served.marks(found.tensors)
            lost |= {who: found.lost} if found.lost else {}
        del found
        gc.collect()
        _begin_peak()
    after, left = _descriptors(), threading.active_count()
    wrong = served.strangers(_telling(marks), label, place)
    return Told(size, ends, lost, wrong, (peak - before) * _KB, after - descriptors, left - threads)


def _telling(marks: Mapping[str, set[str]]) -> dict[str, set[str]]:
    return {who: found for who, found in marks.items() if found}


def _told_of(error: Exception) -> tuple[str, str]:
    if isinstance(error, Absent):
        return "absent", ""
    if isinstance(error, IPAdapterError):
        return "sentence", str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return "raw", f"{type(error).__name__} in {Path(where.filename).name}: {str(error)[:200]}"


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _begin_peak() -> int:
    """Count the peak of memory from now on; what is in use now, in KB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise AssertionError(name)


def plain(told: Any) -> Told:
    """What another process told."""
    return Told(*told)
