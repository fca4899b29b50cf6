"""Runs a command for as long as whoever started this lives: `python guard.py FOLDER COMMAND ...`.

Its standard input is a pipe whose other end the owner holds. When that ends, however it ends, kill
-9 too, the pipe does, and so does the command; then nobody else is there to delete its folder. On
Linux it does not outlive a killed guard either.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading

STOP_SECONDS = 5
PR_SET_PDEATHSIG = 1
KILLED = 128  # and the number of the signal, as shells have it


def bind_to_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(folder: str, command: list[str]) -> int:
    bound = bind_to_parent if sys.platform == "linux" else None
    alone = threading.Event()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=bound)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        alone.set()
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    if alone.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    return KILLED - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
