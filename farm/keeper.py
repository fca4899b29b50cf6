"""What a job has made so far, in a folder: whole pictures, a line of record each, embeds, a table.

One process writes here. A picture is whole before its record is begun, and a record that a crash
cut short is dropped at the next start, so whatever has a record can be trusted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as parquet

from .jobs import Jobs
from .work import FarmError, Made

PICTURES, EMBEDS = "pictures", "embeds"
RECORDS, TABLE, LOCK = "rows.jsonl", "results.parquet", "lock"
OWN = pa.schema(
    [
        ("row", pa.int64()),
        ("file", pa.list_(pa.string())),
        ("seconds", pa.float64()),
        ("worker", pa.string()),
        ("message", pa.string()),
        ("problem", pa.string()),
        ("key", pa.string()),
    ]
)
TABLE_ROWS = 20_000  # are in memory at once while the table is written


@dataclass
class Counts:
    """What happened in one run, in rows where nothing else is said."""

    made: int = 0
    found: int = 0  # their pictures were there before
    failed: int = 0
    encoded: int = 0  # references
    replaced: int = 0  # workers
    stopped: bool = False

    @property
    def ended(self) -> int:
        return self.made + self.found + self.failed


class Keeper:
    """The folder of a job; what is asked by key is answered by what lies there.

    Args:
        folder: is made where it is missing.

    Raises:
        FarmError: the folder cannot be written, or another job writes there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with writing(folder):
            for part in (folder, folder / PICTURES, folder / EMBEDS):
                part.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=part):
                    pass  # a folder that is there need not let us write
            self._lock = (folder / LOCK).open("ab")
            _take(self._lock, folder)
            self._records = (folder / RECORDS).open("a+b")
        # A million records are too much to hold: only where each lies in the file.
        self._places: dict[bytes, int] = {}
        self._failed: set[bytes] = set()
        self._read()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a record that a full disk did not take
            self._records.close()
        self._lock.close()

    def _read(self) -> None:
        for place, record in whole_lines(self._records):
            with contextlib.suppress(ValueError, KeyError, TypeError):  # no record of ours
                self._note(record, place)

    def _note(self, record: Mapping[str, Any], place: int) -> None:
        key = bytes.fromhex(record["key"])
        self._places[key] = place
        (self._failed.add if record["message"] else self._failed.discard)(key)

    def has(self, key: str) -> bool:
        """Whether the pictures of a row are there: made, not failed, and not deleted since."""
        name = bytes.fromhex(key)
        if name not in self._places or name in self._failed:
            return False
        return all(self._is_whole(file) for file in self.record(key)["files"])

    def failed(self, key: str) -> bool:
        return bytes.fromhex(key) in self._failed

    def record(self, key: str) -> dict[str, Any]:
        """What became of a row that `has` a record; empty where it has none."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return {}
        self._records.seek(place)
        return json.loads(self._records.readline())

    def _is_whole(self, file: Mapping[str, Any]) -> bool:
        try:
            return (self.folder / file["name"]).stat().st_size == file["size"]
        except OSError:
            return False

    def keep(self, key: str, made: Made) -> None:
        """Write the pictures of a row, then that they are there.

        Raises:
            FarmError: the folder cannot be written any more.
        """
        with writing(self.folder):
            self._keep(key, made)

    def _keep(self, key: str, made: Made) -> None:
        files = [
            self._picture(f"{key}{f'-{number}' if number else ''}{ending}", content)
            for number, (ending, content) in enumerate(made.pictures)
        ]
        record = {
            **{"key": key, "files": files, "seconds": round(made.seconds, 3)},
            **{"worker": made.worker, "problem": made.problem, "message": made.message},
        }
        place = self._records.seek(0, os.SEEK_END)
        self._records.write(json.dumps(record).encode() + b"\n")
        self._records.flush()
        self._note(record, place)

    def _picture(self, name: str, content: bytes) -> dict[str, Any]:
        # A folder of a million files is slow to look through in most programs.
        folder = self.folder / PICTURES / name[:2]
        folder.mkdir(exist_ok=True)
        write_whole(folder / name, content)
        return {"name": f"{PICTURES}/{name[:2]}/{name}", "size": len(content)}

    def keep_log(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.log"
        with writing(self.folder):
            path.write_text(text, "utf-8")
        return path

    def write_table(
        self, jobs: Jobs, keys: Sequence[str | None], problems: Mapping[int, Made]
    ) -> Path:
        """The result table: a line for each row of the job, with its own columns.

        Args:
            keys: of the rows, by their place; None for those that no key was found for.
            problems: of rows that never came to be made, by place.

        Raises:
            FarmError: the folder cannot be written any more.
        """
        with writing(self.folder):
            return self._write_table(jobs, keys, problems)

    def _write_table(
        self, jobs: Jobs, keys: Sequence[str | None], problems: Mapping[int, Made]
    ) -> Path:
        names = own_names(jobs.columns)
        own = jobs.table.rename_columns(names)
        path = self.folder / TABLE
        partial = path.with_name(f".{path.name}.part")
        with parquet.ParquetWriter(partial, pa.schema([*OWN, *own.schema])) as writer:
            for start in range(0, len(jobs), TABLE_ROWS):
                stop = min(start + TABLE_ROWS, len(jobs))
                lines = [self._line(place, keys[place], problems) for place in range(start, stop)]
                made = pa.Table.from_pylist(lines, OWN)
                for name in names:
                    made = made.append_column(name, own[name].slice(start, stop - start))
                writer.write_table(made)
        partial.replace(path)
        return path

    def _line(self, place: int, key: str | None, problems: Mapping[int, Made]) -> dict[str, Any]:
        record = self.record(key) if key else {}
        if place in problems:
            unmade = problems[place]
            record |= {"problem": unmade.problem, "message": unmade.message}
        return {
            "row": place + 1,
            "file": [file["name"] for file in record.get("files", ())],
            "seconds": record.get("seconds"),
            "worker": record.get("worker", ""),
            "message": record.get("message", ""),
            "problem": record.get("problem", ""),
            "key": key or "",
        }


def own_names(columns: Sequence[str]) -> list[str]:
    """Names of a job's columns in its result table, where some are taken."""
    taken = {*OWN.names, *columns}
    names: list[str] = []
    for column in columns:
        name = column
        while name in OWN.names or (name != column and name in taken):
            name = f"job.{name}"
        taken.add(name)
        names.append(name)
    return names


def whole_lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """Each line of JSON with its place; a last one that a crash cut short is dropped."""
    file.seek(0)
    end = 0
    for line in file:
        if not line.endswith(b"\n"):
            break
        with contextlib.suppress(ValueError):
            yield end, json.loads(line)
        end += len(line)
    file.truncate(end)


def write_whole(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one, never a part."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content)
    partial.replace(path)


@contextlib.contextmanager
def writing(folder: Path) -> Generator[None]:
    """What a disk refuses, as a sentence.

    Args:
        folder: of the results.

    Raises:
        FarmError: a file was not written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FarmError(
                f"the disk of {folder} is full, and the rows need more room. Make some and start "
                "again: the job goes on from here"
            ) from None
        raise FarmError(
            f"{error.filename or folder} cannot be written ({error.strerror}), and the results go "
            "there. Mend that and start again, or give --out another folder"
        ) from None


def _take(lock: IO[bytes], folder: Path) -> None:
    """Make the folder ours for as long as this process lives, however it ends."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise FarmError(
            f"another job is writing into {folder}, and a folder takes one at a time. Wait for its "
            "end, or give --out another folder"
        ) from None
