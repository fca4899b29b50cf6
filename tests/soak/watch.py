"""The acts in their order, with control pictures and figures between them, and the verdict."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from conftest import ROOT
from kit.server import live
from kit.server.live import Prompt
from soak import bed, failing, figures, passing, routes
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

    def run(
        self,
        acts: Sequence[tuple[str, Act]],
        asked: Sequence[tuple[str, Act]],
        controls: dict[str, Prompt],
        prompts: int,
    ) -> None:
        """Act until there were as many prompts, and something is asked of the server with each."""
        due = 0
        order, questions = _endless(acts, self.session), _endless(asked, self.session)
        while True:
            if self.session.prompts >= due:
                self._note(controls)
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
    """All of them in another order each time."""
    while True:
        yield from session.random.sample(list(acts), len(acts))


def watch(prompts: int, seed: int) -> int:
    """Run a server under watch and print the verdict; 0 if nothing is wrong."""
    begun = time.monotonic()
    os.environ |= ALLOCATOR
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        hostile = bed.write(base)
        options = ("--cache-classic",)
        with live.running(base, base / "models", *options, packs=[ROOT, NODES]) as client:
            session = Session(client, seed)
            known = client.get("/object_info")
            examples = passing.examples(known)
            acts = [*passing.acts(known), *failing.acts(hostile, bed.HOSTILE_EMBEDS)]
            passing.again(passing.SAVING, examples[passing.SAVING], session)
            seen = Watch(session)
            try:
                seen.run(
                    acts,
                    list(routes.acts(hostile)),
                    {name: examples[name] for name in CONTROLS},
                    prompts,
                )
            except (OSError, TimeoutError) as error:
                session.fault("the server", f"is gone: {error!r}")
    return verdict(seen, time.monotonic() - begun)


def verdict(seen: Watch, seconds: float) -> int:
    faults = seen.session.faults
    for fault in faults[:SHOWN]:
        print(fault)
    ends = ", ".join(f"{count} {end}" for end, count in sorted(seen.session.ends.items()))
    print(f"{seen.session.prompts} prompts in {seconds:.0f} s: {ends}; {len(faults)} faults")
    found = figures.growth(seen.noted, seen.warm_up)
    grown = figures.too_much(found)
    for name, value in found.items():
        print(
            f"{name:12} {value:+.3f} per 100 prompts ({ALLOWED[name]} allowed)"
            + (" TOO MUCH" if name in grown else "")
        )
    return 1 if faults or grown else 0
