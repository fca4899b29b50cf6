"""Prompts from a seed: each a good one of one node or two, with a few inputs made hostile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from . import objects, texts
from .schemas import Goods, Input, Prompt, good_value, inputs_of

_PLAIN = 0.75  # of widgets that stay at their default in a good prompt
_LEFT_OUT = 0.3  # of inputs that need not be there
_TOGETHER = 0.3  # of the prompts have a MODEL of any family with what goes with it
# Honest work that grows with a number: its time says nothing of how a prompt is read.
_COSTLY = {"tiles": 3, "enhance_tiles": 3, "short_side_tiles": 3, "encoder_size": 224, "steps": 3}
_NUMBERS = (
    *(0, 1, -1, 2, 7, 255, 65_537, 2**31, -(2**31) - 1, 2**53, 2**63, 2**64, 10**30, -(10**30)),
    *(10**400, 0.5, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
)
_OTHERS = (None, True, False, [], {}, [1], [1, 2, 3], ["a", "b"], [None, 0], [[], 0], {"a": 1})
_LINKS = (["gone", 0], ["node", 99], ["node", 0], ["take", 0], ["take", -1], [1, 0], ["node", 0.5])
_LINKS_TOO = (["", 0], ["node", float("nan")], ["node", -1], ["node", 10**30], ["node", True])
_UNKNOWN = ("extra", "embeds", "masks", "embeds.embeds99", "masks.mask0.x", "unique_id", "prompt")
_UNKNOWN_TOO = ("", "self", "cls", "\ud800", "adapters", "embeds.embeds-1", "image", "x" * 5000)


@dataclass(frozen=True)
class Case:
    """A prompt as it is sent, and which of its inputs are not as they ought to be."""

    number: int
    kind: str
    prompt: Prompt
    hostile: tuple[str, ...]

    @property
    def text(self) -> str:
        return json.dumps(self.prompt)


class Generator:
    """The same prompts for a seed on every machine.

    Args:
        classes: nodes of the pack by name.
        goods: objects for their sockets.
    """

    def __init__(self, seed: int, classes: dict[str, Any], goods: Goods) -> None:
        self.seed, self.classes, self.goods = seed, classes, goods
        # Hidden doubles of old nodes are the same class; today's nodes come twice as often.
        shown = sorted(name for name in classes if not name.endswith("V2"))
        self.kinds = shown + [name for name in shown if _is_new(name)]

    def case(self, number: int) -> Case:
        """The prompt of a number."""
        random = Random(f"{self.seed} {number}")
        kind = random.choice(self.kinds)
        declared = inputs_of(self.classes[kind])
        prompt = self.good(kind, random)
        inputs = prompt["node"]["inputs"]
        hostile: list[str] = []
        for _ in range(random.choice((1, 1, 1, 2, 2, 3, 8))):
            hostile.append(self._spoil(inputs, declared, random, prompt))
        _lighten(inputs, declared)
        if random.random() < 0.02:
            prompt["node"]["inputs"] = random.choice((None, [], "x", 5, [inputs]))
        return Case(number, kind, prompt, tuple(hostile))

    def good(self, kind: str, random: Random, plain: float = _PLAIN) -> Prompt:
        """A prompt of one node with values that it takes, and what looks at all its outputs."""
        node: dict[str, Any] = {"class_type": kind, "inputs": {}}
        prompt: Prompt = {"node": node}
        own = self.goods.families.get(kind, {})
        fitting = random.choice(self.goods.together) if self.goods.together else {}
        own = own or (fitting if random.random() < _TOGETHER else {})
        for one in inputs_of(self.classes[kind]):
            if not one.needed and random.random() < _LEFT_OUT:
                continue
            if one.is_widget:
                node["inputs"][one.name] = good_value(one, random, plain)
            elif names := self.goods.of(one.sort):
                key = names[0] if random.random() < plain else random.choice(names)
                key = own.get(one.sort, key)
                node["inputs"][one.name] = give(prompt, key)
        self._look_at(prompt, kind, random)
        return prompt

    def _look_at(self, prompt: Prompt, kind: str, random: Random) -> None:
        types = list(self.classes[kind].RETURN_TYPES)
        taken = {f"taken{number}": ["node", number] for number in range(len(types))}
        prompt["take"] = {"class_type": "FuzzTake", "inputs": taken}
        # The text that it samples with is for the first MODEL.
        fits = prompt["node"]["inputs"].get("model") == ["give good MODEL 0", 0]
        if fits and "MODEL" in types and random.random() < 0.7:
            prompt["sampler"] = sampler(prompt, ["node", types.index("MODEL")])
            taken["taken7"] = ["sampler", 0]

    def _spoil(
        self, inputs: dict[str, Any], declared: list[Input], random: Random, prompt: Prompt
    ) -> str:
        if not declared or random.random() < 0.06:
            name = random.choice((*_UNKNOWN, *_UNKNOWN_TOO))
            inputs[name] = self._anything(random, prompt)
            return name
        one = random.choice(declared)
        if random.random() < 0.06:
            inputs.pop(one.name, None)
        elif one.is_widget and random.random() < 0.55:
            inputs[one.name] = _widget(one, random, inputs.get(one.name))
        else:
            inputs[one.name] = self._anything(random, prompt)
        return one.name

    def _anything(self, random: Random, prompt: Prompt) -> Any:
        way = random.random()
        if way < 0.5:
            odd = [name for name in objects.TABLE if name.startswith(objects.ODD)]
            return give(prompt, random.choice(odd))
        if way < 0.65:
            return give(prompt, random.choice(self.goods.of("*")))
        if way < 0.75:
            return random.choice((*_LINKS, *_LINKS_TOO))
        return _value(random)


def _is_new(name: str) -> bool:
    return name.startswith("IPA") and not name.startswith(("IPAdapter", "IPAAdapter"))


def _lighten(inputs: dict[str, Any], declared: list[Input]) -> None:
    """Less of what takes long, where the node would take it."""
    for one in declared:
        value, most = inputs.get(one.name), _COSTLY.get(one.name)
        if most and isinstance(value, int | float) and most < value <= one.options.get("max", 0):
            inputs[one.name] = most


def _widget(one: Input, random: Random, now: Any) -> Any:
    """A value of the right kind for a widget, or nearly."""
    if one.sort == "STRING":
        good = now if isinstance(now, str) else ""
        return texts.text(random) if random.random() < 0.6 else texts.damaged(random, good)
    if one.sort == "COMBO":
        if one.choices and random.random() < 0.6:
            return random.choice(one.choices)
        return texts.damaged(random, str(now)) if random.random() < 0.5 else texts.text(random)
    low, high = one.options.get("min", 0), one.options.get("max", 1)
    return random.choice((*_NUMBERS, low, high, low - 1, high + 1, low, high, (low + high) / 2))


def _value(random: Random) -> Any:
    way = random.random()
    if way < 0.3:
        return random.choice(_NUMBERS)
    if way < 0.5:
        return random.choice(_OTHERS)
    if way < 0.8:
        return texts.text(random)
    if way < 0.9:
        return {"__value__": random.choice((*_LINKS, *_LINKS_TOO, *_OTHERS, "text"))}
    return deep(random.choice((3, 40, 300, 450)), random.random() < 0.5)


def deep(times: int, table: bool) -> Any:
    """Lists or tables in each other."""
    value: Any = 0
    for _ in range(times):
        value = {"a": value} if table else [value]
    return value


def give(prompt: Prompt, key: str) -> list[Any]:
    """A link to an object of the table."""
    name = f"give {key}"
    prompt[name] = {"class_type": "FuzzGive", "inputs": {"key": key}}
    return [name, 0]


def sampler(prompt: Prompt, model: list[Any]) -> dict[str, Any]:
    """One step on a small latent."""
    text, latent = give(prompt, "good CONDITIONING 0"), give(prompt, "good LATENT 0")
    inputs = {
        **{"model": model, "positive": text, "negative": text, "latent_image": latent},
        **{"seed": 1, "steps": 1, "cfg": 3.0, "denoise": 1.0},
        **{"sampler_name": "euler", "scheduler": "normal"},
    }
    return {"class_type": "KSampler", "inputs": inputs}
