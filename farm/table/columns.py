"""Tables of Parquet: what the values of each type of column mean."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as parquet
from pyarrow import types

from .cells import BYTES, LIST, NEEDED, NO_TEXT, OBJECT, Cells, require_names

Column = Any  # a ChunkedArray; pyarrow carries no types, and makes its functions when it begins
compute: Any = pyarrow.compute
# What Arrow writes between date and time, after the last digit, and in an offset, against ISO 8601.
ISO = (
    (r"^(\S+) ", r"\1T"),
    (r"\.0+($|[-+Z])", r"\1"),
    (r"(\.\d*[1-9])0+($|[-+Z])", r"\1\2"),
    (r"([-+]\d\d)(\d\d)$", r"\1:\2"),
)
TEXTS = (types.is_string, types.is_large_string)
NUMBERS = (
    *(types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal),
)
TIMES = (types.is_date, types.is_time, types.is_timestamp)
BINARY = (
    *(types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary),
)


def read_parquet(content: bytes, source: str) -> Cells:
    """The cells of a Parquet file.

    Raises:
        FarmError: its columns have no names of their own, in a sentence.
        pyarrow.ArrowException, OSError: it is no Parquet.
    """
    file = parquet.ParquetFile(pa.BufferReader(content))
    names = require_names(source, file.schema_arrow.names)
    return as_meant(file.read().rename_columns(names).combine_chunks())


def as_meant(table: Any) -> Cells:
    """What the columns of a table of pyarrow mean."""
    unfit: dict[tuple[int, str], str] = {}
    unfit_columns: dict[str, str] = {}
    kept, meant = table, table
    for number, name in enumerate(table.column_names):
        column = _plain(table.column(number))
        wrong = _unfit(column.type)
        if wrong:
            unfit_columns[name] = wrong
            column = pa.nulls(len(table))
        elif any(is_text(column.type) for is_text in TEXTS):
            places = _broken(column)
            if places:
                unfit |= {(place, name): NO_TEXT for place in places}
                column = _without(column, places)
                kept = kept.set_column(number, name, column)
        else:
            column = _meant(column)
        meant = meant.set_column(number, name, column)
    return Cells(kept, meant, {}, unfit, unfit_columns)


def _plain(column: Column) -> Column:
    """Without what only says how it is stored."""
    kind = column.type
    if types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    json = getattr(kind, "extension_name", "") == "arrow.json"
    return column.cast(pa.large_string()) if json or types.is_string_view(kind) else column


def _unfit(kind: Any) -> str:
    """What is in a column that can fill nothing; empty for one that can."""
    if any(is_kind(kind) for is_kind in (*TEXTS, *NUMBERS, *TIMES)):
        return ""
    if types.is_nested(kind):
        return OBJECT if types.is_struct(kind) or types.is_map(kind) else LIST
    if any(is_kind(kind) for is_kind in BINARY):
        return BYTES
    return f"a value of the type {kind}, and {NEEDED}. Write it as a text"


def _meant(column: Column) -> Column:
    kind = column.type
    if types.is_floating(kind):
        if types.is_float32(kind):  # 0.7, and not 0.699999988079071, the double that is the same
            column = column.cast(pa.string()).cast(pa.float64())
        return compute.if_else(compute.is_nan(column), pa.scalar(None, column.type), column)
    if any(is_time(kind) for is_time in TIMES):
        column = column.cast(pa.string())
        for found, instead in ISO:
            column = compute.replace_substring_regex(column, found, instead)
        return column
    return column.cast(pa.string()) if types.is_boolean(kind) or types.is_decimal(kind) else column


def _broken(column: Column) -> list[int]:
    """The places of texts that are no UTF-8, which Parquet does not look at."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        cells = enumerate(column.cast(pa.large_binary()).to_pylist())
        return [place for place, cell in cells if cell is not None and not _is_utf8(cell)]
    return []


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without(column: Column, places: list[int]) -> Column:
    """A column with some cells empty."""
    mask = [False] * len(column)
    for place in places:
        mask[place] = True
    return compute.if_else(pa.array(mask), pa.scalar(None, column.type), column)
