"""A maker whose rows say what goes wrong with them, and that writes down what it was asked for."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random

from farm.work import Encoding, FarmError, Lost, Made, Task


class OddMaker:
    """Sleeps, or fails as a row asks for.

    Notes go into the folder $ODD_NOTES: `made` and `encoded` have a line for each, `pids` one for
    each maker.
    """

    def __init__(self, number: int, absent: bool = False) -> None:
        self.name = f"odd:{number}"
        if absent:
            raise Lost(f"{self.name} does not answer (Connection refused)")
        self.note("pids", str(os.getpid()))

    def note(self, name: str, text: str) -> None:
        with (Path(os.environ["ODD_NOTES"]) / name).open("a") as file:
            file.write(f"{text}\n")

    def encode(self, encoding: Encoding) -> bytes:
        self.note("encoded", encoding.key)
        (content,) = encoding.files.values()
        if content == b"no picture":
            raise FarmError("this is no picture, and a reference is one. Choose another file")
        if content == b"of another base":
            name = next(iter(encoding.files))
            raise FarmError(f"{name} does not fit", "ipadapter.WrongBase")
        return b"embeds of " + content

    def make(self, task: Task) -> Made:
        asked = dict(next(iter(task.graph.values()))["inputs"])
        once = asked["once"] and not (Path(os.environ["ODD_NOTES"]) / asked["once"]).exists()
        if once:
            self.note(asked["once"], "")
        if asked["fails"] == "killed" or once:
            os.kill(os.getpid(), signal.SIGKILL)
        if asked["fails"] == "lost":
            raise Lost("the server does not answer")
        time.sleep(float(asked["seconds"]))
        self.note("made", f"{task.key} {self.name} {asked.get('embeds', '')}")
        if asked["fails"]:
            return Made((), 0.1, self.name, "stub.Failed", asked["fails"])
        content = Random(asked["seed"]).randbytes(int(asked["bytes"]))
        return Made(((".bin", content + b"".join(task.embeds.values())),), 0.1, self.name)

    def close(self) -> None:
        self.note("closed", self.name)
