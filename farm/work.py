"""What travels between the head of a farm and its workers: plain values, no Ray and no ComfyUI."""

from __future__ import annotations

from collections.abc import Mapping
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


class Lost(Exception):
    """The worker is gone or cannot go on: the row is to be made again by another."""


class Maker(Protocol):
    """Who makes pictures: a ComfyUI, or what stands for one where no picture is asked for."""

    def encode(self, encoding: Encoding) -> bytes:
        """The embeds of a reference, in the format of Save Embeds.

        Raises:
            Lost: the worker cannot go on.
            FarmError: the reference cannot be encoded, in a sentence.
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
    """What is wrong with a job, in a sentence: found, needed, what to do."""
