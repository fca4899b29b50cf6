"""Prompts of programs as they were made for early versions, before the host checks them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from ...host.node_table import owner_of
from .rules import RENAMES, Widget, widgets

Prompt = dict[str, Any]


def repair(sent: Any, is_ours: Callable[[object], bool]) -> Any:
    """What was sent to the queue, its old nodes in the form of today.

    What is no prompt is the host's to refuse, and so is a node that no rule knows.

    Args:
        is_ours: whether a name is a node of this pack at present.
    """
    prompt = sent.get("prompt") if isinstance(sent, dict) else None
    if isinstance(prompt, dict):
        # Once for each class: its widgets list the files of folders, and a prompt may be long.
        known = cache(lambda name: widgets(name, owner_of(name)))
        for key, node in cast("Prompt", prompt).items():
            if _is_node(node) and is_ours(node["class_type"]):
                prompt[key] = _as_of_today(node, is_ours, known)
    return sent


def _is_node(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
    )


def _as_of_today(
    node: Prompt, is_ours: Callable[[object], bool], known: Callable[[str], list[Widget]]
) -> Prompt:
    name, inputs = _renamed(node["class_type"], dict(node["inputs"]), is_ours)
    for widget in known(name):
        _correct(inputs, widget)
    return {**node, "class_type": name, "inputs": inputs}


def _renamed(name: str, inputs: Prompt, is_ours: Callable[[object], bool]) -> tuple[str, Prompt]:
    for rule in RENAMES:
        fits = name == rule["old"] and any(each in inputs for each in rule["named"])
        if fits and is_ours(rule["new"]):
            new = {old: now for old, now in rule["inputs"].items() if now not in inputs}
            return rule["new"], {new.get(each, each): value for each, value in inputs.items()}
    return name, inputs


def _correct(inputs: Prompt, widget: Widget) -> None:
    name = widget["name"]
    value = inputs.get(name)
    absent = value is None and (name in inputs or widget["needed"])
    if absent and widget["default"] is not None:
        inputs[name] = widget["default"]
    elif isinstance(value, str):
        inputs[name] = widget["texts"].get(value, value)
