"""A ComfyUI of our own without a window, which ends with who started it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from aiohttp.test_utils import unused_port

from ..work import FarmError, Lost, Settings
from .guard import KILLED
from .places import resolved

HOST = "127.0.0.1"
START_SECONDS = 600
STOP_SECONDS = 15
PACK = Path(os.path.abspath(__file__)).parents[2]
GUARD = Path(os.path.abspath(__file__)).parent / "guard.py"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
PREFIX = "ipadapter-farm-"
LOG_BYTES = 1 << 20  # of a log that is passed on
LINE_LETTERS = 300
ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b")
KEPT_PICTURES = 200  # on disk here, after they were handed on


class Server:
    """A ComfyUI process on a free port, with the user's models, packs and input pictures.

    What it writes, embeds too, goes into a folder that is deleted with it.

    Raises:
        FarmError: it does not start.
        Lost: it was killed while it started.
    """

    def __init__(self, settings: Settings) -> None:
        settings = resolved(settings)
        comfyui = Path(settings.comfyui)
        sweep(Path(tempfile.gettempdir()))
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        for name in ("custom_nodes", "embeds", "input", "output", "temp", "user"):
            (self.folder / name).mkdir()
        share((comfyui / "input").glob("*"), self.folder / "input")
        if not _has_pack(comfyui):
            share([PACK], self.folder / "custom_nodes")
        self.port = unused_port()
        self.address = f"http://{HOST}:{self.port}"
        self.log = self.folder / "server.log"
        with self.log.open("wb") as output:
            # The pipe is what the guard knows us by.
            self.process = subprocess.Popen(
                [sys.executable, str(GUARD), str(self.folder), *self._command(comfyui, settings)],
                cwd=comfyui,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready(comfyui)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, and delete what it wrote."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Delete pictures that were handed on, but for the last."""
        written = [path for path in (self.folder / "output").rglob("*") if path.is_file()]
        if len(written) > 2 * KEPT_PICTURES:
            written.sort(key=lambda path: path.stat().st_mtime)
            for path in written[:-KEPT_PICTURES]:
                path.unlink(missing_ok=True)

    def log_text(self) -> str:
        """The end of what it said."""
        said = self.log.read_bytes()[-LOG_BYTES:].decode("utf-8", errors="replace")
        return COLOURS.sub("", said)

    def _command(self, comfyui: Path, settings: Settings) -> list[str]:
        own = self.folder / "folders.yaml"  # JSON is YAML too
        folders = {"base_path": str(self.folder), "is_default": True}
        places = {"custom_nodes": "custom_nodes", "ipadapter_embeds": "embeds"}
        own.write_text(json.dumps({"farm": folders | places}), "utf-8")
        models = [settings.models] if settings.models else []
        return [
            *(settings.python, str(comfyui / "main.py")),
            *("--listen", HOST, "--port", str(self.port)),
            *("--extra-model-paths-config", str(own), *models),
            *("--input-directory", str(self.folder / "input")),
            *("--output-directory", str(self.folder / "output")),
            *("--temp-directory", str(self.folder)),
            *("--user-directory", str(self.folder / "user")),
            *("--database-url", "sqlite:///:memory:"),
            *("--disable-auto-launch", "--disable-api-nodes"),
            *(["--cpu"] if settings.cpu else []),
        ]

    def _wait_until_ready(self, comfyui: Path) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            code = self.process.poll()
            if code is not None and code > KILLED:
                # By somebody, or for want of memory: nothing that another try cannot do.
                raise Lost(f"the ComfyUI in {comfyui} was killed while it started")
            if code is not None:
                raise self._unstarted(comfyui, "ended while it started")
            if _answers(self.port):
                return
            time.sleep(0.2)
        raise self._unstarted(comfyui, f"did not answer within {START_SECONDS} seconds")

    def _unstarted(self, comfyui: Path, what: str) -> FarmError:
        log = self.log_text()
        return FarmError(
            f"the ComfyUI in {comfyui} on {socket.gethostname()} {what}, and a worker needs one "
            f'that runs. It said "{meaning(log)}". Start it by hand to see that it does',
            log=log,
        )


def meaning(log: str) -> str:
    """The line of a log that says why a program ended: the last error, else the last line."""
    lines = [line.strip()[:LINE_LETTERS] for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.match(line)]
    return (errors or lines or ["nothing"])[-1].rstrip(".")


def sweep(place: Path) -> None:
    """Delete the folders of owners that were killed, and their guards with them."""
    if os.name == "nt":  # where asking for a process by its number would end it
        return
    for folder in place.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not _lives(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def share(sources: Iterable[Path], folder: Path) -> None:
    """Let a folder show files and folders that lie elsewhere; copies where links are forbidden."""
    for source in sources:
        target = folder / source.name
        try:
            target.symlink_to(source, target_is_directory=source.is_dir())
        except OSError:
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns(".git"))
            else:
                shutil.copyfile(source, target)


def _has_pack(comfyui: Path) -> bool:
    packs = (comfyui / "custom_nodes").glob("*")
    return any(os.path.realpath(path) == os.path.realpath(PACK) for path in packs)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/system_stats")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
