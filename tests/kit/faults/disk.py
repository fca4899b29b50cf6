"""Every operation on files below a folder, whoever asks for it in Python."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit.faults.trips import Trip, replaced

# Each asks the disk for something, and is given the path or the handle first.
_OF_PATHS = ("stat", "lstat", "open", "mkdir", "scandir", "listdir", "readlink", "unlink", "remove")
_OF_TWO = ("link", "replace", "rename")
_OF_HANDLES = ("fstat", "read", "lseek", "fsync", "close")
_WRITING = ("write", "fsync", "mkdir", "link", "replace", "rename", "open for writing")


def trouble(name: str) -> BaseException:
    """What an old disk, or a full one, answers."""
    code = errno.ENOSPC if name.split(":")[0] in _WRITING else errno.EIO
    return OSError(code, os.strerror(code))


def below(root: Path) -> Callable[[Trip], Any]:
    """Counts the operations on files below a folder."""

    @contextmanager
    def watched(trip: Trip) -> Generator[None]:
        disk = _Disk(os.path.realpath(root), trip)
        with replaced(disk.places()):
            yield

    return watched


class _Disk:
    def __init__(self, root: str, trip: Callable[[str], None]) -> None:
        self.root, self.trip = root, trip
        self.handles: dict[int, str] = {}
        self._open: Any = builtins.open

    def places(self) -> list[tuple[Any, str, Any]]:
        """What stands where, for `replaced`."""
        made: list[tuple[Any, str, Any]] = []
        for name in (*_OF_PATHS, *_OF_TWO):
            made.append((os, name, self._of_path(name, getattr(os, name))))
        for name in _OF_HANDLES:
            made.append((os, name, self._of_handle(name, getattr(os, name))))
        return [*made, (os, "access", self._access(os.access))] + [
            (module, "open", self.open) for module in (builtins, io)
        ]

    def inside(self, path: Any) -> str:
        """What a path or a handle is called below the folder, "" for all others."""
        if isinstance(path, int):
            return self.handles.get(path, "")
        try:
            name = os.path.abspath(os.fsdecode(path))
        except TypeError:
            return ""
        return name[len(self.root) :] or "." if name.startswith(self.root) else ""

    def _of_path(self, name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *args: Any, **options: Any) -> Any:
            where = self.inside(path)
            if where:
                self.trip(f"{name}:{where}")
            made = own(path, *args, **options)
            if where and name == "open":
                self.handles[made] = where
            return made

        return call

    def _of_handle(self, name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(handle: int, *args: Any) -> Any:
            where = self.handles.get(handle, "")
            if name == "close":  # a handle is gone also where the disk complains
                own(handle, *args)
                self.handles.pop(handle, None)
            if where:
                self.trip(f"{name}:{where}")
            return None if name == "close" else own(handle, *args)

        return call

    def _access(self, own: Callable[..., bool]) -> Callable[..., bool]:
        def call(path: Any, *args: Any, **options: Any) -> bool:
            where = self.inside(path)
            try:
                if where:
                    self.trip(f"access:{where}")
            except OSError:
                return False
            return own(path, *args, **options)

        return call

    def open(self, file: Any, mode: str = "r", buffering: int = -1, *args: Any, **more: Any) -> Any:
        """As the built-in one, over a file whose operations are counted."""
        where = self.inside(file)
        if not where:
            return self._open(file, mode, buffering, *args, **more)
        plain = "".join(letter for letter in mode if letter not in "bt")
        writes = any(letter in plain for letter in "wxa+")
        if not isinstance(file, int):
            self.trip(f"open{' for writing' if writes else ''}:{where}")
        raw = _Raw(file, plain, more.pop("closefd", True), (self, where))
        if buffering == 0:
            return raw
        buffered = io.BufferedWriter(raw) if writes else io.BufferedReader(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *args, **more)


class _Raw(io.FileIO):
    """A file whose operations are counted."""

    def __init__(self, file: Any, mode: str, closefd: bool, place: tuple[_Disk, str]) -> None:
        self._disk, self._where = place
        super().__init__(file, mode, closefd)
        if closefd:
            self._disk.handles[self.fileno()] = self._where

    def _trip(self, name: str) -> None:
        self._disk.trip(f"{name}:{self._where}")

    def read(self, size: int | None = -1, /) -> Any:
        self._trip("read")
        return super().read(-1 if size is None else size)

    def readall(self) -> Any:
        self._trip("read")
        return super().readall()

    def readinto(self, buffer: Any, /) -> Any:
        self._trip("read")
        return super().readinto(buffer)

    def write(self, data: Any, /) -> Any:
        self._trip("write")
        return super().write(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._trip("seek")
        return super().seek(offset, whence)

    def close(self) -> None:
        if self.closed or not self.closefd:
            super().close()
            return
        self._disk.handles.pop(self.fileno(), None)
        super().close()
        self._trip("close")
