"""A file that is written over in place again and again, as by a download that starts anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def rewritten(path: Path, pause: float) -> Generator[None]:
    """While this is open the file is cut to a third and completed, then left for some seconds."""
    data, stop = path.read_bytes(), threading.Event()

    def write() -> None:
        while not stop.is_set():
            with path.open("wb") as file:
                file.write(data[: len(data) // 3])
                file.flush()
                time.sleep(0.001)
                file.write(data[len(data) // 3 :])
            time.sleep(pause)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()
