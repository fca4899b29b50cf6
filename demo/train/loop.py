"""One loop for all trainings: warm-up, averaged weights, a log, going on after a stop."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
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

from . import source

_WARM_UP = 100
_SAVE_EVERY = 120.0  # seconds
_SAY_EVERY = 1.0 if sys.stderr.isatty() else 20.0  # seconds
_FOLLOW_EVERY = 4  # steps, because it takes time
_LOG_FIRST = 20  # steps after which the log says what the weights are, and ten times on the way


@dataclass
class Plan:
    """How long and how fast to train.

    Attributes:
        state: where the checkpoint of the training is kept; the log lies beside it.
        average: how slowly the averaged weights follow.
        until: stop after as many steps, with the pace of the whole way.
    """

    name: str
    steps: int
    rate: float
    state: Path
    average: float = 0.998
    until: int | None = None


class Stopped(Exception):
    """The step was reached until which a training was wanted; it is not finished."""


@dataclass
class Job:
    """What a part is trained with.

    Attributes:
        state: folder for what is not finished and what is computed once.
        weights: folder for the results, in half precision.
        until: stop after as many steps, with the pace of the whole way.
        onward: begin with the weights that are there and not with random ones.
    """

    state: Path
    weights: Path
    device: torch.device
    steps: int
    onward: bool = False
    until: int | None = None

    def plan(self, name: str, rate: float, average: float) -> Plan:
        return Plan(name, self.steps, rate, self.state / f"{name}.pt", average, self.until)

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
    progress = _resume(plan, module, averaged, optimizer)
    saved = started = time.monotonic() - progress.seconds
    steps = tqdm(
        range(progress.step, plan.steps),
        plan.name,
        plan.steps,
        initial=progress.step,
        mininterval=_SAY_EVERY,
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
        progress.follow(float(loss.detach()), time.monotonic() - started)
        steps.set_postfix_str(f"loss {progress.loss:.4f}", refresh=False)
        if progress.step == _LOG_FIRST or progress.step % max(1, plan.steps // 10) == 0:
            _log(plan, progress, module)
        stop = progress.step in (plan.steps, plan.until)
        if stop or time.monotonic() - saved > _SAVE_EVERY:
            _save(plan, module, averaged, optimizer, progress)
            saved = time.monotonic()
        if progress.step == plan.until:
            raise Stopped
    return averaged


def _pace(step: int, done: float) -> float:
    warm = min(1.0, (step + 1) / _WARM_UP)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def _follow(averaged: nn.Module, module: nn.Module, keep: float) -> None:
    follow = get_ema_multi_avg_fn(keep)
    follow(list(averaged.parameters()), list(module.parameters()), 0)


@dataclass
class Progress:
    """How far a training is, over all of its starts.

    Attributes:
        step: steps that are done.
        loss: mean of about the last 50.
        source: the code that trained so far, see `source.digest`.
    """

    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    source: str = ""

    def follow(self, loss: float, seconds: float) -> None:
        self.step += 1
        self.loss += (loss - self.loss) / min(self.step, 50)
        self.seconds = seconds


def _resume(
    plan: Plan, module: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer
) -> Progress:
    progress = Progress(source=source.digest())
    if not plan.state.is_file():
        return progress
    state = torch.load(plan.state, weights_only=True)
    if state["progress"]["source"] != progress.source:
        raise SystemExit(
            f"{plan.state} was trained by other code than there is now. "
            "Remove it to begin again, or take the code that it was begun with."
        )
    module.load_state_dict(state["module"])
    averaged.load_state_dict(state["averaged"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"{plan.name} goes on at step {state['progress']['step']}", flush=True)
    return Progress(**state["progress"])


def _save(
    plan: Plan,
    module: nn.Module,
    averaged: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    state = {
        "module": module.state_dict(),
        "averaged": averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": dataclasses.asdict(progress),
    }
    save_whole(state, plan.state)


def _log(plan: Plan, progress: Progress, module: nn.Module) -> None:
    """Say in the log how far it is and what the weights are, so that two runs can be compared."""
    weights = hashlib.sha256()
    for parameter in module.parameters():
        weights.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    line = (
        f"{plan.name:8} {progress.step:4} of {plan.steps}  loss {progress.loss:.5f}  "
        f"{progress.seconds / 60:5.1f} min  weights {weights.hexdigest()[:12]}"
    )
    with (plan.state.parent / "log.txt").open("a", encoding="utf-8") as log:
        log.write(line + "\n")


def save_whole(state: object, path: Path) -> None:
    """Never leave half a file, nor let another process see one."""
    partial = path.with_suffix(f".{os.getpid()}.part")
    torch.save(state, partial)
    partial.replace(path)
