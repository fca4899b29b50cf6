"""Tables of lines whose cells stand between commas, semicolons or tabs."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TextIO

from ..work import FarmError, counted
from .cells import Cells, Collector, require_names

SIGNS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
LONGEST_FIELD = (1 << 31) - 1  # what is too long is its row's problem, not the table's
# The line that Excel writes and reads before the first.
SAID = re.compile(r'"?sep=([,;\t|])"?[\r\n]*')


def read_delimited(lines: TextIO, source: str, sign: str = "") -> Cells:
    """The cells of a table of lines.

    Args:
        sign: between the cells; left out, the first line tells.

    Raises:
        FarmError: the names of the columns are none, or a quote is wrong, in a sentence.
    """
    csv.field_size_limit(LONGEST_FIELD)
    before, first = 0, ""
    for first in lines:
        said = SAID.fullmatch(first)
        if first.strip() and not said:
            break
        sign, before, first = said[1] if said else sign, before + 1, ""
    sign = sign or _sign(first)
    records = _records(chain([first], lines), sign, before, source)
    header = require_names(source, next(records)[1]) if first else []
    if header and all(map(_is_number, header)):
        raise FarmError(
            f"{source} begins with {', '.join(header)[:60]}, and its first line has to name the "
            "columns. Put a line with names such as prompt above"
        )
    rows = Collector(header)
    for line, cells in records:
        if not any(map(str.strip, cells)) and cells != [""]:
            continue  # an empty line, also as a spreadsheet leaves it: ,,,
        problem = ""
        if len(cells) != len(header):
            problem = (
                f"line {line} has {counted(len(cells), 'cell')} and the table "
                f"{counted(len(header), 'column')}. "
                f'Put texts that hold {SIGNS.get(sign, repr(sign))} between quotes (")'
            )
        rows.add(dict(zip(header, cells, strict=False)), problem)
    return rows.cells()


def _sign(first: str) -> str:
    """Which of the signs a line of names has most of outside quotes; a comma, if none."""
    outside = "".join(first.split('"')[::2])
    return max(SIGNS, key=outside.count)


def _records(
    lines: Iterable[str], sign: str, before: int, source: str
) -> Iterator[tuple[int, Sequence[str]]]:
    """Each record with the line that it begins in, where some lines came before."""
    reader = csv.reader(lines, delimiter=sign, strict=True)
    while True:
        line = before + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            found = "opens a quote that nothing closes" if "end of data" in str(error) else error
            raise FarmError(
                f"{source} is no CSV that can be read, for line {line} ({found}). Quotes stand at "
                "both ends of a cell, and are doubled inside it. Correct that line"
            ) from None
        if cells is None:
            return
        yield line, cells


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
