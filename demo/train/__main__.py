"""`python -m train PART [--steps N]` in demo/: trains a part of the toy models, or all of them.

Leaves the weights in demo/toy_nodes/weights and goes on where an earlier run was stopped.
$TOY_STATE names the folder for what is not finished, $TOY_WEIGHTS another one for the weights.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import torch
from comfy_host import open_host
from toys import NODES

from .loop import Job

STEPS = {
    "base": 5200,
    "captions": 3600,
    "vae": 1500,
    "encoder": 2500,
    "standard": 4000,
    "plus": 4000,
    "judge": 900,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("part", choices=[*STEPS, "all"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--onward", action="store_true", help="begin with the weights there are")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    open_host("--use-pytorch-cross-attention", *(["--cpu"] if device.type == "cpu" else []))
    state = Path(os.environ.get("TOY_STATE") or Path(tempfile.gettempdir()) / "toy_state")
    weights = Path(os.environ.get("TOY_WEIGHTS") or NODES / "weights")
    for folder in (state, weights):
        folder.mkdir(parents=True, exist_ok=True)
    for part in STEPS if options.part == "all" else [options.part]:
        run(part, Job(state, weights, device, options.steps or STEPS[part], options.onward))
    return 0


def run(part: str, job: Job) -> None:
    from . import adapters, base, decoder, encoder, judge

    trainings = {
        "base": base.train_base,
        "captions": base.train_captions,
        "vae": decoder.train_decoder,
        "encoder": encoder.train_encoder,
        "judge": judge.train_judge,
    }
    if part in trainings:
        trainings[part](job)
    else:
        adapters.train_adapter(part, job)


if __name__ == "__main__":
    sys.exit(main())
