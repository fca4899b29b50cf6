"""Runs prompts, makes those that go wrong as small as they go, and writes them down."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .bed import Bed, Outcome
from .generate import Case, Generator, give, sampler
from .judge import fault
from .schemas import Goods, Prompt
from .supplies import gather
from .watched import Watched

Say = Callable[[str], None]
_FINE = "fine"
_CONTROL = 100  # prompts, after which a picture must come out as ever
_TRIES = 60  # of making a prompt smaller


class Fuzz:
    """A bed, its child, and a picture that must not change."""

    def __init__(self) -> None:
        self.bed = Bed()
        self.goods: Goods = gather(self.bed)
        self.watched = Watched(self.bed)
        self.models = self.bed.base / "models"
        self.control = json.dumps(_control())
        self.before = self.bed.run(self.control)

    def run(self, text: str) -> tuple[str, Outcome]:
        """What is wrong with what becomes of a prompt, and what becomes of it."""
        outcome = self.watched.run(text)
        return fault(outcome, text, self.models), outcome

    def unchanged(self) -> bool:
        """Whether the picture comes out as before all other prompts."""
        outcome = self.watched.run(self.control)
        return outcome.kind == "ran" and outcome.digest == self.before.digest != ""


def run(seed: int, count: int, seconds: float, into: Path, say: Say) -> Counter[str]:
    """How many prompts of a seed came to what.

    Args:
        into: folder for those that went wrong.
    """
    fuzz = Fuzz()
    generator = Generator(seed, fuzz.bed.classes, fuzz.goods)
    found: Counter[str] = Counter()
    end = time.monotonic() + seconds
    for number in range(count):
        if time.monotonic() > end:
            break
        case = generator.case(number)
        wrong, outcome = fuzz.run(case.text)
        found[wrong.split(":")[0] or _FINE] += 1
        if wrong:
            _tell(fuzz, case, wrong, outcome, into, say)
        if number % _CONTROL == _CONTROL - 1 and not fuzz.unchanged():
            found["picture changed"] += 1
            say(f"prompt {number - _CONTROL + 1} to {number}: another picture than before")
    fuzz.watched.end()
    return found


def replay(path: Path, say: Say) -> bool:
    """Whether a prompt that was written down comes to something good by now."""
    fuzz = Fuzz()
    wrong, outcome = fuzz.run(json.dumps(json.loads(path.read_text("utf-8"))["prompt"]))
    say(f"{wrong or _FINE}\n{outcome}")
    fuzz.watched.end()
    return not wrong


def _tell(fuzz: Fuzz, case: Case, wrong: str, outcome: Outcome, into: Path, say: Say) -> None:
    prompt = _reduced(fuzz, case.prompt, wrong)
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"prompt {case.number} {case.kind}.json"
    told: dict[str, Any] = {"wrong": wrong, "words": outcome.words[:2000], "prompt": prompt}
    path.write_text(json.dumps(told, indent=1), "utf-8")
    say(f"{case.number} {case.kind} {list(case.hostile)}: {wrong} -> {path.name}")


def _reduced(fuzz: Fuzz, prompt: Prompt, wrong: str) -> Prompt:
    """A smaller prompt with which the same goes wrong."""
    tries, smaller = 0, not wrong.startswith(("hung", "died"))
    while smaller and tries < _TRIES:
        smaller = False
        for other in _smaller(prompt):
            tries += 1
            if tries < _TRIES and _same(fuzz.run(json.dumps(other))[0], wrong):
                prompt, smaller = other, True
                break
    return prompt


def _same(one: str, other: str) -> bool:
    """Whether two prompts go wrong alike; how slow and how big may differ."""
    exact = one.startswith(("raw", "ended"))
    return one == other if exact else one.split(":")[0] == other.split(":")[0]


def _smaller(prompt: Prompt) -> Iterator[Prompt]:
    """The prompt without one of its nodes or inputs, or with half of a long text."""
    linked = [str(one[0]) for one in _values(prompt) if isinstance(one, list) and one]
    for name, node in prompt.items():
        if name not in ("node", "take", *linked):
            yield {other: value for other, value in prompt.items() if other != name}
        inputs = node.get("inputs")
        if not isinstance(inputs, dict) or node["class_type"] == "FuzzGive":
            continue
        for each, value in inputs.items():
            less = {other: kept for other, kept in inputs.items() if other != each}
            yield {**prompt, name: {**node, "inputs": less}}
            if isinstance(value, str) and len(value) > 1:
                for half in (value[: len(value) // 2], value[len(value) // 2 :]):
                    yield {**prompt, name: {**node, "inputs": {**inputs, each: half}}}


def _values(prompt: Prompt) -> list[object]:
    tables = [node["inputs"] for node in prompt.values() if isinstance(node.get("inputs"), dict)]
    return [value for table in tables for value in table.values()]


def _control() -> Prompt:
    prompt: Prompt = {}
    sockets = {"model": "MODEL", "adapter": "IP_ADAPTER", "embeds": "IPA_EMBEDS"}
    links = {name: give(prompt, f"good {sort} 0") for name, sort in sockets.items()}
    window = {"scale": 1.0, "start_percent": 0.0, "end_percent": 1.0}
    prompt["node"] = {"class_type": "IPAApply", "inputs": {**links, **window}}
    prompt["sampler"] = sampler(prompt, ["node", 0])
    prompt["take"] = {"class_type": "FuzzTake", "inputs": {"taken0": ["sampler", 0]}}
    return prompt
