"""Hostile files and prompts: none may cost more than its size, and all end in a sentence.

python dev.py fuzz [--seconds N] [--count N] [--seed S] [--only files|prompts] [--into FOLDER]
python dev.py fuzz --replay FILE

Without a seed another one is taken each time. What goes wrong is made as small as it goes and
written into the folder, from where `--replay` runs it again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# Run as a script this folder is on the path, where its modules would hide the host's.
sys.path[0] = str(TESTS)
# A forked process has no threads of OpenMP any more, and would wait for them without end.
os.environ["OMP_NUM_THREADS"] = "1"
FILES, PROMPTS = "files", "prompts"
_FINE = "fine"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long (120)")
    parser.add_argument("--count", type=int, default=10**9, help="how many of each at most")
    parser.add_argument("--seed", type=int, help="of the choices; another one each time")
    parser.add_argument("--only", choices=(FILES, PROMPTS), help="half of it")
    parser.add_argument("--into", type=Path, default=Path("fuzz-found"), help="for what goes wrong")
    parser.add_argument("--replay", type=Path, help="a file that was written there")
    options = parser.parse_args(arguments)
    options.into = options.into.absolute()
    if options.replay:
        return _replay(options.replay.absolute())
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(2**31)
    halves = [options.only] if options.only else [FILES, PROMPTS]
    codes = [_half(half, options, options.seconds / len(halves)) for half in halves]
    return max(codes)


def _half(half: str, options: argparse.Namespace, seconds: float) -> int:
    _say(f"{half} of seed {options.seed}, for {seconds:g} seconds")
    return (_files if half == FILES else _prompts)(options, seconds)


def _files(options: argparse.Namespace, seconds: float) -> int:
    if not _has_host():
        return 2
    from fuzz.files import fuzz  # needs the host on the path

    found = fuzz.run(options.seed, options.count, seconds, options.into, _say)
    for kind, count in found.most_common():
        _say(f"{count:6} {kind}")
    fine = set(found) <= {_FINE}
    _say("no file went wrong" if fine else f"written into {options.into}, for --replay")
    return 0 if fine else 1


def _prompts(options: argparse.Namespace, seconds: float) -> int:
    """In a process of its own: that of the files has been forked from."""
    numbers = {"seed": options.seed, "count": options.count, "seconds": seconds}
    given = [f"--{name}={number}" for name, number in numbers.items()]
    return _run_prompts([*given, f"--into={options.into}"])


def _run_prompts(given: list[str]) -> int:
    script = Path(__file__).with_name("prompts") / "run.py"
    return subprocess.run([sys.executable, str(script), *given], check=False).returncode


def _replay(path: Path) -> int:
    if "damages" not in json.loads(path.read_text("utf-8")):
        return _run_prompts([f"--replay={path}"])
    if not _has_host():
        return 2
    from fuzz.files import fuzz  # needs the host on the path

    return 0 if fuzz.replay(path, _say) else 1


def _has_host() -> bool:
    import conftest  # finds the host

    logging.disable(logging.CRITICAL)
    if not conftest.HAS_HOST:
        _say("There is no ComfyUI: set $COMFYUI_PATH to the folder with its main.py.")
    return conftest.HAS_HOST


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
