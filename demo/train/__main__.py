"""`python -m train PART [--steps N]` in demo/: trains a part of the toy models, or all of them.

Goes on where an earlier run was stopped. `all` trains parts side by side, each on a thread of its
own, so that the weights do not depend on how many there are, and writes what is shipped to
demo/toy_nodes/weights; `ship` does only that. $TOY_STATE names the folder for what is trained, its
log and what is not finished, $TOY_WEIGHTS another one for what is shipped.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from comfy_host import open_host
from toys import NODES

from . import source
from .loop import Job, Stopped
from .parts import NEEDS, STEPS, train_part
from .ship import is_done, mark_done, ship


def main() -> int:
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("part", choices=[*STEPS, "all", "ship"])
    parser.add_argument("--steps", type=int, help="of the whole training")
    parser.add_argument("--until", type=int, help="stop after as many steps, to compare two runs")
    parser.add_argument("--onward", action="store_true", help="begin with the weights there are")
    parser.add_argument("--threads", type=int, default=1, help="of each part")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="parts of `all`")
    options = parser.parse_args()
    state = Path(os.environ.get("TOY_STATE") or Path(tempfile.gettempdir()) / "toy_state")
    made = state / "made"
    made.mkdir(parents=True, exist_ok=True)
    if options.part in ("all", "ship"):
        if options.part == "all":
            begin_log(state / "log.txt", options.threads)
            train_all(options.at_once, options.threads, state)
        ship(state, STEPS, Path(os.environ.get("TOY_WEIGHTS") or NODES / "weights"))
        return 0
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    open_host("--use-pytorch-cross-attention", *(["--cpu"] if device.type == "cpu" else []))
    steps = options.steps or STEPS[options.part]
    job = Job(state, made, device, steps, options.onward, options.until)
    try:
        train_part(options.part, job)
    except Stopped:
        return 0
    mark_done(state, options.part)
    return 0


def begin_log(path: Path, threads: int) -> None:
    """Say with what it is made, at the first start."""
    if path.is_file():
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    line = (
        f"code {source.digest()}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{device}, {threads} thread{'s' * (threads > 1)} a part, {time.strftime('%Y-%m-%d %H:%M')}"
    )
    path.write_text(line + "\n", "utf-8")


def train_all(at_once: int, threads: int, state: Path) -> None:
    """Train what is not done, each part as soon as what it needs is there."""
    done = {part for part in STEPS if is_done(state, part)}
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        while len(done) < len(STEPS):
            for part in _ready(done, running, at_once):
                command = [sys.executable, "-m", "train", part, "--threads", str(threads)]
                running[part] = subprocess.Popen(command)
            done |= _ended(running)
            time.sleep(0.2)
    finally:
        for process in running.values():
            process.terminate()


def _ready(done: set[str], running: Mapping[str, object], at_once: int) -> list[str]:
    """What can begin now, in the order of the table."""
    waiting = [part for part in STEPS if part not in done and part not in running]
    ready = [part for part in waiting if done.issuperset(NEEDS.get(part, []))]
    return ready[: at_once - len(running)]


def _ended(running: dict[str, subprocess.Popen[bytes]]) -> set[str]:
    """Take away what is trained to its end."""
    ended = {part: process for part, process in running.items() if process.poll() is not None}
    for part, process in ended.items():
        del running[part]
        if process.returncode:
            raise SystemExit(f"{part} ended with {process.returncode}; start again to go on")
    return set(ended)


if __name__ == "__main__":
    sys.exit(main())
