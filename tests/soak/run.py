"""A server under everything at once, and whether what it holds grows.

python dev.py soak [--prompts N] [--seed S] [--host-alone]

Prompts of all kinds run one after the other: pictures by all nodes and families, wrong inputs,
hostile files, interrupts, memory outs, files that come and go, and what editors ask between them.
Every fifty prompts a few control pictures are made, which have to stay the same to the byte, and it
is read what the server holds. The exit code tells whether anything went otherwise or grew.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# Run as a script this folder is on the path, where its modules would hide others.
sys.path[0] = str(TESTS)
sys.path.insert(1, str(TESTS / "host"))
LEAST = 400


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py soak", description=__doc__)
    parser.add_argument("--prompts", type=int, default=1000, help="how many at least (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of their order and contents (0)")
    parser.add_argument(
        "--host-alone", action="store_true", help="without the pack: what the host grows by itself"
    )
    options = parser.parse_args(arguments)
    if options.prompts < LEAST:
        parser.error(f"of {options.prompts} prompts no growth can be told, {LEAST} are needed")
    import conftest

    if not conftest.HAS_HOST:
        print("There is no ComfyUI: set $COMFYUI_PATH to the folder with its main.py.")
        return 2
    from soak.watch import watch

    return watch(options.prompts, options.seed, options.host_alone)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
