"""`python -m train PART [--steps N]` in demo/: trains a part of the toy models, or all of them.

Leaves the weights in demo/weights and goes on where an earlier run was stopped. $TOY_STATE names
the folder for what is not finished.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import torch

from .host import DEMO, open_host

STEPS = {"base": 2400, "vae": 1500, "encoder": 2500, "standard": 1500, "plus": 1500}


def main() -> int:
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("part", choices=[*STEPS, "all"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    open_host()
    state = Path(os.environ.get("TOY_STATE") or Path(tempfile.gettempdir()) / "toy_state")
    state.mkdir(parents=True, exist_ok=True)
    weights = DEMO / "weights"
    weights.mkdir(exist_ok=True)
    for part in STEPS if options.part == "all" else [options.part]:
        run(part, state, weights, options.steps or STEPS[part])
    return 0


def run(part: str, state: Path, weights: Path, steps: int) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    target = weights / f"{part}.safetensors"
    if part == "base":
        from .base import train_base

        train_base(state, target, steps, device)
    elif part == "vae":
        from .decoder import train_decoder

        train_decoder(state, target, steps, device)
    elif part == "encoder":
        from .encoder import train_encoder

        train_encoder(state, target, steps, device)
    else:
        from .adapters import train_adapter

        train_adapter(part, state, weights, steps, device)


if __name__ == "__main__":
    sys.exit(main())
