"""Hostile prompts: run.py [--seed S] [--count N] [--seconds N] [--into FOLDER] [--replay FILE]"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Run as a script this folder is on the path, where its modules would hide others.
sys.path[0] = str(Path(__file__).resolve().parents[2])
# A forked process has no threads of OpenMP any more, and would wait for them without end.
os.environ["OMP_NUM_THREADS"] = "1"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10**9, help="how many prompts at most")
    parser.add_argument("--seconds", type=float, default=10**9, help="how long at most")
    parser.add_argument("--into", type=Path, default=Path("fuzz-found"), help="for what goes wrong")
    parser.add_argument("--replay", type=Path, help="a file that was written there")
    options = parser.parse_args(arguments)
    into, replayed = options.into.absolute(), options.replay and options.replay.absolute()
    import conftest  # finds the host
    from fuzz.prompts import fuzz

    if replayed:
        return 0 if fuzz.replay(replayed, _say) else 1
    found = fuzz.run(options.seed, options.count, options.seconds, into, _say)
    _say(f"ComfyUI at {conftest.HOST}, seed {options.seed}: {dict(found)}")
    return 0 if set(found) <= {"fine"} else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
