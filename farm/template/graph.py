"""Graphs in the format of ComfyUI's API: nodes by id, links as [id, output]."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from ..work import FarmError

Nodes = dict[str, dict[str, Any]]


def checked(graph: Any) -> Nodes:
    """A graph that was read from a file.

    Raises:
        FarmError: it is none.
    """
    if isinstance(graph, dict) and "nodes" in graph and "links" in graph:
        raise FarmError(
            "the workflow is in the editor's format, and that of the API is needed. Save it with "
            '"Export (API)" in the editor\'s menu'
        )
    nodes = cast("dict[Any, Any]", graph) if isinstance(graph, dict) else {}
    if not nodes or not all(map(_is_node, nodes.values())):
        raise FarmError(
            "the workflow is no graph of nodes with class_type and inputs, which is needed. Save "
            'it with "Export (API)" in the editor\'s menu'
        )
    return {str(key): node for key, node in nodes.items()}


def _is_node(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
        and isinstance(node.get("_meta", {}), dict)
    )


def is_link(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def links(graph: Nodes, node: str) -> Iterator[tuple[str, str, int]]:
    """Input, node and output of each link into a node."""
    for name, value in graph[node]["inputs"].items():
        if is_link(value) and value[0] in graph:
            yield name, value[0], value[1]


def upstream(graph: Nodes, ends: Iterable[str]) -> set[str]:
    """The nodes, and all that they are made of."""
    found: set[str] = set()
    ahead = list(ends)
    while ahead:
        node = ahead.pop()
        if node not in found:
            found.add(node)
            ahead += [source for _, source, _ in links(graph, node)]
    return found
