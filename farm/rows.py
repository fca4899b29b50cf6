"""Rows before they are made: which comes next, its graph, its files, and the key that names it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .jobs import Jobs
from .table.source import opened
from .work import Cut, FarmError, Filled, Filler, digest, graph_key, named

# Contents that are handed out again and again; with the rows sorted by reference few are needed.
SHELF_FILES = 256
LARGEST_FILE = 1 << 28


@dataclass(frozen=True)
class Plan:
    """A row that is ready to be made once what it needs is encoded.

    Args:
        place: of the row in its table, from 0.
        key: digest of the graph. Names in it hold the digests of their files' contents, so equal
            keys are equal pictures.
    """

    place: int
    key: str
    filled: Filled

    @property
    def cuts(self) -> tuple[Cut, ...]:
        return self.filled.cuts


class Shelf:
    """Contents by name, of which the last used stay at hand.

    Args:
        put: what to hand out for a content, as a reference into Ray's object store.
    """

    def __init__(self, put: Callable[[bytes], Any]) -> None:
        self._put = put
        self._held: OrderedDict[str, Any] = OrderedDict()

    def get(self, name: str, read: Callable[[], bytes]) -> Any:
        if name not in self._held:
            self._held[name] = self._put(read())
            if len(self._held) > SHELF_FILES:
                self._held.popitem(last=False)
        self._held.move_to_end(name)
        return self._held[name]


class Files:
    """The pictures that cells name, read once and named by their contents.

    Args:
        put: as for `Shelf`.
    """

    def __init__(self, put: Callable[[bytes], Any]) -> None:
        self._shelf = Shelf(put)
        self._names: dict[str, str] = {}
        self._paths: dict[str, str] = {}

    def name(self, path: str) -> str:
        """The name by content of a file.

        Raises:
            FarmError: it cannot be read.
        """
        if path not in self._names:
            content = _read(path)
            name = f"farm-{digest(content)}"  # without an ending: what is equal is one
            self._names[path] = name
            self._paths[name] = path
            self._shelf.get(name, lambda: content)
        return self._names[path]

    def get(self, name: str) -> Any:
        """What `put` made of the content of that name.

        Raises:
            FarmError: the file changed since it got that name.
        """
        return self._shelf.get(name, lambda: self._again(name))

    def told(self, sentence: str, names: Iterable[str]) -> str:
        """A sentence of a worker, which knows files by these names only, for the user."""
        for name in names:
            sentence = sentence.replace(name, self._paths[name])
        return sentence

    def _again(self, name: str) -> bytes:
        path = self._paths[name]
        content = _read(path)
        if digest(content) not in name:
            raise FarmError(
                f"{path} changed while the job ran, and its pictures are named by what is in it. "
                "Start the job again when the file is as it should be",
                "farm.File",
            )
        return content


@named("farm.Reference")
def _read(path: str) -> bytes:
    if "://" not in path and Path(path).exists() and not Path(path).is_file():
        raise FarmError(f"{path} is no file, and a picture is needed. Check the path")
    with opened(path) as file:
        content = bytes(file.read(LARGEST_FILE + 1))
    if len(content) > LARGEST_FILE:
        raise FarmError(
            f"{path} has more than {LARGEST_FILE >> 20} MB, which is more than a picture. "
            "Check the path"
        )
    return content


class Planner:
    """Makes plans of rows, one at a time: nothing is read before its row's turn."""

    def __init__(self, jobs: Jobs, filler: Filler, files: Files) -> None:
        self.jobs, self.filler, self.files = jobs, filler, files
        self._file_columns = [name for name in jobs.columns if name in filler.files]

    def plan(self, place: int) -> Plan:
        """A row's plan.

        Raises:
            FarmError: the row or a file of it does not fit.
        """
        row = self.jobs.row(place)
        cells = {name: row[name] for name in self._file_columns}
        paths = {name: str(cell).strip() for name, cell in cells.items() if cell is not None}
        names = {
            name: self.files.name(self.jobs.file(path)) for name, path in paths.items() if path
        }
        filled = self.filler.fill(row, names)
        return Plan(place, graph_key(filled.graph), filled)

    def groups(self) -> Iterable[Hashable]:
        """What rows have in common that are best made one after the other, row by row."""
        columns = [self.jobs.column(name) for name in self._file_columns]
        return zip(*columns, strict=True) if columns else [()] * len(self.jobs)


class Line:
    """The rows in the order in which workers get them.

    A worker stays with the rows of one reference; who has none left begins another, and helps with
    somebody else's only when each is begun.
    """

    def __init__(self, groups: Iterable[Hashable]) -> None:
        self._groups: dict[Hashable, deque[int]] = {}
        for place, group in enumerate(groups):
            self._groups.setdefault(group, deque()).append(place)
        self._fresh = deque(self._groups)
        self._own: dict[Hashable, Hashable] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    def take(self, worker: Hashable) -> int | None:
        """The place of the next row for a worker; None where none is left."""
        group = self._own.get(worker)
        if group not in self._groups:
            while self._fresh and self._fresh[0] not in self._groups:
                self._fresh.popleft()
            group = self._fresh.popleft() if self._fresh else next(iter(self._groups), None)
            if group is None:
                return None
            self._own[worker] = group
        rows = self._groups[group]
        place = rows.popleft()
        if not rows:
            del self._groups[group]
        return place
