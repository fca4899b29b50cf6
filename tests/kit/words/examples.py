"""Notes, groups and titles of the shipped examples, as web/words/example_notes.js looks them up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("example_workflows", "subgraphs", "demo/toy_nodes/example_workflows")
NOTES = {"Note", "MarkdownNote"}
# "### [file](address), saved as **name** → **folder**": the rest is the same everywhere.
FILE_LINE = re.compile(r"\]\(.*→")
IN_IT = re.compile(r"(?<=\), )[a-z][^*→]*?(?= \*\*| →)")


def titles_and_lines() -> dict[str, str]:
    """Each title, and each line of a note, and its file."""
    return {
        text: path.name
        for folder in FOLDERS
        for path in sorted((ROOT / folder).glob("*.json"))
        for text in _texts(json.loads(path.read_text("utf-8")))
        if any(letter.isalpha() for letter in text)
    }


def _texts(graph: dict[str, Any]) -> Iterator[str]:
    for part in (graph, *graph.get("definitions", {}).get("subgraphs", [])):
        for group in part.get("groups", []):
            yield group["title"]
        for node in part["nodes"]:
            if "title" in node:
                yield node["title"]
            if node["type"] in NOTES:
                for line in node["widgets_values"][0].split("\n"):
                    yield from IN_IT.findall(line) if FILE_LINE.search(line) else [line]
