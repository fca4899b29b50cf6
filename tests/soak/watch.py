"""The acts in their order, with control pictures and figures between them, and the verdict."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from conftest import ROOT
from kit.server import live
from kit.server.live import Prompt
from soak import bed, failing, figures, host_alone, passing, routes
from soak.figures import ALLOWED, Figures
from soak.passing import Act
from soak.session import Session

EVERY, WARM_UP = 50, 200
NODES = Path(__file__).parent / "soak_nodes"
CONTROLS = ("first_picture", "faceid", "flux_style", "sd35", "instantid")
SHOWN = 40
# Tensors are given back to the system when they go, so that what is resident is what is held.
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**16)}


class Watch:
    """One server, its acts and what was noted about it.

    Args:
        every: prompts from one reading of the figures to the next.
        warm_up: prompts before growth counts.
    """

    def __init__(self, session: Session, every: int = EVERY, warm_up: int = WARM_UP) -> None:
        self.session, self.every, self.warm_up = session, every, warm_up
        self.noted: list[Figures] = []
        self.pictures: dict[str, bytes] = {}

    def run(self, plan: Plan, prompts: int) -> None:
        """Act until there were as many prompts, and something is asked of the server with each."""
        due = 0
        order, questions = _endless(plan.acts, self.session), _endless(plan.asked, self.session)
        while True:
            if self.session.prompts >= due:
                self._note(plan.controls)
                due += self.every
            if self.session.prompts >= prompts:
                return
            next(order)[1](self.session)
            next(questions)[1](self.session)

    def _note(self, controls: dict[str, Prompt]) -> None:
        for name, prompt in controls.items():
            picture = self.session.picture(f"control {name}", prompt)
            if self.pictures.setdefault(name, picture) != picture:
                self.session.fault(f"control {name}", "is another picture than the first time")
        self.noted.append(self.session.figures())
        print(self.noted[-1], flush=True)


def _endless(acts: Sequence[tuple[str, Act]], session: Session) -> Iterator[tuple[str, Act]]:
    """All of them in another order each time.

    The first time as they come, so that what is loaded once is loaded before growth counts.
    """
    yield from acts
    while True:
        yield from session.random.sample(list(acts), len(acts))


class Plan(NamedTuple):
    """What is done on a server, what is asked of it, and pictures that stay the same."""

    acts: list[tuple[str, Act]]
    asked: list[tuple[str, Act]]
    controls: dict[str, Prompt]


def watch(prompts: int, seed: int, alone: bool = False) -> int:
    """Run a server under watch and print the verdict; 0 if nothing is wrong."""
    begun = time.monotonic()
    os.environ |= ALLOCATOR
    packs = [NODES] if alone else [ROOT, NODES]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        hostile = bed.write(base)
        with live.running(base, base / "models", "--cache-classic", packs=packs) as client:
            seen = Watch(Session(client, seed))
            known = client.get("/object_info")
            plan = _alone(known) if alone else _everything(known, hostile, seen.session)
            try:
                seen.run(plan, prompts)
            except (OSError, TimeoutError) as error:
                seen.session.fault("the server", f"is gone: {error!r}")
    return verdict(seen, time.monotonic() - begun)


def _everything(known: Mapping[str, Any], hostile: list[str], session: Session) -> Plan:
    examples = passing.examples(known)
    passing.again(passing.SAVING, examples[passing.SAVING], session)
    return Plan(
        [*passing.acts(known), *failing.acts(hostile, bed.HOSTILE_EMBEDS)],
        [*routes.acts(hostile)],
        {name: examples[name] for name in CONTROLS},
    )


def _alone(known: Mapping[str, Any]) -> Plan:
    nothing = ("nothing", lambda session: None)
    return Plan([*host_alone.acts(known)], [nothing], host_alone.controls(known))


def verdict(seen: Watch, seconds: float) -> int:
    faults = seen.session.faults
    for fault in faults[:SHOWN]:
        print(fault)
    ends = ", ".join(f"{count} {end}" for end, count in sorted(seen.session.ends.items()))
    print(f"{seen.session.prompts} prompts in {seconds:.0f} s: {ends}; {len(faults)} faults")
    if seen.noted[-1].prompts < seen.warm_up + seen.every:
        print("too few figures to tell whether anything grows")
        return 1
    found = figures.growth(seen.noted, seen.warm_up)
    grown = figures.too_much(found)
    for name, value in found.items():
        print(
            f"{name:12} {value:+.3f} per 100 prompts ({ALLOWED[name]} allowed)"
            + (" TOO MUCH" if name in grown else "")
        )
    return 1 if faults or grown else 0
