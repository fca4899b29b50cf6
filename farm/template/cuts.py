"""What of a workflow is encoded once for a job: its Encode nodes, cut out and loaded again."""

from __future__ import annotations

from dataclasses import dataclass

from ..work import graph_key
from .graph import Nodes, links, upstream

# Nodes whose first output are embeds, which Save Embeds keeps whole and Load Embeds gives back.
ENCODERS = ("IPAEncodeImage", "IPAEncodeFace", "IPATiles")
INSIDE = ("IPASimple", "IPAStyleComposition", "IPARegional")
# What makes a picture belongs to its row and not to a reference.
PAINTS = ("Sampler",)


@dataclass(frozen=True)
class Part:
    """A reference that was cut out.

    Args:
        key: digest of the nodes that it follows from.
        graph: these, and one that saves the embeds.
        embeds: name of the file under which the rest loads them.
    """

    key: str
    graph: Nodes
    embeds: str


class Cutter:
    """Cuts what encodes references out of filled graphs of one workflow."""

    def __init__(self, graph: Nodes) -> None:
        self._graph = graph
        used = {(source, slot) for key in graph for _, source, slot in links(graph, key)}
        self._ends = [
            key
            for key, node in graph.items()
            if node["class_type"] in ENCODERS and (key, 0) in used and not self._paints(key)
        ]

    def encode_inside(self) -> list[str]:
        """Titles of nodes whose references each worker encodes for itself."""
        return [
            str(node.get("_meta", {}).get("title") or node["class_type"])
            for node in self._graph.values()
            if node["class_type"] in INSIDE or node["class_type"].startswith("IPAdapter")
            if any(name.startswith("image") or "_image" in name for name in node["inputs"])
        ]

    def cut(self, graph: Nodes) -> tuple[Nodes, list[Part]]:
        """The rest of a filled graph, and its references."""
        rest, parts = dict(graph), list[Part]()
        for end in self._ends:
            made_of = upstream(graph, [end])
            own = {key: _plain(graph[key]) for key in graph if key in made_of}
            key = graph_key(own)
            name = f"farm-{key}"
            parts.append(Part(key, _saving(own, end, name), f"{name}.safetensors"))
            _replace(rest, end, f"{name}.safetensors")
        _prune(rest, self._ends, graph)
        return rest, parts

    def _paints(self, end: str) -> bool:
        kinds = (self._graph[key]["class_type"] for key in upstream(self._graph, [end]))
        return any(part in kind for kind in kinds for part in PAINTS)


def _plain(node: dict[str, object]) -> dict[str, object]:
    """Without its title, which changes nothing."""
    return {"class_type": node["class_type"], "inputs": node["inputs"]}


def _saving(graph: Nodes, end: str, name: str) -> Nodes:
    inputs = {
        **{"embeds.embeds0": [end, 0], "name": name},
        **{"file_format": "safetensors", "if_exists": "keep both"},
    }
    return {**graph, "farm save": {"class_type": "IPASaveEmbeds", "inputs": inputs}}


def _replace(graph: Nodes, end: str, embeds: str) -> None:
    """Load the embeds in the place of what encodes them."""
    load = f"{end} farm"
    graph[load] = {"class_type": "IPALoadEmbeds", "inputs": {"embeds_file": embeds}}
    for key, node in graph.items():
        inputs = {
            name: [load, 0] if value == [end, 0] else value
            for name, value in node["inputs"].items()
        }
        if inputs != node["inputs"]:
            graph[key] = {**node, "inputs": inputs}


def _prune(rest: Nodes, ends: list[str], before: Nodes) -> None:
    """Take out what only the encoding needed."""
    candidates = upstream(before, ends)
    while True:
        used = {source for key in rest for _, source, _ in links(rest, key)}
        idle = [key for key in candidates if key in rest and key not in used]
        if not idle:
            return
        for key in idle:
            del rest[key]
