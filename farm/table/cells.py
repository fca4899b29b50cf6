"""The cells of a table: as they were, as they are meant, and which of them can fill nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ..work import FarmError

LONGEST_CELL = 1 << 20
CHUNK = 10_000
# large_string: a million prompts may be more than the two gigabytes of a string column.
TEXT = pa.large_string()
# What is in a cell that can fill nothing, in the words of its row's sentence.
NEEDED = "a text, a number, true or false, or a date is needed"
LIST = f"a list, and {NEEDED}. Give each value a column of its own"
OBJECT = f"an object, and {NEEDED}. Give each value a column of its own"
BYTES = f"bytes, and {NEEDED}. Write the text, or the path of the picture"
NO_TEXT = "half a character, as a cut text may end, and whole ones are needed. Write the cell again"


@dataclass(frozen=True)
class Cells:
    """What is in a table.

    Args:
        table: the columns as they were.
        meant: the same as texts and numbers; null where a cell is empty or can fill nothing.
        problems: what is wrong with a row, by its place from 0.
        unfit: what is in a cell that can fill nothing, by place and column.
        unfit_columns: what is in all cells of a column that can fill nothing.
    """

    table: pa.Table
    meant: pa.Table
    problems: Mapping[int, str] = field(default_factory=dict)
    unfit: Mapping[tuple[int, str], str] = field(default_factory=dict)
    unfit_columns: Mapping[str, str] = field(default_factory=dict)

    def row(self, place: int) -> Row:
        """A row.

        Raises:
            FarmError: it is none, in a sentence.
        """
        if place in self.problems:
            raise FarmError(self.problems[place])
        cells: dict[str, Any] = self.meant.slice(place, 1).to_pylist()[0]
        found = {name: self._unfit(place, name, cell) for name, cell in cells.items()}
        return Row(place, cells, {name: what for name, what in found.items() if what})

    def _unfit(self, place: int, name: str, cell: Any) -> str:
        if isinstance(cell, str) and len(cell) > LONGEST_CELL:
            return f"{len(cell):,} characters, and at most {LONGEST_CELL:,} are taken. Shorten it"
        if name in self.unfit_columns and self.table[name][place].is_valid:
            return self.unfit_columns[name]
        return self.unfit.get((place, name), "")


class Row(Mapping[str, Any]):
    """Cells by column: texts and numbers, None where empty.

    One that can fill nothing is told when it is asked for: columns that fill nothing hold anything.

    Args:
        place: from 0.
        unfit: what is in such cells, by column.
    """

    def __init__(self, place: int, cells: Mapping[str, Any], unfit: Mapping[str, str]) -> None:
        self._place, self._cells, self._unfit = place, cells, unfit

    def __getitem__(self, name: str) -> Any:
        if name in self._unfit:
            raise FarmError(f"row {self._place + 1} has in the column {name} {self._unfit[name]}")
        return self._cells[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)


class Collector:
    """Collects rows in columns of text, some thousands at a time: lists of a million are large."""

    def __init__(self, columns: Iterable[str] = ()) -> None:
        self.columns = dict.fromkeys(columns)
        self.problems: dict[int, str] = {}
        self.unfit: dict[tuple[int, str], str] = {}
        self._chunks: list[pa.Table] = []
        self._open: list[Mapping[str, str | None]] = []

    @property
    def place(self) -> int:
        """Of the row that is added next, from 0."""
        return CHUNK * len(self._chunks) + len(self._open)

    def add(self, cells: Mapping[str, str | None], problem: str = "") -> None:
        """Add a row, with what is wrong with it."""
        if problem:
            self.problems[self.place] = problem
        self.columns.update(dict.fromkeys(cells))
        self._open.append(cells)
        if len(self._open) == CHUNK:
            self._close()

    def _close(self) -> None:
        found = {
            name: pa.array([cells.get(name) for cells in self._open], TEXT) for name in self.columns
        }
        self._chunks.append(pa.table(found))
        self._open = []

    def cells(self) -> Cells:
        if self._open:
            self._close()
        schema = pa.schema([(name, TEXT) for name in self.columns])
        tables = [schema.empty_table(), *self._chunks]
        table = pa.concat_tables(tables, promote_options="default").combine_chunks()
        return Cells(table, table, self.problems, self.unfit)


def require_names(source: str, names: Iterable[str]) -> list[str]:
    """Names of columns without the space around them.

    Raises:
        FarmError: one is empty or there twice.
    """
    stripped = [name.strip() for name in names]
    found = twice(stripped)
    if found or not all(stripped):
        what = f"two columns {found!r}" if found else "a column without a name"
        raise FarmError(
            f"{source} has {what}, and each column has a name of its own. Correct the names"
        )
    return stripped


def twice(names: Iterable[str]) -> str | None:
    """The first name that is there a second time."""
    seen = set[str]()
    # `add` gives nothing: a name that is not there yet goes on.
    return next((name for name in names if name in seen or seen.add(name)), None)
