"""What stands for a ComfyUI where no picture is asked for: it sleeps as long as its row says."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pack.farm.work import Encoding, Made, Task

# A workflow of one node, of which a table fills what it needs: how long a picture takes.
WORKFLOW = {
    "1": {
        "class_type": "Stub",
        "inputs": {"seconds": 1.0, "seed": 0, "bytes": 1000, "fails": ""},
        "_meta": {"title": "stub"},
    }
}


class StubMaker:
    """Sleeps, and makes bytes that follow from the row alone.

    Args:
        number: of the worker, part of its name.
    """

    def __init__(self, number: int) -> None:
        self.worker = f"stub-{os.getpid()}:{number}"
        self.encoded = 0

    def encode(self, encoding: Encoding) -> bytes:
        self.encoded += 1
        return b"embeds " + encoding.key.encode()

    def make(self, task: Task) -> Made:
        from farm.work import Made

        (node,) = task.graph.values()
        asked, begin = node["inputs"], time.monotonic()
        time.sleep(float(asked["seconds"]))
        seconds = time.monotonic() - begin
        if asked["fails"]:
            return Made((), seconds, self.worker, "stub.Failed", str(asked["fails"]))
        return Made(((".bin", contents(asked)),), seconds, self.worker)

    def close(self) -> None:
        """Nothing was begun."""


def contents(asked: dict[str, object]) -> bytes:
    """The picture of a row, which anybody can make again."""
    return Random(str(asked["seed"])).randbytes(int(str(asked["bytes"])))


@dataclass(frozen=True)
class StubMakers:
    """Makes the makers where the workers are."""

    def __call__(self, number: int) -> StubMaker:
        return StubMaker(number)
