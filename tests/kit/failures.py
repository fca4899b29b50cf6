"""Leaves a line for each failure in $IPADAPTER_FAILURES, for whoever sees only an output's end.

With what the machine had left: a full disk or a lack of memory fails tests that are right.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import Any

import psutil
import pytest

# Not for tests that run tests; workers import this without it, and tell their controller.
FILE = os.environ.pop("IPADAPTER_FAILURES", None)


def note(report: pytest.TestReport) -> None:
    """A test, or one of its fixtures, as the controller of the workers hears of it."""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        _write(report.nodeid, getattr(crash, "message", None) or str(report.longrepr))


def note_own(excrepr: Any) -> None:
    """A failure of pytest itself, which its own summary leaves out."""
    _write("pytest itself", str(excrepr).rstrip().rpartition("\n")[2])


def _write(where: str, why: str) -> None:
    if FILE:
        line = f"{where}: {(why.strip() or '-').splitlines()[0]} ({_left()})\n"
        with contextlib.suppress(OSError), open(FILE, "a", encoding="utf-8") as file:
            file.write(line)


def _left() -> str:
    memory = f"{psutil.virtual_memory().available / 1e9:.1f} GB of memory left"
    try:
        return f"{shutil.disk_usage(tempfile.gettempdir()).free / 1e9:.1f} GB of disk, {memory}"
    except OSError as error:
        return f"no folder for temporary files: {error}, {memory}"
