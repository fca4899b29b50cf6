"""A farm that is shot at: what `python -m farm` began is found, killed, and counted afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
GUARD = "guard.py"  # beside each ComfyUI, and named by the same command
WORKERS = ("ray::Worker", str(COMFYUI / "main.py"))  # an actor of Ray, a ComfyUI
# Ray's own, which sleep, and end by themselves within a minute or two of their head.
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
GONE_SECONDS = 20  # after which nothing of a killed head may run any more


@dataclass
class Head:
    """A running farm and all that it began, which are its children and theirs.

    Attributes:
        seen: every process of it that was ever found.
    """

    process: subprocess.Popen[bytes]
    seen: set[psutil.Process] = field(default_factory=set)

    def look(self) -> list[psutil.Process]:
        """What it has running now."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            found = []
        self.seen.update(found)
        return found

    def workers(self, word: str) -> list[psutil.Process]:
        """Those with a word in their command line, the oldest first."""
        found = [one for one in self.look() if word in _command(one) and GUARD not in _command(one)]
        return sorted(found, key=_begin)

    def kill(self) -> float:
        """Kill the head itself, as a crash would; how long what it began ran on.

        Raises:
            AssertionError: something of it still runs after all.
        """
        self.look()
        begin = time.monotonic()
        self.process.kill()
        self.process.wait()
        while left := [one for one in self.seen if is_alive(one) and _command(one) not in AGENTS]:
            after = time.monotonic() - begin
            assert after < GONE_SECONDS, [(one.pid, _command(one)) for one in left]
            time.sleep(0.1)
        return time.monotonic() - begin


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _begin(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except psutil.Error:
        return 0


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[Head]:
    """A farm for as long as the block lasts, its output at the end of a log."""
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command), cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT
        )
    head = Head(process)
    try:
        yield head
    finally:
        if process.poll() is None:
            head.kill()


def lines(folder: Path) -> list[dict[str, object]]:
    """The whole records of a job; a part of one at the end does not count."""
    try:
        text = (folder / "rows.jsonl").read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]


@dataclass
class Shots:
    """What was killed, in the order in which it was.

    Attributes:
        orphans: the longest that anything ran on after its head, in seconds.
    """

    workers: list[str] = field(default_factory=list)
    heads: int = 0
    orphans: float = 0.0


def shoot(
    command: Sequence[str],
    out: Path,
    every: float,
    heads_at: Sequence[int],
    kinds: Sequence[str] = WORKERS,
) -> tuple[int, Shots]:
    """Run a farm to its end through kills; its exit code and what was killed.

    Args:
        every: seconds between two kills of a worker, the oldest of its kind.
        heads_at: the head is killed when so many rows are recorded, and started again.
        kinds: words in the command lines of those to kill, in turn.
    """
    shots, left = Shots(), list(heads_at)
    out.mkdir(parents=True, exist_ok=True)
    while True:
        with running(command, out.parent / "farm.log") as head:
            if not _until_head_dies(head, out, every, left, kinds, shots):
                return head.process.returncode, shots
            shots.heads += 1
            shots.orphans = max(shots.orphans, head.kill())


def _until_head_dies(
    head: Head, out: Path, every: float, heads_at: list[int], kinds: Sequence[str], shots: Shots
) -> bool:
    """Whether the head is to be killed now; else it has ended by itself."""
    last = time.monotonic()
    while head.process.poll() is None:
        time.sleep(0.2)
        head.look()
        made = len(lines(out))
        if heads_at and made >= heads_at[0]:
            heads_at.pop(0)
            return True
        kind = kinds[len(shots.workers) % len(kinds)]
        found = head.workers(kind)
        if made and found and time.monotonic() > last + every:
            found[0].kill()
            shots.workers.append(kind)
            last = time.monotonic()
    return False
