"""One loop for all trainings: warm-up, averaged weights, progress, going on after a stop."""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

_WARM_UP = 100
_SAVE_EVERY = 120.0  # seconds
_SAY_EVERY = 1.0 if sys.stderr.isatty() else 20.0  # seconds
_FOLLOW_EVERY = 4  # steps, because it takes time


@dataclass
class Plan:
    """How long and how fast to train.

    Attributes:
        state: where the checkpoint of an unfinished training is kept.
        average: how slowly the averaged weights follow.
    """

    name: str
    steps: int
    rate: float
    state: Path
    average: float = 0.998


@dataclass
class Job:
    """What a part is trained with.

    Attributes:
        state: folder for what is not finished and what is computed once.
        weights: folder for the results.
        onward: begin with the weights that are there and not with random ones.
    """

    state: Path
    weights: Path
    device: torch.device
    steps: int
    onward: bool = False

    def plan(self, name: str, rate: float, average: float) -> Plan:
        return Plan(name, self.steps, rate, self.state / f"{name}.pt", average)

    def target(self, name: str) -> Path:
        return self.weights / f"{name}.safetensors"

    def begin(self, name: str, module: nn.Module, prefix: str = "") -> None:
        """Take the weights that are there, if that is wanted.

        Args:
            prefix: in front of those keys of the module that lack it in the file.
        """
        if self.onward and self.target(name).is_file():
            self.resume(name, module, prefix)
            print(f"{name} begins with the weights that are there", flush=True)

    def resume(self, name: str, module: nn.Module, prefix: str = "") -> None:
        """Take the weights that are there; see `begin`."""
        kept = {key: value.float() for key, value in load_file(self.target(name)).items()}
        own = module.state_dict()
        named = {key if key in own else prefix + key: value for key, value in kept.items()}
        module.load_state_dict(own | named)

    def keep(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write a result, in half precision."""
        halves = {key: value.half().cpu().contiguous() for key, value in tensors.items()}
        save_file(halves, self.target(name))


def train(module: nn.Module, loss_of: Callable[[int], Tensor], plan: Plan) -> nn.Module:
    """Train until `plan.steps` and return a copy with averaged weights.

    Args:
        loss_of: the loss of one batch; it gets the number of the step, to seed its noise.
    """
    averaged = copy.deepcopy(module).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        [p for p in module.parameters() if p.requires_grad],
        plan.rate,
        (0.9, 0.99),
        weight_decay=0.01,
        fused=True,
    )
    first = _resume(plan, module, averaged, optimizer)
    saved, recent = time.monotonic(), 0.0
    steps = tqdm(
        range(first, plan.steps), plan.name, plan.steps, initial=first, mininterval=_SAY_EVERY
    )
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * _pace(step, step / plan.steps)
        loss = loss_of(step)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % _FOLLOW_EVERY == 0:
            _follow(averaged, module, min(plan.average, (1 + step) / (10 + step)) ** _FOLLOW_EVERY)
        recent += (float(loss.detach()) - recent) / min(step - first + 1, 50)
        steps.set_postfix_str(f"loss {recent:.4f}", refresh=False)
        if time.monotonic() - saved > _SAVE_EVERY or step + 1 == plan.steps:
            _save(plan, module, averaged, optimizer, step + 1)
            saved = time.monotonic()
    return averaged


def _pace(step: int, done: float) -> float:
    warm = min(1.0, (step + 1) / _WARM_UP)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def _follow(averaged: nn.Module, module: nn.Module, keep: float) -> None:
    follow = get_ema_multi_avg_fn(keep)
    follow(list(averaged.parameters()), list(module.parameters()), 0)


def _resume(
    plan: Plan, module: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer
) -> int:
    if not plan.state.is_file():
        return 0
    state = torch.load(plan.state, weights_only=True)
    module.load_state_dict(state["module"])
    averaged.load_state_dict(state["averaged"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"{plan.name} goes on at step {state['step']}", flush=True)
    return int(state["step"])


def _save(
    plan: Plan,
    module: nn.Module,
    averaged: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> None:
    state = {
        "module": module.state_dict(),
        "averaged": averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
    }
    save_whole(state, plan.state)


def save_whole(state: object, path: Path) -> None:
    """Never leave half a file, nor let another process see one."""
    partial = path.with_suffix(f".{os.getpid()}.part")
    torch.save(state, partial)
    partial.replace(path)
