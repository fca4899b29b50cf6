"""The host in a process of its own, forked from a warm one; it is ended when it hangs."""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from typing import Any

import psutil
import torch

from .bed import Bed, Outcome

HANG = 30  # seconds of the processor for one prompt
_WAITS = 300  # seconds of the clock, on a machine that has other work
_EACH = 400  # prompts of one process


class Watched:
    """Sends prompts to a child of this process, one after the other."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._child: Any = None
        self._pipe: Connection | None = None
        self._sent = 0

    def run(self, text: str) -> Outcome:
        """What became of a prompt; "hung" if nothing did, "died" if the process ended."""
        if self._child is None or self._sent >= _EACH:
            self.end()
            self._begin()
        assert self._pipe is not None
        self._sent += 1
        try:
            self._pipe.send(text)
            if self._answers():
                return self._pipe.recv()
            kind = "hung"
        except (EOFError, OSError):
            kind = "died"
        self.end()
        return Outcome(kind)

    def _answers(self) -> bool:
        """Whether an answer comes before the process has worked, or waited, for too long."""
        assert self._pipe is not None
        start, end = self._worked(), time.monotonic() + _WAITS
        while time.monotonic() < end and self._worked() - start < HANG:
            if self._pipe.poll(1):
                return True
        return False

    def _worked(self) -> float:
        try:
            times = psutil.Process(self._child.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return times.user + times.system

    def _begin(self) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=_serve, args=(self._bed, theirs, self._pipe))
        self._child.start()
        theirs.close()
        self._sent = 0

    def end(self) -> None:
        """End the process, if there is one."""
        if self._child is not None:
            self._child.kill()
            self._child.join()
            self._child = None
        if self._pipe is not None:
            self._pipe.close()


def _serve(bed: Bed, pipe: Connection, others: Connection) -> None:
    others.close()
    torch.set_num_threads(1)  # the others of this process were left behind
    silent = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(silent, number)
    while True:
        try:
            text = pipe.recv()
        except EOFError:
            return
        pipe.send(bed.run(text))
        bed.clean()
