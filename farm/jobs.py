"""The table of a job: CSV, JSON or Parquet, a row a picture, from wherever Ray reads."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from .table.cells import TEXT, Cells, Row
from .table.columns import read_parquet
from .table.delimited import read_delimited
from .table.json_rows import read_json
from .table.source import PACKED, opened
from .table.text import decoded
from .work import FarmError

KINDS = {
    **{".csv": "CSV", ".tsv": "CSV", ".parquet": "Parquet"},
    **{".jsonl": "JSON", ".ndjson": "JSON", ".json": "JSON"},
}
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")


@dataclass(frozen=True)
class Jobs:
    """The rows of a job.

    Args:
        cells: those of CSV and JSON as texts, so that no seed loses a digit.
        source: path or address of the table; files in it are named from its folder.
    """

    cells: Cells
    source: str

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def table(self) -> Any:
        """The columns as they were, a table of pyarrow."""
        return self.cells.table

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.table.column_names)

    def row(self, place: int) -> Row:
        """The cells of a row.

        Raises:
            FarmError: the row is none.
        """
        return self.cells.row(place)

    def column(self, name: str) -> list[Any]:
        return self.cells.meant.column(name).to_pylist()

    def with_column(self, name: str, value: str) -> Jobs:
        """The same rows with a cell more that is the same in all."""
        column = pa.repeat(pa.scalar(value, TEXT), len(self))
        tables = (table.append_column(name, column) for table in (self.table, self.cells.meant))
        table, meant = tables
        return Jobs(replace(self.cells, table=table, meant=meant), self.source)

    def file(self, cell: str) -> str:
        """Path or address of a file that a cell names."""
        if "://" in cell:
            return cell
        if "://" in self.source:
            return posixpath.join(posixpath.dirname(self.source), cell)
        path = Path(self.source).parent / os.path.expanduser(cell)  # also of nobody's home
        if os.sep == "/" and "\\" in cell and not path.exists():  # as Windows writes it
            return self.file(cell.replace("\\", "/"))
        return str(path)


def read_jobs(source: str) -> Jobs:
    """The table of a job.

    Raises:
        FarmError: there is none, or it is no table, in a sentence.
    """
    if "://" not in source and Path(source).is_dir():
        raise FarmError(f"{source} is a folder, and a table is a file. Name the file in it")
    kind, ending, packing = _kind(source)
    with opened(source, packing) as file:
        try:
            if kind == "Parquet":
                cells = read_parquet(file.read(), source)
            elif kind == "JSON":
                cells = read_json(decoded(file, source), source)
            else:
                sign = "\t" if ending == ".tsv" else ""
                cells = read_delimited(decoded(file, source), source, sign)
        except UnicodeDecodeError:
            raise FarmError(
                f"{source} is not written in UTF-8, or in UTF-16 with its mark, which tables of "
                'text have to be. Save it as UTF-8 ("CSV UTF-8" in Excel)'
            ) from None
        except (pa.ArrowException, OSError) as error:
            raise FarmError(
                f"{source} is no {kind} that can be read ({error}). Write the table again, or give "
                "it the ending of what it is"
            ) from None
    if not cells.table.num_rows:
        found = "only names of columns" if cells.table.num_columns else "nothing in it"
        raise FarmError(f"{source} has {found}, and each row makes a picture. Add rows")
    return Jobs(cells, source)


def _kind(source: str) -> tuple[str, str, str | None]:
    """What a table is by its ending, that ending, and what it is packed as."""
    path = PurePosixPath(source)
    packing = PACKED.get(path.suffix.lower())
    ending = (path.with_suffix("") if packing else path).suffix.lower()
    if ending in KINDS and not (packing and KINDS[ending] == "Parquet"):
        return KINDS[ending], ending, packing
    if ending in SPREADSHEETS:
        raise FarmError(
            f"{source} is a spreadsheet, and a table of text or Parquet is needed. Save it as CSV "
            '("CSV UTF-8" in Excel), and give that'
        )
    found = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
    raise FarmError(
        f"{source} {found}, and the ending says what a table is: "
        f"{', '.join(KINDS)}, the texts also with {', '.join(PACKED)}. Rename it"
    )
