"""JSON of files, prompts and requests, of which nobody knows how long it is."""

from __future__ import annotations

import gc
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
    # What stands inside of texts is no part; a text begins and ends with a quote of its own.
    bare = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    parts = sum(map(bare.count, _MARKS))
    if parts > 2 * limits.ELEMENTS:  # each pair has a colon beside its comma
        raise ValueError(f"{parts:,} parts are there, and {2 * limits.ELEMENTS:,} are read")
    tables = bare.count("[") + bare.count("{")
    if tables > limits.TABLES:
        raise ValueError(f"{tables:,} tables are there, and {limits.TABLES:,} are read")
    # Python stops to look for what nobody needs any more each time many tables were made, and all
    # other threads with it: here that would be in vain, and take many times as long as to read.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("tables stand inside tables without end") from None
    finally:
        if collecting:
            gc.enable()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # other readers take the first one, or none
        raise ValueError("a name stands twice in a table")
    return found
