"""JSON as people and programs write it: with Python's quotes too, and every number a float."""

from __future__ import annotations

import ast
import json
from typing import Any, cast

from .. import limits


def read(text: str) -> Any:
    """Dicts, lists, strings and floats; a host that turns an object into text uses Python's form.

    Raises:
        ValueError: it is neither, with the reason JSON gives.
        KeyError: a key stands twice.
        RecursionError: it is nested too deeply.
    """
    try:
        # Whole numbers as floats, so that digits without end give infinity and no other error.
        return json.loads(text, parse_int=float, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        try:
            # Python builds a tree of such a text in one go, while every other thread waits.
            if len(text) > limits.PYTHON_TEXT:
                raise ValueError("too long for that")
            return _floats(ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError, MemoryError):
            place = f"line {error.lineno}, column {error.colno}"
            raise ValueError(f"{error.msg} at {place}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise KeyError(key)
        found[key] = value
    return found


def _floats(value: Any) -> Any:
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value).items()
        return {str(key): _floats(inner) for key, inner in entries}
    if isinstance(value, list | tuple):
        return [_floats(inner) for inner in cast("list[Any]", value)]
    if value is not None and not isinstance(value, bool | int | float | str):
        raise ValueError("sets, bytes and complex numbers are Python's alone")
    return float(value) if type(value) is int and abs(value) < 1e300 else value
