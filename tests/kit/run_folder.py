"""One temporary folder for a whole run of the tests, which goes when the run ends, however it ends.

It is the TMPDIR of the run and of all it starts, so that everything temporary lies in it: pytest's
own folders, the bases of servers, the profiles of browsers. By its TMPDIR a process is known to be
of the run, too. `--basetemp` puts pytest's folders where they stay.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path

import psutil

PREFIX = "ipadapter-tests-"
OWNED = re.compile(rf"{PREFIX}(\d+)-\w+")
VARIABLES = ("TMPDIR", "TEMP", "TMP")
ENDING = (signal.SIGINT, signal.SIGTERM)
SECONDS = 10


def enter() -> None:
    """Make the folder; the workers of pytest-xdist are in that of their controller."""
    place = Path(tempfile.gettempdir())
    if OWNED.fullmatch(place.name):
        return
    sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    os.environ |= dict.fromkeys(VARIABLES, str(folder))
    tempfile.tempdir = str(folder)
    # A kill is as good as Ctrl-C: fixtures end what they started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    atexit.register(leave, folder)


def leave(folder: Path) -> None:
    """Remove the folder, for good."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    remove(folder)


def sweep(place: Path) -> None:
    """Remove the folders of runs that had no time to do it themselves."""
    for folder in place.glob(f"{PREFIX}*"):
        owner = OWNED.fullmatch(folder.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            remove(folder)


def remove(folder: Path) -> None:
    """End what still works in the folder, and remove it."""
    left = [process for process in psutil.process_iter() if works_in(process, folder)]
    for process in left:
        process.kill()
    psutil.wait_procs(left, SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get("TMPDIR") == str(folder)
    except (psutil.Error, OSError):
        return False
