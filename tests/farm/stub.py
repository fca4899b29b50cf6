"""What stands for ComfyUI where no picture is asked for: it sleeps as long as its row says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import ray
from farm.crew import Crew, Worker
from farm.work import Cut, Encoding, Filled, Made, Task

REFERENCE = "reference"


class StubMaker:
    """Sleeps, and makes bytes that follow from the row alone."""

    def __init__(self, number: int = 0) -> None:
        self.worker = f"stub:{os.getpid()}.{number}"

    def encode(self, encoding: Encoding) -> bytes:
        (content,) = encoding.files.values()
        return b"embeds of " + content

    def make(self, task: Task) -> Made:
        asked, begin = task.graph["1"]["inputs"], time.monotonic()
        time.sleep(float(asked["seconds"]))
        seconds = time.monotonic() - begin
        if asked["fails"]:
            return Made((), seconds, self.worker, "stub.Failed", str(asked["fails"]))
        return Made(((".bin", contents(task.graph, task.embeds)),), seconds, self.worker)

    def close(self) -> None:
        """Nothing was begun."""


def contents(graph: Mapping[str, Any], embeds: Mapping[str, bytes]) -> bytes:
    """The picture of a row, which anybody can make again."""
    asked = graph["1"]["inputs"]
    seed = f"{asked['seed']} {sorted(embeds.values())}"
    return Random(seed).randbytes(int(asked["bytes"]))


class StubFiller:
    """A workflow of one node, which may hear a reference."""

    files = frozenset({REFERENCE})
    notes = ()

    def fill(self, row: Mapping[str, Any], names: Mapping[str, str]) -> Filled:
        defaults = {"seconds": 0, "seed": 0, "bytes": 1000, "fails": ""}
        inputs = {name: row.get(name) or value for name, value in defaults.items()}
        if REFERENCE not in names:
            return Filled(_graph(inputs))
        name = names[REFERENCE]
        cut = Cut(f"cut-{name}", _graph({REFERENCE: name}), (name,), f"embeds-{name}")
        return Filled(_graph({**inputs, "embeds": cut.embeds}), cuts=(cut,))


def _graph(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"1": {"class_type": "Stub", "inputs": inputs}}


@dataclass(frozen=True)
class Seats(Crew):
    """Many workers in few processes: each sleeps on a thread, of which a process has many.

    Args:
        processes: among which the workers are spread.
    """

    processes: int = field(default=4, kw_only=True)

    def hire(self) -> list[Any]:
        count = len(self.factories)
        threads = -(-count // self.processes)
        kind: Any = ray.remote(num_cpus=0, max_concurrency=2 * threads, max_restarts=-1)(_Bench)
        benches = [kind.remote(threads) for _ in range(self.processes)]
        return [_Seat(benches[number % self.processes], number) for number in range(count)]


class _Bench:
    """The workers of one process."""

    def __init__(self, seats: int) -> None:
        self._workers: dict[int, Worker] = {}

    def do(self, seat: int, task: str, *given: Any) -> Any:
        worker = self._workers.setdefault(seat, Worker(partial(StubMaker, seat)))
        return getattr(worker, task)(*given)


class _Seat:
    """What the head takes for a worker's handle."""

    def __init__(self, bench: Any, number: int) -> None:
        self._bench, self._number = bench, number

    def __getattr__(self, task: str) -> _Call:
        return _Call(partial(self._bench.do.remote, self._number, task))


@dataclass(frozen=True)
class _Call:
    remote: Callable[..., Any]
