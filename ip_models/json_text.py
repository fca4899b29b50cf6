"""JSON of files, prompts and requests, of which nobody knows how long it is."""

from __future__ import annotations

import json
from typing import Any

from . import limits

_MARKS = (",", "[", "{", ":")


def read(text: str, most: int = limits.HEADER_BYTES) -> Any:
    """What a JSON text says.

    Args:
        most: characters that are read.

    Raises:
        ValueError: it is no JSON, or longer or of more parts than is read.
    """
    if len(text) > most:
        raise ValueError(f"{len(text):,} characters are there, and {most:,} are read")
    parts = sum(map(text.count, _MARKS))
    if parts > 2 * limits.ELEMENTS:  # each pair has a colon beside its comma
        raise ValueError(f"{parts:,} parts are there, and {2 * limits.ELEMENTS:,} are read")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("tables stand inside tables without end") from None
