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

from .work import Encoding, FarmError, Graph, Lost, Made, Maker, Task, counted

MakerFactory = Callable[[], Maker]
AGAIN_SECONDS = 5


@dataclass(frozen=True)
class Gone:
    """Instead of a result: the worker that was to bring it is gone, or its ComfyUI."""

    message: str


@dataclass(frozen=True)
class Unfit:
    """Instead of a result: nobody can bring it."""

    message: str


class Worker:
    """Keeps one maker, and begins another where that one is lost.

    Each method gives with its result a name that tells one life of the worker from the next.
    """

    def __init__(self, factory: MakerFactory) -> None:
        self._factory = factory
        self._maker: Maker | None = None
        self._lock = threading.Lock()
        self._life = uuid.uuid4().hex

    # Who calls it waits for as long as it takes to begin a dead worker anew; a row does not wait.
    @ray.method(max_task_retries=-1)
    def ready(self) -> tuple[str, Gone | Unfit | None]:
        """Begin, so that rows find a ComfyUI that answers."""
        result = None
        try:
            self._get()
        except FarmError as error:
            result = Unfit(str(error))
        except Lost as error:
            result = Gone(str(error))
            time.sleep(AGAIN_SECONDS)
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
            result = Made((), 0, "", "farm.Row", str(error))
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
            result = Unfit(str(error))
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
    """

    factories: Sequence[MakerFactory]
    gpus: float = 0
    cpus: float = 1
    tries: int = 4
    pause: float = 10
    patience: float = math.inf
    threads: int = 1

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


def room() -> str:
    """What Ray has to put workers on."""
    found = ray.cluster_resources()
    return " and ".join(counted(int(found.get(kind, 0)), kind) for kind in ("CPU", "GPU"))
