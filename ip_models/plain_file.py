"""Regular files, opened without waiting and read by plain reads."""

from __future__ import annotations

import os
import stat

_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Irregular(ValueError):
    """A folder, a pipe or a device."""


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """A descriptor, which the caller closes, and what is known of the file.

    Raises:
        OSError: it is not there, or may not be read.
        Irregular: it is no file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Irregular(path)
    handle = os.open(path, os.O_RDONLY | _NO_WAITING)
    try:
        known = os.fstat(handle)
        if not stat.S_ISREG(known.st_mode):  # something else by now
            raise Irregular(path)
    except BaseException:
        os.close(handle)
        raise
    return handle, known


def read_at(handle: int, begin: int, length: int) -> bytes:
    """The bytes there, fewer where the file ends before.

    Raises:
        OSError: the disk does not give them.
    """
    os.lseek(handle, begin, os.SEEK_SET)
    parts: list[bytes] = []
    while length > 0 and (part := os.read(handle, length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
