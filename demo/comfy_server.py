"""Starts a ComfyUI server for the demo and makes sure that it ends with it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from aiohttp.test_utils import unused_port

HOST = "127.0.0.1"
USUAL_PORT = 8188
START_SECONDS = 300
STOP_SECONDS = 10
ENDING = (signal.SIGINT, signal.SIGTERM)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class ServerError(Exception):
    """The server does not start or has gone, in words for the user."""


class Server:
    """A ComfyUI process of our own; leaving the `with` block ends it.

    Args:
        threads: for the calculations on the CPU; None leaves it to torch.
    """

    def __init__(
        self, command: list[str], folder: Path, port: int, threads: int | None = None
    ) -> None:
        self.port = port
        self.address = f"http://{HOST}:{port}"
        self.log = folder / "server.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {}),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second Ctrl-C must not stop the stopping.
        handlers = [(number, signal.signal(number, signal.SIG_IGN)) for number in ENDING]
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for number, handler in handlers:
            signal.signal(number, handler)

    def wait_until_ready(self) -> None:
        """Return as soon as the server answers.

        Raises:
            ServerError: it ended, or did not answer in time.
        """
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise ServerError(f"ComfyUI ended with exit code {self.process.returncode}")
            if self._answers():
                return
            time.sleep(0.3)
        raise ServerError(f"ComfyUI did not answer within {START_SECONDS} seconds")

    def log_end(self, lines: int = 25) -> str:
        """The last lines of the server's log."""
        text = COLOURS.sub("", self.log.read_text("utf-8", errors="replace"))
        return "\n".join(text.splitlines()[-lines:])

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/system_stats")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def server_command(comfyui: Path, base: Path, models: Path, port: int, cpu: bool) -> list[str]:
    """A loopback-only ComfyUI that keeps its files in `base` and calls nobody."""
    return [
        *(sys.executable, str(comfyui / "main.py")),
        *("--listen", HOST, "--port", str(port)),
        *("--base-directory", str(base)),
        *("--extra-model-paths-config", str(models)),
        *("--database-url", "sqlite:///:memory:"),
        "--disable-auto-launch",
        # Such nodes talk to paid services, and without them the editor loads from here only.
        "--disable-api-nodes",
        *(["--cpu"] if cpu else []),
    ]


def choose_port(wanted: int | None) -> int:
    """The wanted port, else the usual one, else any that is free.

    Raises:
        ServerError: the wanted port is taken or none.
    """
    if wanted is not None:
        if not 0 < wanted < 1 << 16:
            raise ServerError(f"port {wanted} does not exist. Choose one from 1 to 65535")
        if not _is_free(wanted):
            raise ServerError(
                f"port {wanted} is taken. Choose another, or leave --port out to use a free one"
            )
        return wanted
    if _is_free(USUAL_PORT):
        return USUAL_PORT
    return unused_port()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name != "nt":  # there, this option would let us share a busy port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
        return True
