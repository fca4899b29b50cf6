"""Few threads for what the editor asks, so that any number of questions leaves room for a run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import BoundedSemaphore
from typing import TypeVar

from ....ip_models import limits
from ....ip_models.errors import RefusedRequest

Answer = TypeVar("Answer")
_LATER = 503


class Pool:
    """Threads of its own, a bound on what waits for them, and a time for each answer.

    Args:
        threads: the interpreter goes round between them, a run and the server: few leave much.
        waiting: how many questions may wait; more are refused at once.
        seconds: after which nobody waits for an answer, the time before its turn included.
    """

    def __init__(
        self,
        threads: int,
        waiting: int = limits.WAITING_REQUESTS,
        seconds: float = limits.REQUEST_SECONDS,
    ) -> None:
        self._sizes = threads, threads + waiting
        self._seconds = seconds
        self._begin()
        if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        threads, room = self._sizes
        self._threads = ThreadPoolExecutor(threads, "ipadapter-request")
        self._room = BoundedSemaphore(room)

    async def answer(self, work: Callable[[], Answer]) -> Answer:
        """What a function gives, on one of the threads, with the context of who asks.

        Raises:
            RefusedRequest: too much waits, or the answer has not come in time.
        """
        if not self._room.acquire(blocking=False):
            raise RefusedRequest(
                "too many questions of the editor wait for an answer",
                "a few are answered at a time",
                "Ask again in a moment",
                status=_LATER,
            )
        running = self._threads.submit(copy_context().run, work)
        running.add_done_callback(self._leave)  # if it is given up before its turn, too
        try:
            return await asyncio.wait_for(asyncio.wrap_future(running), self._seconds)
        except asyncio.TimeoutError:
            raise RefusedRequest(
                f"the answer was not found in {self._seconds:g} seconds",
                "the disk of the models or the machine has to be less busy",
                "Ask again: what was read meanwhile is kept",
                status=_LATER,
            ) from None

    def _leave(self, _: Future[Answer]) -> None:
        self._room.release()
