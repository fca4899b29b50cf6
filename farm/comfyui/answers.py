"""What a ComfyUI server says of a graph: why it has no result, or what its nodes gave."""

from __future__ import annotations

from typing import Any

from ..work import Graph

UNFETCHED = "farm.Fetch"


class Failed(Exception):
    """A graph has no result, for a reason of its own.

    Args:
        problem: stable short name, as "ipadapter.WrongBase" or "comfyui.value_not_in_list".
    """

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem


def refusal(answer: Any, graph: Graph) -> Failed:
    """Why a server did not take a graph: the first fault of a node, else what it says itself."""
    answer = answer if isinstance(answer, dict) else {}
    for node, report in (answer.get("node_errors") or {}).items():
        for fault in report.get("errors") or ():
            details = str(fault.get("details") or "")
            _, sign, rest = details.partition(" - ipadapter.")
            if sign:
                kind, _, sentence = rest.partition(": ")
                return Failed(f"ipadapter.{kind}", f"{_title(graph, node)}: {sentence}")
            said = f"{fault.get('message')} ({details})" if details else f"{fault.get('message')}"
            return Failed(f"comfyui.{fault.get('type')}", f"{_title(graph, node)}: {said}")
    error = answer.get("error") or {}
    if not isinstance(error, dict):
        return Failed("comfyui.refused", str(error))
    return Failed(
        f"comfyui.{error.get('type', 'refused')}",
        " ".join(str(error[key]) for key in ("message", "details") if error.get(key))
        or "the server refused the workflow and does not say why",
    )


def outputs(entry: dict[str, Any]) -> dict[str, Any]:
    """What nodes gave.

    Raises:
        Failed: one of them did not.
    """
    status = entry.get("status") or {}
    for kind, said in status.get("messages") or ():
        if kind == "execution_error":
            sentence = str(said.get("exception_message") or "it says nothing").strip()
            node = said.get("node_type") or "a node"
            raise Failed(str(said.get("exception_type") or "comfyui.error"), f"{node}: {sentence}")
        if kind == "execution_interrupted":
            raise Failed("comfyui.interrupted", "the run was interrupted on the server")
    return entry.get("outputs") or {}


def _title(graph: Graph, node: str) -> str:
    found = graph.get(node, {})
    meta = found.get("_meta") or {}
    return str(meta.get("title") or found.get("class_type") or f"node {node}")
