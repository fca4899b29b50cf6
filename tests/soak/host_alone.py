"""The same prompts without the pack's nodes, to tell the host's growth from the pack's."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

from kit.server.live import Prompt
from plus import recorded
from plus.recorded import Record
from soak import passing
from soak.passing import Acts

# What comes out of a node of the pack is what went in, where something of its kind did.
PASSED = ("model", "conditioning", "negative")


def acts(known: Mapping[str, Any]) -> Acts:
    """Prompts of all families that still make a picture, by name."""
    for name, prompt in prompts(known).items():
        yield f"host {name}", partial(passing.run, name, prompt)


def controls(known: Mapping[str, Any]) -> dict[str, Prompt]:
    found = prompts(known)
    return {name: found[name] for name in ("first_picture", "faceid", "flux_style", "sd35")}


def prompts(known: Mapping[str, Any]) -> dict[str, Prompt]:
    whole = {name: recorded.reduced(Record.read(name)) for name in recorded.names()}
    whole |= passing.examples(known) | passing.native()
    made = {name: passing.small(without(prompt, known)) for name, prompt in whole.items()}
    return {name: prompt for name, prompt in made.items() if _saves(prompt)}


def without(prompt: Prompt, known: Mapping[str, Any]) -> Prompt:
    """The nodes that the server knows and that can run without the others."""
    made = copy.deepcopy(prompt)
    for number, node in prompt.items():
        if node["class_type"] not in known:
            for output, socket in enumerate(PASSED):
                recorded.relink(made, [number, output], made[number]["inputs"].get(socket))
            del made[number]
    while broken := [n for n, node in made.items() if not _is_whole(node, made)]:
        for number in broken:
            del made[number]
    return made


def _is_whole(node: Mapping[str, Any], prompt: Prompt) -> bool:
    links = (v for v in node["inputs"].values() if v is None or isinstance(v, list))
    return all(link and link[0] in prompt for link in links)


def _saves(prompt: Prompt) -> bool:
    return any(node["class_type"] == "SaveImage" for node in prompt.values())
