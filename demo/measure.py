"""`python dev.py bench --demo`: what the toy models do, over at least a hundred seeds.

Prints a line for each promise and ends with 1 if one is broken; $TOY_SHEETS names a folder for
contact sheets of all pictures that were judged.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
from comfy_host import open_host
from stand_ins import TOY_CFG
from train.promises import PROMISES, Bench

KINDS = ("standard", "plus")


@torch.inference_mode()
def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py bench --demo")
    parser.add_argument("--count", type=int, default=108, help="pictures for each promise")
    parser.add_argument("--kind", choices=KINDS, action="append", help="of the adapter")
    parser.add_argument("--part", choices=PROMISES, action="append", help="only this promise")
    parser.add_argument("--cfg", type=float, default=TOY_CFG, help="guidance of the sampler")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    if options.count < 1:
        parser.error(f"--count is {options.count}; at least one picture is needed")
    torch.set_num_threads(options.threads)
    open_host("--use-pytorch-cross-attention", *([] if torch.cuda.is_available() else ["--cpu"]))
    from train.judge import load_judge
    from train.studio import Studio

    studio, judge, broken = Studio(cfg=options.cfg), load_judge(), 0
    for kind in options.kind or KINDS:
        print(f"== {kind} adapter", flush=True)
        for part in options.part or PROMISES:
            broken += measure(part, Bench(studio, judge, kind, options.count))
    print(f"{broken} promises broken" if broken else "all promises kept")
    return int(broken > 0)


def measure(part: str, bench: Bench) -> int:
    """Print the results of a promise; how many of them broke it."""
    from train.studio import sheet

    broken = 0
    for result in PROMISES[part](bench):
        print(result, flush=True)
        broken += not result.kept
    folder = os.environ.get("TOY_SHEETS")
    for name, rows in bench.sheets.items() if folder else ():
        sheet([row[:12] for row in rows]).save(Path(str(folder)) / f"{bench.kind}_{name}.png")
    return broken


if __name__ == "__main__":
    sys.exit(main())
