"""JSON as people and programs write it: with Python's quotes too, and every number a float."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:'([^'\\]*)'|"([^"\\]*)"|([-+.0-9][-+.0-9eE]*)|([A-Za-z_]+)|([][{}(),:]))"""
)
_WORDS = {"True": "true", "False": "false", "None": "null"}
_BRACKETS = {"(": "[", ")": "]"}


def read(text: str) -> Any:
    """Dicts, lists, strings and floats; a host that turns an object into text uses Python's form.

    Raises:
        ValueError: it is neither, with the place where reading ended.
        KeyError: a key stands twice.
        RecursionError: it is nested too deeply.
    """
    try:
        return _read(text)
    except json.JSONDecodeError as error:
        try:
            return _read("".join(_from_python(text)))
        except ValueError:
            raise ValueError(f"line {error.lineno}, column {error.colno}") from None


def _read(text: str) -> Any:
    # Whole numbers as floats, so that digits without end give infinity and no other error.
    return json.loads(text, parse_int=float, object_pairs_hook=_unique)


def _from_python(text: str) -> list[str]:
    """The same in JSON, piece by piece: Python's own reader holds every other thread meanwhile.

    Raises:
        ValueError: it is of more than dicts, lists, tuples, plain texts, numbers and constants.
    """
    pieces: list[str] = []
    number = ""
    for kind, token in _tokens(text.rstrip()):
        if token == ":" and number:  # the key of a dict
            pieces[-1] = json.dumps(number)
        if token in ("]", "}", ")") and kind == 5 and pieces[-1:] == [","]:
            pieces.pop()
        number = token if kind == 3 else ""
        if kind <= 2:
            pieces.append(json.dumps(token))
        elif kind == 3:
            pieces.append(json.dumps(float(token)))
        elif kind == 4:
            if token not in _WORDS:
                raise ValueError(f"{token[:40]} is no constant")
            pieces.append(_WORDS[token])
        else:
            pieces.append(_BRACKETS.get(token, token))
    return pieces


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Which alternative of the pattern, and what it found."""
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastindex is None:
            raise ValueError(f"character {place} is not known")
        yield match.lastindex, match[match.lastindex]
        place = match.end()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise KeyError(key)
        found[key] = value
    return found
