"""What each input of each node takes, from the nodes' own schemas, and good values for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from . import objects

Prompt = dict[str, dict[str, Any]]
_AUTOGROW = "COMFY_AUTOGROW_V3"
_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


@dataclass(frozen=True)
class Input:
    """One input; `choices` of a list, `options` as /object_info tells them."""

    name: str
    sort: str
    needed: bool
    choices: list[Any] = field(default_factory=list[Any])
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_widget(self) -> bool:
        return self.sort in _WIDGETS


def inputs_of(kind: Any) -> list[Input]:
    """All inputs that a node declares; of an Autogrow the first three."""
    groups: dict[str, dict[str, Any]] = kind.INPUT_TYPES()
    found: list[Input] = []
    for group in ("required", "optional"):
        for name, spec in groups.get(group, {}).items():
            options = spec[1] if len(spec) > 1 else {}
            if spec[0] == _AUTOGROW:
                found += _grown(name, options["template"])
            elif isinstance(spec[0], list):
                found.append(Input(name, "COMBO", group == "required", spec[0], options))
            else:
                choices = options.get("options", [])
                found.append(Input(name, spec[0], group == "required", choices, options))
    return found


def _grown(name: str, template: dict[str, Any]) -> list[Input]:
    (group,) = (each for each in template["input"].values() if each)
    (spec,) = group.values()
    return [
        Input(f"{name}.{template['prefix']}{number}", spec[0], number < template.get("min", 1))
        for number in range(3)
    ]


@dataclass
class Goods:
    """Good objects by the type of the socket they are for: names in `objects.TABLE`.

    Attributes:
        families: what a node that is for one family of models takes, by the type of the socket.
        together: MODEL, adapter and embeds that go together, likewise.
    """

    names: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    families: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    together: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def add(self, sort: str, value: Any, most: int) -> bool:
        """Keep an output of a node, unless there are enough of its type."""
        kept = self.names.setdefault(sort, [])
        if value is None or len(kept) >= most:
            return False
        name = f"good {sort} {len(kept)}"
        objects.TABLE[name] = value
        kept.append(name)
        return True

    def of(self, sort: str) -> list[str]:
        """Those for a socket, which may be of several types."""
        if sort == "*":
            return [name for names in self.names.values() for name in names]
        return [name for one in sort.split(",") for name in self.names.get(one, [])]


def good_value(one: Input, random: Random, plain: float) -> Any:
    """A value of a widget as people choose it, the default one in so many of all cases."""
    default = one.options.get("default", one.choices[0] if one.choices else None)
    if one.sort == "COMBO":
        usual = default is not None and random.random() < plain
        return default if usual or not one.choices else random.choice(one.choices)
    if random.random() < plain and default is not None:
        return default
    low, high = one.options.get("min", 0), one.options.get("max", 1)
    if one.sort == "INT":
        return random.choice((low, random.randint(int(low), min(int(high), int(low) + 100))))
    if one.sort == "FLOAT":
        return random.choice((low, high, random.uniform(low, high)))
    if one.sort == "BOOLEAN":
        return random.random() < 0.5
    return random.choice(("", "1, 0.5", "0:1, 3:0.5", "a cat", "1"))
