"""Keeps the process in which files are opened: forked from a warm one, ended when it hangs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NoReturn

import torch

from . import child
from .bed import Bed
from .cases import Case
from .child import Told

HANG = 40  # seconds of the clock, on a machine that has other work
WARM_UP = 120
_EACH = 150  # cases of one process, after which another one begins


class Gone(Exception):
    """The process hangs or has died over a case."""


class Keeper:
    """Has one case after another opened, each in a process of limited patience."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._pid = 0
        self._cases = 0
        self._questions: IO[str] | None = None
        self._answers: IO[str] | None = None

    def ask(self, case: Case) -> Told:
        """What came of a case.

        Raises:
            Gone: no answer came.
        """
        if not self._pid or self._cases >= _EACH:
            self.end()
            self._begin()
            self._line(WARM_UP)
        assert self._questions is not None
        place, size = self._bed.lay(case)
        try:
            self._questions.write(json.dumps((case.label, str(place), size)) + "\n")
            self._questions.flush()
            told = child.plain(json.loads(self._line(HANG)))
        except (Gone, BrokenPipeError) as error:
            raise Gone(f"{error or 'no answer'}{self._died()}") from error
        finally:
            self._bed.clear(place)
        self._cases += 1
        return told

    def _line(self, seconds: float) -> str:
        assert self._answers is not None
        ready = select.select([self._answers], [], [], seconds)[0]
        if not ready:
            raise Gone(f"hangs: no answer in {seconds:g} seconds")
        line = self._answers.readline()
        if not line:
            raise Gone("has ended the process")
        return line

    def _begin(self) -> None:
        mine, theirs = os.pipe(), os.pipe()
        pid = os.fork()
        if not pid:
            _be_the_child(self._bed, mine, theirs)
        os.close(mine[0])
        os.close(theirs[1])
        self._pid, self._cases = pid, 0
        self._questions, self._answers = os.fdopen(mine[1], "w"), os.fdopen(theirs[0])

    def _died(self) -> str:
        """End what is left of the process; by which signal it had ended itself."""
        status = self.end()
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        return f" ({signal.Signals(number).name})" if number not in (0, signal.SIGKILL) else ""

    def end(self) -> int:
        """End the process, if there is one."""
        if not self._pid:
            return 0
        pid, self._pid = self._pid, 0
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        for file in (self._questions, self._answers):
            with contextlib.suppress(OSError):
                if file is not None:
                    file.close()
        return status


def _be_the_child(bed: Bed, mine: tuple[int, int], theirs: tuple[int, int]) -> NoReturn:
    """Serve, and never come back to what the parent was doing."""
    code = 1
    try:
        os.close(mine[1])
        os.close(theirs[0])
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        torch.set_num_threads(1)  # the others of this process were left behind
        with os.fdopen(mine[0]) as questions, os.fdopen(theirs[1], "w") as answers:
            child.serve(bed, questions, answers)
        code = 0
    finally:
        os._exit(code)


@contextmanager
def keeping(bed: Bed) -> Iterator[Keeper]:
    """A keeper whose process ends with the block."""
    keeper = Keeper(bed)
    try:
        yield keeper
    finally:
        keeper.end()
