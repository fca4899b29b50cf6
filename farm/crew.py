"""The workers of a farm: actors of Ray that each keep one maker."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from .work import Encoding, FarmError, Graph, JobError, Lost, Made, Maker, Task, counted, unmade

MakerFactory = Callable[[], Maker]
AGAIN_SECONDS = 5
SILENT_SECONDS = 60


@dataclass(frozen=True)
class Gone:
    """Instead of a result: the worker that was to bring it is gone, or its ComfyUI."""

    message: str


@dataclass(frozen=True)
class Unfit:
    """Instead of a result: nobody can bring it.

    Args:
        problem: stable short name.
        log: of the ComfyUI that is the reason.
        job: whether it holds for every worker of the job.
    """

    message: str
    problem: str = "farm.Worker"
    log: str = ""
    job: bool = False


class Worker:
    """Keeps one maker, and begins another where that one is lost.

    Each method gives with its result a name that tells one life of the worker from the next.
    """

    def __init__(self, factory: MakerFactory) -> None:
        self._factory = factory
        self._maker: Maker | None = None
        self._lock = threading.Lock()
        self._life = uuid.uuid4().hex
        self._missed = False  # the last time it was looked for

    # Who calls it waits for as long as it takes to begin a dead worker anew; a row does not wait.
    @ray.method(max_task_retries=-1)
    def ready(self) -> tuple[str, Gone | Unfit | None]:
        """Begin, so that rows find a ComfyUI that answers."""
        result = None
        if self._missed:
            time.sleep(AGAIN_SECONDS)
        self._missed = False
        try:
            self._get()
        except FarmError as error:
            result = Unfit(str(error), log=error.log, job=isinstance(error, JobError))
        except Lost as error:
            result = Gone(str(error))
            self._missed = True
        return self._life, result

    def make(
        self, key: str, graph: Graph, files: Sequence[str], embeds: Sequence[str], *contents: bytes
    ) -> tuple[str, Made | Gone]:
        """A row's pictures; the contents, which Ray brings, are of the files, then the embeds."""
        given = dict(zip(files, contents, strict=False))
        references = dict(zip(embeds, contents[len(files) :], strict=True))
        result: Made | Gone
        try:
            result = self._begun().make(Task(key, graph, given, references))
        except FarmError as error:
            result = unmade(error.problem or "farm.Row", str(error))
        except Lost as error:
            result = self._lose(error)
        return self._life, result

    def encode(
        self, key: str, graph: Graph, files: Sequence[str], *contents: bytes
    ) -> tuple[str, bytes | Gone | Unfit]:
        """The embeds of a reference."""
        given = dict(zip(files, contents, strict=True))
        result: bytes | Gone | Unfit
        try:
            result = self._begun().encode(Encoding(key, graph, given))
        except FarmError as error:
            result = Unfit(str(error), error.problem or "farm.Reference")
        except Lost as error:
            result = self._lose(error)
        return self._life, result

    # Closing does not wait for the row that is being made.
    @ray.method(concurrency_group="stop")
    def close(self) -> None:
        if self._maker is not None:
            self._maker.close()

    def _get(self) -> Maker:
        with self._lock:
            if self._maker is None:
                self._maker = self._factory()
            return self._maker

    def _begun(self) -> Maker:
        """The maker; that none can begin here is nothing of the row's."""
        try:
            return self._get()
        except FarmError as error:
            raise Lost(str(error)) from None

    def _lose(self, error: Lost) -> Gone:
        maker, self._maker = self._maker, None
        if maker is not None:
            maker.close()
        return Gone(str(error))


@dataclass(frozen=True)
class Crew:
    """Who works.

    Args:
        factories: one for each worker.
        gpus: how many each takes.
        cpus: how many each takes.
        tries: how often a row may lose its worker before it counts as failed.
        pause: seconds until such a row is tried again, if there is no other left.
        patience: seconds without any worker after which a run ends.
        threads: rows that a worker makes at once; more than one for simulations.
        names: of the workers as the user has named them, such as addresses; or none.
    """

    factories: Sequence[MakerFactory]
    gpus: float = 0
    cpus: float = 1
    tries: int = 4
    pause: float = 10
    patience: float = math.inf
    threads: int = 1
    names: Sequence[str] = ()

    def hire(self) -> list[Any]:
        """Actors of Ray: it begins a dead one anew, where there is room for it.

        One with several threads is there as often as it has threads.
        """
        remote: Any = ray.remote
        kind = remote(concurrency_groups={"stop": 1})(Worker)
        options: dict[str, Any] = {
            **{"num_cpus": self.cpus, "num_gpus": self.gpus},
            **{"max_restarts": -1, "max_concurrency": self.threads},
        }
        actors = [kind.options(**options).remote(factory) for factory in self.factories]
        return [actor for actor in actors for _ in range(self.threads)]

    def room(self) -> str:
        """What each worker needs of Ray."""
        return f"{counted(round(self.cpus), 'CPU')} and {counted(round(self.gpus), 'GPU')}"


