"""Hostile files, and what comes of them: none may cost more than its size, all end in a sentence.

python dev.py fuzz [--seconds N] [--count N] [--seed S] [--into FOLDER] [--replay FILE]

Without a seed another one is taken each time. What goes wrong is made as small as it goes and
written into the folder, from where `--replay` runs it again.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# Run as a script this folder is on the path, where its modules would hide the host's.
sys.path[0] = str(TESTS)
_FINE = "fine"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long (120)")
    parser.add_argument("--count", type=int, default=10**9, help="how many files at most")
    parser.add_argument("--seed", type=int, help="of the choices; another one each time")
    parser.add_argument("--into", type=Path, default=Path("fuzz-found"), help="for what goes wrong")
    parser.add_argument("--replay", type=Path, help="a file that was written there")
    options = parser.parse_args(arguments)
    into, replayed = options.into.absolute(), options.replay and options.replay.absolute()
    import conftest  # finds the host

    if not conftest.HAS_HOST:
        print("There is no ComfyUI: set $COMFYUI_PATH to the folder with its main.py.")
        return 2
    from fuzz.files import fuzz  # needs the host on the path

    logging.disable(logging.CRITICAL)
    if replayed:
        return 0 if fuzz.replay(replayed, print) else 1
    seed = random.SystemRandom().randrange(2**31) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    found = fuzz.run(seed, options.count, options.seconds, into, _say)
    for kind, count in found.most_common():
        print(f"{count:6} {kind}")
    fine = set(found) <= {_FINE}
    print("0 went wrong" if fine else f"written into {into}, for --replay")
    return 0 if fine else 1


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
