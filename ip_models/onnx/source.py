"""The bytes of a file, read where they are needed: by plain reads, of a regular file only."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from ..plain_file import Irregular, open_regular, read_at

_BLOCK = 2**18


class Unfit(ValueError):
    """What was to be read is no file, or another one by now; the message says which."""


class Blocks:
    """An open file, of which the block that was read last is kept."""

    def __init__(self, handle: int, size: int) -> None:
        self.size = size
        self._handle, self._begin, self._block = handle, 0, b""

    def byte(self, at: int) -> int:
        """One byte of the file."""
        place = at - self._begin
        if not 0 <= place < len(self._block):
            self._begin, self._block, place = at, self.read(at, _BLOCK), 0
        return self._block[place]

    def read(self, begin: int, length: int) -> bytes:
        """Bytes of the file.

        Raises:
            Unfit: the file ends before.
        """
        length = min(length, self.size - begin)
        if length <= 0:
            return b""
        data = read_at(self._handle, begin, length)
        if len(data) < length:
            raise Unfit("it was cut while it was read")
        return data


class Window:
    """A part of a file, as a memoryview is one of bytes."""

    def __init__(self, blocks: Blocks, begin: int, length: int) -> None:
        self._blocks, self._begin, self._length = blocks, begin, length

    def __len__(self) -> int:
        return self._length

    def byte(self, at: int) -> int:
        """One byte of the part."""
        return self._blocks.byte(self._begin + at)

    def part(self, begin: int, length: int) -> Window:
        """A part of the part."""
        return Window(self._blocks, self._begin + begin, length)

    def read(self) -> bytes:
        """All of it."""
        return self._blocks.read(self._begin, self._length)


EMPTY = Window(Blocks(-1, 0), 0, 0)


@contextmanager
def opened(path: str) -> Generator[Window]:
    """All bytes of a file.

    Raises:
        OSError: it is not there, or may not be read.
        Unfit: it is no regular file, or it was written to while it was open.
    """
    try:
        handle, before = open_regular(path)
    except Irregular as error:
        raise Unfit("it is a folder, a pipe or a device and no file") from error
    try:
        yield Window(Blocks(handle, before.st_size), 0, before.st_size)
        after = os.fstat(handle)
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise Unfit("it was written to while it was read")
    finally:
        os.close(handle)
