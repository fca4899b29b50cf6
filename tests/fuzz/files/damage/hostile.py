"""Values, numbers and names that honest files do not have."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

_NUMBERS = (0, 1, -1, 2, 127, 255, 2**15, 2**31 - 1, 2**31, 2**32, 2**48, 2**53, 2**63, 2**64 - 1)
_TEXTS = (
    *("", " ", ".", "..", "../../etc/passwd", "/etc/passwd", "C:\\x", "nul", "a\nb", "\0"),
    "\u202e",
    *("image_proj", "ip_adapter", "weight", "1", "-1", "1" * 5000, "9" * 400, "\ud800", "é" * 300),
    *("vision_model", "model.safetensors", "__metadata__", "%s%n", "<script>", "x" * 100_000),
)


def number(random: Random) -> int:
    """A whole number at the edge of something."""
    return random.choice(_NUMBERS) + random.choice((0, 0, 0, 1, -1))


def text(random: Random) -> str:
    """A name or word that means something to somebody."""
    return random.choice(_TEXTS)


def value(random: Random, depth: int = 0) -> Any:
    """Anything that JSON can hold, and some that it cannot."""
    choices: list[Any] = [None, True, False, number(random), text(random), 0.5, -0.0, 1e308]
    choices += [math.nan, math.inf, -math.inf, [], {}, 10 ** random.choice((20, 300, 4000))]
    if depth < 2:
        few = range(random.choice((1, 2, 3, 5, 40)))
        choices.append([value(random, depth + 1) for _ in few])
        choices.append({text(random): value(random, depth + 1) for _ in few})
        choices.append(nested(random.choice((5, 40, 900))))
    return random.choice(choices)


def nested(depth: int) -> Any:
    """Lists in lists."""
    made: Any = []
    for _ in range(depth):
        made = [made]
    return made


def changed_json(content: bytes, random: Random) -> bytes:
    """A JSON text with one place in it that holds something else.

    Raises:
        ValueError: it is no JSON text.
    """
    return dumped(changed(json.loads(content), random))


def changed(content: Any, random: Random) -> Any:
    """The same value with something else in one place."""
    way = random.random()
    if isinstance(content, dict) and content and way < 0.9:
        return _changed_table(content, random)
    if isinstance(content, list) and content and way < 0.9:
        place = random.randrange(len(content))
        made = list(content)
        made[place] = changed(made[place], random)
        return made * random.choice((1, 1, 1, 1, 100)) if len(made) < 50 else made
    return value(random)


def _changed_table(content: dict[str, Any], random: Random) -> dict[str, Any]:
    made = dict(content)
    key = random.choice(sorted(made))
    way = random.randrange(8)
    if way == 0:
        del made[key]
    elif way == 1:
        made[text(random)] = made.pop(key)
    elif way == 2:
        made[text(random)] = value(random)
    elif way == 3:
        made[key] = made[random.choice(sorted(made))]
    else:
        made[key] = changed(made[key], random)
    return made


def dumped(content: Any) -> bytes:
    """As JSON, with halves of characters that no encoding has."""
    return json.dumps(content).encode("utf-8", "surrogatepass")
