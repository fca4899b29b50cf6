"""The table of a job: CSV, JSON lines or Parquet, a row a picture, from wherever Ray reads."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs as filesystems
import pyarrow.parquet as parquet

from .work import FarmError

ENDINGS = {".csv": "CSV", ".jsonl": "JSON lines", ".ndjson": "JSON lines", ".parquet": "Parquet"}
PACKED = (".gz", ".bz2", ".zst")  # as pyarrow unpacks them on the way
CHUNK = 10_000
LONGEST_CELL = 1 << 20
# large_string: a million prompts may be more than the two gigabytes of a string column.
TEXT = pa.large_string()


@dataclass(frozen=True)
class Jobs:
    """The rows of a job.

    Args:
        table: the cells; those of CSV and JSON lines as text, so that no seed loses a digit.
        problems: what is wrong with a row, by its place from 0.
        source: path or address of the table; files in it are named from its folder.
    """

    table: pa.Table
    problems: Mapping[int, str]
    source: str

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.table.column_names)

    def row(self, place: int) -> dict[str, Any]:
        return self.table.slice(place, 1).to_pylist()[0]

    def column(self, name: str) -> list[Any]:
        return self.table.column(name).to_pylist()

    def with_column(self, name: str, value: str) -> Jobs:
        """The same rows with a cell more that is the same in all."""
        cells = pa.repeat(pa.scalar(value, TEXT), len(self))
        return Jobs(self.table.append_column(name, cells), self.problems, self.source)

    def file(self, cell: str) -> str:
        """Path or address of a file that a cell names."""
        if "://" in cell:
            return cell
        if "://" in self.source:
            return posixpath.join(posixpath.dirname(self.source), cell)
        return str(Path(self.source).parent / Path(cell).expanduser())


def read_jobs(source: str) -> Jobs:
    """The table of a job.

    Raises:
        FarmError: there is none, or it is no table, in a sentence.
    """
    kind = _kind(source)
    try:
        with opened(source, packed=kind != "Parquet") as file:
            if kind == "Parquet":
                jobs = Jobs(parquet.read_table(pa.BufferReader(file.read())), {}, source)
            else:
                lines = io.TextIOWrapper(file, "utf-8-sig", newline="")
                jobs = (_csv if kind == "CSV" else _json_lines)(lines, source)
    except UnicodeDecodeError:
        raise FarmError(
            f"{source} is not written in UTF-8, which tables of text have to be. Save it as UTF-8"
        ) from None
    except (csv.Error, pa.ArrowException) as error:
        raise FarmError(
            f"{source} is no {kind} that can be read ({error}). Write the table again, or give it "
            "the ending of what it is"
        ) from None
    if not len(jobs):
        raise FarmError(f"{source} has no rows, and each row makes a picture. Add some")
    return Jobs(jobs.table.combine_chunks(), jobs.problems, source)


def _kind(source: str) -> str:
    path = PurePosixPath(source)
    ending = path.with_suffix("").suffix if path.suffix.lower() in PACKED else path.suffix
    kind = ENDINGS.get(ending.lower())
    if kind is None:
        raise FarmError(
            f"{source} ends in {ending or 'nothing'!r}, and the ending says what a table is: "
            f"{', '.join(ENDINGS)}, the texts also with {', '.join(PACKED)}. Rename it"
        )
    return kind


@contextmanager
def opened(source: str, *, packed: bool = False) -> Generator[Any]:
    """A file to read, by a local path or an address of any filesystem that Ray reads.

    Args:
        packed: whether to unpack what its ending says is packed.

    Raises:
        FarmError: it cannot be read, in a sentence.
    """
    try:
        if "://" in source:
            files, path = _filesystem(source)
        else:
            files, path = filesystems.LocalFileSystem(), str(Path(source).absolute())
        with files.open_input_stream(path, compression="detect" if packed else None) as file:
            yield file
    except FileNotFoundError:
        raise FarmError(f"{source} does not exist. Check the path") from None
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, UnicodeDecodeError | pa.ArrowException):
            raise  # what is in the file, not the way to it
        raise FarmError(
            f"{source} cannot be read ({error}). Check the path, and that you may read it"
        ) from None


def _filesystem(source: str) -> tuple[Any, str]:
    """As Ray Data finds it: pyarrow's own filesystems, else fsspec's."""
    try:
        return filesystems.FileSystem.from_uri(source)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        import fsspec

        files, path = fsspec.core.url_to_fs(source)
        return filesystems.PyFileSystem(filesystems.FSSpecHandler(files)), path


def _csv(lines: io.TextIOWrapper, source: str) -> Jobs:
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(lines, strict=True)
    header = [name.strip() for name in next(reader, [])]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice or not all(header):
        found = f"has two columns {twice[0]!r}" if twice else "has a column without a name"
        raise FarmError(
            f"{source} {found}, and the first line names each column once. Correct that line"
        )
    rows = _Rows(header)
    for cells in reader:
        if not cells:
            continue  # an empty line
        if len(cells) != len(header):
            rows.problem(
                f"line {reader.line_num} has {len(cells)} cells and the table {len(header)} "
                'columns. Put texts that hold a comma between quotes (")'
            )
        rows.add(dict(zip(header, cells, strict=False)))
    return rows.jobs(source)


def _json_lines(lines: io.TextIOWrapper, source: str) -> Jobs:
    rows = _Rows([])
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            rows.problem(f"line {number} is no JSON ({error}). Write one object on each line")
            cells = {}
        if not isinstance(cells, dict):
            rows.problem(f"line {number} is no JSON object. Write one object on each line")
            cells = {}
        rows.add({str(name): rows.text(name, value) for name, value in cells.items()})
    return rows.jobs(source)


class _Rows:
    """Collects rows in columns of text, some thousands at a time: lists of a million are large."""

    def __init__(self, columns: list[str]) -> None:
        self.columns = dict.fromkeys(columns)
        self.problems: dict[int, str] = {}
        self.chunks: list[pa.Table] = []
        self.open: list[Mapping[str, str | None]] = []

    def problem(self, sentence: str) -> None:
        """What is wrong with the row that is added next."""
        self.problems.setdefault(CHUNK * len(self.chunks) + len(self.open), sentence)

    def text(self, name: str, value: Any) -> str | None:
        """A cell of JSON; numbers keep all their digits."""
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, dict | list):
            self.problem(
                f"{name} is a {'list' if isinstance(value, list) else 'JSON object'}, and a cell "
                "is a text or a number. Give each value a column of its own"
            )
            return None
        return json.dumps(value)

    def add(self, cells: Mapping[str, str | None]) -> None:
        self.columns.update(dict.fromkeys(cells))
        self.open.append(cells)
        if len(self.open) == CHUNK:
            self._close()

    def _close(self) -> None:
        names = [*self.columns]
        found = {name: pa.array([cells.get(name) for cells in self.open], TEXT) for name in names}
        self.chunks.append(pa.table(found))
        self.open = []

    def jobs(self, source: str) -> Jobs:
        if self.open:
            self._close()
        if not self.chunks or not self.columns:
            return Jobs(pa.table({}), {}, source)
        schema = pa.schema([(name, TEXT) for name in self.columns])
        table = pa.concat_tables([schema.empty_table(), *self.chunks], promote_options="default")
        return Jobs(table, self.problems, source)
