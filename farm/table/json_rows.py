"""Tables of JSON: an object on each line, or one list of objects, also inside of an object."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TextIO

from ..work import FarmError, counted
from .cells import LIST, NO_TEXT, OBJECT, Cells, Collector, twice

ROWS = {"rows", "jobs", "items", "data", "records"}
ONE = "Write one object with names and values for each row"
# Objects come as tuples of pairs, so that a name that is there twice is seen, and numbers as they
# are written, so that they keep their digits. NaN is what Python writes for an empty cell.
DECODER = json.JSONDecoder(
    object_pairs_hook=tuple,
    parse_int=str,
    parse_float=str,
    parse_constant=lambda name: None if name == "NaN" else name,
)


def read_json(lines: TextIO, source: str) -> Cells:
    """The cells of a table of JSON.

    Raises:
        FarmError: none of its rows has any, in a sentence.
    """
    rows, first = Collector(), ""
    for where, value in _values(lines, source):
        pairs, problem = _pairs(value)
        if problem:
            problem = f"{where} {problem}. {ONE}"
        first = first or problem or f"{where} has no names. {ONE}"
        unfit = {name: found for name, cell in pairs if (found := _unfit(cell))}
        rows.unfit |= {(rows.place, name): found for name, found in unfit.items()}
        rows.add({name: None if name in unfit else _text(cell) for name, cell in pairs}, problem)
    if rows.place and not rows.columns:
        raise FarmError(f"{source} has {counted(rows.place, 'row')} and no column: {first}")
    return rows.cells()


def _values(lines: TextIO, source: str) -> Iterator[tuple[str, Any]]:
    """What stands on each line, or in each place of a list; or why that is no JSON."""
    before, first = 0, ""
    for first in lines:
        if first.strip():
            break
        before += 1
    some: Iterable[str] = chain([first], lines)
    sign = first.lstrip()[:1]
    if sign == "[" or (sign == "{" and not _is_row(_decoded(first))):
        whole = first + lines.read()
        value = _decoded(whole)
        found = _listed(value)
        if found is not None:
            yield from ((f"item {number}", one) for number, one in enumerate(found, 1))
            return
        if sign == "[" and isinstance(_decoded(first), Exception):
            raise FarmError(
                f"{source} is no list of JSON objects that can be read ({value}). Write it again, "
                "or one object on each line"
            )
        some = io.StringIO(whole, newline="")
    for number, line in enumerate(some, before + 1):
        if line.strip():
            yield f"line {number}", _decoded(line)


def _listed(value: Any) -> Sequence[Any] | None:
    """The rows of a text that is no line: of a list, of the list in an object, or the object."""
    if isinstance(value, tuple):
        lists = _tables(value)
        return lists[0] if len(lists) == 1 else [value]
    return value if isinstance(value, list) else None


def _is_row(value: Any) -> bool:
    return isinstance(value, tuple) and not _tables(value)


def _tables(pairs: Sequence[tuple[str, Any]]) -> list[list[Any]]:
    """Lists of objects that are all there is, or are called as lists of rows are."""
    return [
        one
        for name, one in pairs
        if isinstance(one, list)
        and all(isinstance(row, tuple) for row in one)
        and (name.strip().lower() in ROWS or (one and len(pairs) == 1))
    ]


def _decoded(text: str) -> Any:
    """What a JSON text says, or why it is none."""
    try:
        return DECODER.decode(text.strip())
    except (ValueError, RecursionError) as error:
        return error


def _pairs(value: Any) -> tuple[Sequence[tuple[str, Any]], str]:
    """Names and cells of a row, and what is wrong with it."""
    if isinstance(value, Exception):
        return (), f"is no JSON ({value})"
    if not isinstance(value, tuple):
        return (), "is no JSON object"
    pairs = [(name.strip(), cell) for name, cell in value]
    names = [name for name, _ in pairs]
    if not all(map(_is_text, names)):
        return (), "has a name with half a character"
    if not all(names):
        return (), "has a value without a name"
    found = twice(names)
    return ((), f"has two values of the name {found!r}") if found else (pairs, "")


def _unfit(cell: Any) -> str:
    """What is in a cell that can fill nothing; empty for one that can."""
    if isinstance(cell, list | tuple):
        return LIST if isinstance(cell, list) else OBJECT
    return NO_TEXT if isinstance(cell, str) and not _is_text(cell) else ""


def _text(cell: str | bool | None) -> str | None:
    return json.dumps(cell) if isinstance(cell, bool) else cell


def _is_text(text: str) -> bool:
    """Whether none of its characters is half a pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
