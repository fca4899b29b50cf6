"""Turns a workflow as the editor saves it into the prompt that `POST /prompt` takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

# Nodes of the page alone, the last one of the pack's examples.
NOTES = ("Note", "MarkdownNote", "IPAExampleResult")
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR")
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
MUTED, BYPASSED = 2, 4
SEEDS = ("seed", "noise_seed")
NO_VALUE = object()


class WorkflowError(Exception):
    """A workflow that this server cannot run, in words for its author."""


def to_prompt(workflow: Json, object_info: Mapping[str, Json]) -> dict[str, Json]:
    """The API prompt of a workflow; `object_info` is the server's `/object_info`."""
    graph = _Graph(workflow)
    prompt = {}
    for node in workflow["nodes"]:
        if graph.is_virtual(node) or node.get("mode") in (MUTED, BYPASSED):
            continue
        info = object_info.get(node["type"])
        if info is None:
            raise WorkflowError(
                f"the workflow uses the node {node['type']}; this ComfyUI has no such node. "
                "Look in the server's log for why its pack did not load."
            )
        prompt[str(node["id"])] = {
            "class_type": node["type"],
            "inputs": widget_values(node, info) | graph.inputs(node),
            "_meta": {"title": node.get("title") or info.get("display_name") or node["type"]},
        }
    return prompt


def widget_values(node: Json, info: Json) -> Json:
    """The node's widget values by name; what the file leaves out has its default."""
    saved = node.get("widgets_values") or []
    if isinstance(saved, dict):
        named = {name: value for name, value in saved.items() if name in _names(info["input"])}
        return {name: _wrapped(value) for name, value in named.items()}
    return dict(_positional(info["input"], iter(saved)))


class _Graph:
    """Finds where the value on each input comes from, past bypassed and helper nodes."""

    def __init__(self, workflow: Json) -> None:
        self.nodes = {node["id"]: node for node in workflow["nodes"]}
        self.sources = {}
        for link in workflow["links"]:
            if isinstance(link, dict):
                self.sources[link["id"]] = (link["origin_id"], link["origin_slot"])
            else:
                self.sources[link[0]] = (link[1], link[2])

    def is_virtual(self, node: Json) -> bool:
        return node["type"] in (*NOTES, "Reroute", "PrimitiveNode")

    def inputs(self, node: Json) -> Json:
        """Links and primitive values by input name (`images.image0` as it stands)."""
        found = {slot["name"]: self._value(slot) for slot in node.get("inputs") or []}
        return {name: value for name, value in found.items() if value is not NO_VALUE}

    def _value(self, slot: Json) -> Any:
        if slot.get("link") is None:
            return NO_VALUE
        source, output = self.sources[slot["link"]]
        node = self.nodes[source]
        if node.get("mode") == MUTED:
            return NO_VALUE
        if node["type"] == "PrimitiveNode":
            return _wrapped(node["widgets_values"][0])
        if node["type"] == "Reroute":
            return self._value(node["inputs"][0])
        if node.get("mode") == BYPASSED:
            return self._past_bypassed(node, output)
        return [str(source), output]

    def _past_bypassed(self, node: Json, output: int) -> Any:
        """A bypassed node passes on the input of the same type, its own place first."""
        inputs = node.get("inputs") or []
        wanted = node["outputs"][output]["type"]
        for slot in [*inputs[output : output + 1], *inputs]:
            if slot["type"] == wanted:
                return self._value(slot)
        return NO_VALUE


def _positional(inputs: Json, values: Iterator[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name each saved value in the order in which the editor makes the widgets."""
    for name, kind, options in _declared(inputs):
        if not _has_widget(kind, options):
            continue
        value = next(values, NO_VALUE)
        if value is NO_VALUE or value is None:
            value = _default(kind, options)
        if value is not NO_VALUE:
            yield prefix + name, _wrapped(value)
        if kind == DYNAMIC_COMBO:
            chosen = [option for option in options["options"] if option["key"] == value]
            for option in chosen:
                yield from _positional(option["inputs"], values, f"{prefix}{name}.")
        if options.get("control_after_generate") or (kind == "INT" and prefix + name in SEEDS):
            next(values, None)


def _declared(inputs: Json) -> Iterator[tuple[str, Any, Json]]:
    for group in ("required", "optional"):
        for name, declared in (inputs.get(group) or {}).items():
            yield name, declared[0], declared[1] if len(declared) > 1 else {}


def _names(inputs: Json) -> set[str]:
    return {name for name, _, _ in _declared(inputs)}


def _has_widget(kind: Any, options: Json) -> bool:
    if options.get("forceInput"):
        return False
    return isinstance(kind, list) or kind in WIDGETS or kind == DYNAMIC_COMBO


def _default(kind: Any, options: Json) -> Any:
    if "default" in options:
        return options["default"]
    choices: list[Any] = kind if isinstance(kind, list) else options.get("options") or []
    if not choices:
        return NO_VALUE
    return choices[0]["key"] if kind == DYNAMIC_COMBO else choices[0]


def _wrapped(value: Any) -> Any:
    """A bare list would be read as a link."""
    return {"__value__": value} if isinstance(value, list) else value
