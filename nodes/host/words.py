"""What the pack says in other languages, for the editor: sentences, choices, names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_LOCALES = Path(__file__).resolve().parents[2] / "locales"
_SENTENCES, _NODES, _COMMANDS = "sentences.json", "nodeDefs.json", "commands.json"


def words(given: Mapping[str, Any]) -> object:
    """?language=zh: all words of a language, nothing where there are none."""
    language = given.get("language", "")
    # A name of a folder that is there, so that no path is made of what was sent.
    return _words(language) if isinstance(language, str) and language in _languages() else {}


@cache
def _languages() -> frozenset[str]:
    return frozenset(path.parent.name for path in _LOCALES.glob(f"*/{_SENTENCES}"))


def _words(language: str) -> dict[str, Any]:
    return _read(language, _SENTENCES) | {"names": _labels(language) | _names(language)}


def _names(language: str) -> dict[str, str]:
    """Names of nodes by id and by English name, and those of inputs that have one name only."""
    english, translated = _read("en", _NODES), _read(language, _NODES)
    names: dict[str, str] = {}
    inputs: dict[str, set[str]] = {}
    for node, entry in translated.items():
        for key in (node, english[node]["display_name"]):
            names[key] = entry["display_name"]
        for name, of_input in entry["inputs"].items():
            if "name" in of_input:
                inputs.setdefault(name, set()).add(of_input["name"])
    return {name: min(called) for name, called in inputs.items() if len(called) == 1} | names


def _labels(language: str) -> dict[str, str]:
    """What commands are called, which stand in menus of ours too."""
    english, translated = _read("en", _COMMANDS), _read(language, _COMMANDS)
    return {english[command]["label"]: entry["label"] for command, entry in translated.items()}


def _read(language: str, name: str) -> dict[str, Any]:
    return json.loads((_LOCALES / language / name).read_text("utf-8"))
