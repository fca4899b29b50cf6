"""What the host runs without having checked it, taken out of nodes of this pack before they run.

The host checks inputs that a node has, and of links only those that come as links. Whatever else a
prompt holds it follows when the prompt runs, where nothing catches what goes wrong: one link to a
node or an output that is not there ends the thread that works on the queue, and nothing runs any
more until the server is started anew. So does a value that is nested very deep, a node without
inputs, and a very long row of nodes, which need not even be connected.
.github/reports/comfyui_queue_worker.md says all of it, for the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from ...ip_models import limits

# The class of a name where that is a node of this pack, else None.
Ours = Callable[[object], Any]
_WRAPPED = "__value__"  # the host takes what is under this name, but only after it looked for links
_OWN = ("self", "cls")  # what Python itself gives to a node
_AUTOGROW = "COMFY_AUTOGROW_V3"
_FAR = f"the end of more than {limits.CHAIN} nodes in a row"
_DEEP = f"lists or tables more than {limits.DEPTH} deep"


def make_checkable(sent: Any, ours: Ours) -> Any:
    """What was sent to the queue, with nothing in nodes of this pack that the host does not check.

    What is no prompt is the host's to refuse, and other packs' nodes stay as they are.
    """
    prompt = sent.get("prompt") if isinstance(sent, dict) else None
    if isinstance(prompt, dict):
        for key, node in cast("dict[str, Any]", prompt).items():
            kind = ours(node.get("class_type")) if isinstance(node, dict) else None
            if kind is not None:
                prompt[key] = _checkable(node, kind)
        for key in _far(prompt, ours):
            inputs = prompt[key]["inputs"]
            inputs.update({name: _FAR for name, value in inputs.items() if _is_link(value)})
    return sent


def _checkable(node: dict[str, Any], kind: Any) -> dict[str, Any]:
    sent = node.get("inputs")
    inputs = dict(sent) if isinstance(sent, dict) else {}
    declared = set(_declared(kind))
    for name in inputs.keys() & declared:
        inputs[name] = _unwrapped(inputs[name])
    # The host has looked at these, so that they lead somewhere when the node runs.
    checked = [inputs[name] for name in sorted(inputs.keys() & declared) if _is_link(inputs[name])]
    for name in sorted(inputs.keys() - declared):
        if _is_link(inputs[name]):
            del inputs[name]
            if checked and name not in _OWN:  # so that the node says that it has no such input
                inputs[name] = checked[0]
    return {**_shallow(node), "inputs": _shallow(inputs)}


def _declared(kind: Any) -> Iterator[str]:
    """The names of all inputs that the host checks, each of an Autogrow by itself."""
    groups: dict[str, dict[str, Any]] = kind.INPUT_TYPES()
    for group in ("required", "optional"):
        for name, spec in groups.get(group, {}).items():
            if spec[0] == _AUTOGROW:
                one = spec[1]["template"]
                yield from (f"{name}.{one['prefix']}{number}" for number in range(one["max"]))
            else:
                yield name


def _far(prompt: dict[str, Any], ours: Ours) -> list[str]:
    """Nodes of this pack behind more others in a row than the host can walk back."""
    far: list[str] = []
    lengths: dict[str, int] = {}
    stack = list(prompt)
    while stack:
        key = stack[-1]
        before = [one for one in _sources(prompt[key]) if one in prompt]
        if key not in lengths:
            lengths[key] = 0
            stack += [one for one in before if one not in lengths]
            continue
        stack.pop()
        lengths[key] = 1 + max((lengths[one] for one in before), default=0)
        if lengths[key] > limits.CHAIN and ours(prompt[key].get("class_type")) is not None:
            lengths[key] = 0
            far.append(key)
    return far


def _sources(node: Any) -> list[str]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    values = inputs.values() if isinstance(inputs, dict) else ()
    return [value[0] for value in values if _is_link(value)]


def _unwrapped(value: Any) -> Any:
    inner = value.get(_WRAPPED) if isinstance(value, dict) else None
    return inner if isinstance(inner, list) else value


def _is_link(value: Any) -> bool:
    pair = value if isinstance(value, list) and len(value) == 2 else (None, None)
    return isinstance(pair[0], str) and isinstance(pair[1], int | float)


def _shallow(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _DEEP if _is_deep(value) else value for name, value in values.items()}


def _is_deep(value: Any, depth: int = 0) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth > limits.DEPTH or any(_is_deep(each, depth + 1) for each in inner)
