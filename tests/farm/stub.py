"""What stands for a ComfyUI where no picture is asked for: it sleeps as long as its row says."""

from __future__ import annotations

import os
import threading
import time
from random import Random

from farm.work import Encoding, Made, Task


class StubMaker:
    """Sleeps, and makes bytes that follow from the row alone."""

    def encode(self, encoding: Encoding) -> bytes:
        (content,) = encoding.files.values()
        return b"embeds of " + content

    def make(self, task: Task) -> Made:
        (node,) = task.graph.values()
        asked, begin = node["inputs"], time.monotonic()
        time.sleep(float(asked["seconds"]))
        seed = f"{asked['seed']} {sorted(task.embeds.values())}"
        content = Random(seed).randbytes(int(asked["bytes"]))
        worker = f"stub:{os.getpid()}.{threading.get_ident()}"
        return Made(((".bin", content),), time.monotonic() - begin, worker)

    def close(self) -> None:
        """Nothing was begun."""