def outcome(call: Any) -> tuple[str, Any]:
    """What a call to a worker brought, with the name of its life; empty where that ended."""
    try:
        return ray.get(call)
    except RayTaskError as error:
        return "", Unfit(f"{type(error.cause).__name__}: {error.cause}")
    except RayActorError:
        return "", Gone("its process died")
    except RayError as error:  # what was to travel is lost
        return "", Gone(str(error).split("\n")[0].rstrip("."))


class Roll:
    """Which workers are there, and what is known of the others.

    Args:
        say: takes sentences for the user.

    Attributes:
        unheard: those whom the user has named, as long as there is no word of them.
    """

    def __init__(self, crew: Crew, say: Callable[[str], None]) -> None:
        self._crew, self._say = crew, say
        self._workers = len(crew.factories) * crew.threads
        self._waits = dict[int, str]()  # those who are not there, and why
        self._out = dict[int, str]()  # those who can do nothing, and why
        self.unheard = set[int]()
        self._last, self._told = time.monotonic(), False  # when somebody was there

    def asked(self, worker: int) -> None:
        """Note that there is to be a word of a worker."""
        if self._crew.names and worker not in self._waits:
            self.unheard.add(worker)

    def here(self, worker: int) -> None:
        self.unheard.discard(worker)
        if self._waits.pop(worker, ""):
            self._say(f"Worker {worker + 1} is there again.")

    def gone(self, worker: int, why: str) -> None:
        """Note that a worker waits for its ComfyUI."""
        self.unheard.discard(worker)
        if self._waits.get(worker) != why:
            self._say(f"Worker {worker + 1} waits: {why}.")
        self._waits[worker] = why

    def unfit(self, worker: int, why: str) -> None:
        """Note that a worker can do nothing.

        Raises:
            FarmError: none of them can.
        """
        self.unheard.discard(worker)
        self._out[worker] = why
        if len(self._out) == self._workers:
            raise FarmError(why)
        self._say(f"Worker {worker + 1} cannot work: {why}.")

    def look(self, somebody: bool) -> None:
        """Say that nobody works, and in the end do not wait any longer.

        Raises:
            FarmError: the patience is at an end.
        """
        now, patience = time.monotonic(), self._crew.patience
        if somebody:
            self._last, self._told = now, False
        elif now > self._last + patience:
            found, do = (
                ("none of --servers answered", "Start ComfyUI there, or correct the addresses")
                if self._crew.names
                else ("no worker was there", "Make room for one")
            )
            raise FarmError(
                f"{found} for {patience:.0f} seconds ({self._why()}), and one is needed. {do}, and "
                "start again: the job goes on from here"
            )
        elif now > self._last + SILENT_SECONDS and not self._told:
            self._told = True
            self._say(f"No worker is there for {SILENT_SECONDS} seconds ({self._why()}). Waiting.")

    def _why(self) -> str:
        names = [self._crew.names[worker] for worker in sorted(self.unheard)]
        silent = [f"{name} has not answered yet" for name in names]
        found = [*sorted({*self._waits.values(), *self._out.values()}), *silent]
        return "; ".join(found) or (
            f"they start, or find no room: Ray has {room()}, and a worker takes {self._crew.room()}"
        )

    def close(self) -> None:
        """Say who was missing in the end."""
        silent = {n: f"{self._crew.names[n]} did not answer" for n in self.unheard}
        for worker, why in sorted({**self._out, **self._waits, **silent}.items()):
            self._say(f"Worker {worker + 1} was missing in the end: {why}.")


def room() -> str:
    """What Ray has to put workers on."""
    found = ray.cluster_resources()
    return " and ".join(counted(int(found.get(kind, 0)), kind) for kind in ("CPU", "GPU"))
