"""What travels between the head of a farm and its workers: plain values, no Ray and no ComfyUI."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Graph = Mapping[str, Mapping[str, Any]]  # a workflow as ComfyUI's API takes it


@dataclass(frozen=True)
class Encoding:
    """A reference that is encoded once for a whole job.

    Args:
        key: digest of the graph and of the contents of its files; names the embeds.
        graph: encodes the reference and saves its embeds.
        files: bytes of the pictures by their names in `graph`, under the server's input folder.
    """

    key: str
    graph: Graph
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Task:
    """A row of the table, ready to be made.

    Args:
        key: digest of the graph, of the contents of its files and of the embeds it takes.
        graph: makes the picture.
        files: bytes of pictures and masks by their names in `graph`.
        embeds: bytes of encoded references by their names in `graph`.
    """

    key: str
    graph: Graph
    files: Mapping[str, bytes] = field(default_factory=dict)
    embeds: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """What became of a row.

    Args:
        pictures: contents of the saved pictures and their endings, as `(".png", bytes)`.
        seconds: from queueing to the last picture.
        worker: who made it, as `host:port`.
        problem: stable short name of the error, as "ipadapter.WrongBase"; empty where all is well.
        message: one sentence for the user; empty where all is well.
    """

    pictures: tuple[tuple[str, bytes], ...]
    seconds: float
    worker: str
    problem: str = ""
    message: str = ""


def unmade(problem: str, message: str) -> Made:
    """What became of a row that no worker made."""
    return Made((), 0, "", problem, message)


@dataclass(frozen=True)
class Cut:
    """A reference to be encoded, before its files are read.

    Args:
        key: digest of the graph; the names in it hold the contents' digests, so equal keys are
            equal embeds.
        graph: encodes the reference and saves its embeds.
        files: names in `graph` of the pictures it needs.
        embeds: name under which the row's graph loads what comes out.
    """

    key: str
    graph: Graph
    files: tuple[str, ...]
    embeds: str


@dataclass(frozen=True)
class Filled:
    """A row's graph with its values in place, before its files are read.

    Args:
        graph: makes the picture.
        files: names in `graph` of the pictures and masks it needs.
        cuts: what is encoded once for the job, and loaded by `graph`.
    """

    graph: Graph
    files: tuple[str, ...] = ()
    cuts: tuple[Cut, ...] = ()


class Filler(Protocol):
    """What `workflow.Template` is to the rest: a workflow whose marks a row's cells fill."""

    @property
    def files(self) -> frozenset[str]:
        """The columns whose cells are paths of pictures."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the start of a job, as where references are encoded."""
        ...

    def fill(self, row: Mapping[str, Any], names: Mapping[str, str]) -> Filled:
        """The graph of a row. A cell that is missing, None or "" leaves the workflow's value.

        Args:
            row: cells by column, texts or numbers as the table has them.
            names: for each column of `files` that the row has, the name by content that the
                picture gets in the server's input folder, as "farm-3f2a….png".

        Raises:
            FarmError: a cell does not fit, in a sentence.
        """
        ...


@dataclass(frozen=True)
class Settings:
    """Which ComfyUI a worker drives.

    Args:
        address: of one that runs, as "http://gpu1:8188"; empty where the worker starts one.
        comfyui: folder of the ComfyUI to start.
        python: that runs it; empty for the worker's own.
        models: an extra_model_paths.yaml for it, or empty.
        cpu: whether it is to calculate on the CPU.
    """

    address: str = ""
    comfyui: str = ""
    python: str = ""
    models: str = ""
    cpu: bool = False


class Lost(Exception):
    """The worker is gone or cannot go on: the row is to be made again by another."""


class Maker(Protocol):
    """Who makes pictures: a ComfyUI, or what stands for one where no picture is asked for."""

    def encode(self, encoding: Encoding) -> bytes:
        """The embeds of a reference, in the format of Save Embeds.

        Raises:
            Lost: the worker cannot go on.
            FarmError: the reference cannot be encoded, in a sentence, with the name of the problem.
        """
        ...

    def make(self, task: Task) -> Made:
        """The pictures of a row, or why there are none.

        Raises:
            Lost: the worker cannot go on.
        """
        ...

    def close(self) -> None:
        """End whatever this maker began."""
        ...


class FarmError(Exception):
    """What is wrong with a job, in a sentence: found, needed, what to do.

    Args:
        problem: stable short name, where it is of one row and has one already.
        log: of the ComfyUI that it is about.
    """

    def __init__(self, message: str, problem: str = "", log: str = "") -> None:
        super().__init__(message)
        self.problem, self.log = problem, log


class JobError(FarmError):
    """What no worker of the job can do, whoever found it."""


@contextlib.contextmanager
def named(problem: str) -> Generator[None]:
    """Gives what is raised inside the name of its problem, where it has none."""
    try:
        yield
    except FarmError as error:
        error.problem = error.problem or problem
        raise


def counted(number: int, one: str, many: str = "") -> str:
    """As "1 row" or "2,000 rows"; what is not made by an s is given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def graph_key(graph: Graph) -> str:
    """Of what it makes; the titles of its nodes change nothing."""
    parts = ("class_type", "inputs")
    plain = {key: {part: node.get(part) for part in parts} for key, node in graph.items()}
    return digest(json.dumps(plain, sort_keys=True).encode())
