"""Files of models, opened once: regular ones only, by plain reads, and noticed when written to."""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import comfy.model_management
import torch

from ....ip_models import limits
from ....ip_models.errors import BrokenFile, MissingModel
from ....ip_models.plain_file import Irregular, open_regular, read_at

NEEDED = "a whole .safetensors or .bin model file is needed"
AGAIN = "Download it again"
_Stat = tuple[int, int, int, int]


def broken(path: str, what: str, action: str = AGAIN) -> BrokenFile:
    """The refusal of a model file, named as artists see it."""
    return BrokenFile(f"{os.path.basename(path)} {what}", NEEDED, action)


def unreadable(path: str, error: OSError) -> BrokenFile | MissingModel:
    """The refusal of a file that the disk does not give."""
    if isinstance(error, FileNotFoundError):
        return MissingModel(
            f"{os.path.basename(path)} is not there any more",
            NEEDED,
            "Put it back, or press R and choose another file",
        )
    what = f"cannot be read ({error.strerror or type(error).__name__})"
    return broken(path, what, "Check the file and its permissions")


def identity(path: str) -> tuple[str, int, int]:
    """Changes when a file is replaced; the same for every link to it.

    Raises:
        BrokenFile, MissingModel: it may not be read, or is not there.
    """
    try:
        known = os.stat(path)
        return os.path.realpath(path), known.st_mtime_ns, known.st_size
    except OSError as error:
        raise unreadable(path, error) from error


class ModelFile(NamedTuple):
    """A file that is open.

    Nothing of it is mapped into memory: a map of a file that somebody cuts meanwhile ends the
    process, and one that is held keeps it from being replaced on Windows.

    Attributes:
        size: in bytes.
    """

    path: str
    size: int
    handle: int
    before: _Stat

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there, fewer at the end of the file.

        Raises:
            BrokenFile: the disk does not give them.
        """
        try:
            return read_at(self.handle, offset, max(0, min(length, self.size - offset)))
        except OSError as error:
            raise unreadable(self.path, error) from error

    def fill(self, offset: int, tensor: torch.Tensor) -> None:
        """Read into a tensor whose rows follow each other.

        Raises:
            BrokenFile: the file ends before, or the disk does not give them.
        """
        try:
            os.lseek(self.handle, offset, os.SEEK_SET)
            with open(self.handle, "rb", buffering=0, closefd=False) as file:
                if tensor.numel() and not _filled(file, tensor):
                    raise broken(self.path, "is cut off or damaged")
        except OSError as error:
            raise unreadable(self.path, error) from error

    def require_room(self, needed: int) -> None:
        """Refuse a file that would fill the memory, whose holes take no room on the disk.

        Raises:
            BrokenFile: so much is not free.
        """
        free = int(comfy.model_management.get_free_memory(torch.device("cpu")))
        if needed > free:
            wanted, there = (f"{count / 2**30:.1f} GB" for count in (needed, free))
            raise BrokenFile(
                f"{os.path.basename(self.path)} needs {wanted} of memory to be read",
                f"{there} are free",
                "Choose another file, or close other programs",
            )

    def unchanged(self) -> bool:
        """Whether nobody has written to it or put another in its place."""
        try:
            now, held = os.stat(self.path), os.fstat(self.handle)
        except OSError:
            return False
        return _of(held) == self.before == _of(now)


def _filled(file: io.FileIO, tensor: torch.Tensor) -> bool:
    """Whether there were bytes for all of it."""
    left = tensor.flatten().view(torch.uint8).numpy().data
    while left and (count := file.readinto(left)):
        left = left[count:]
    return not left


def _of(known: os.stat_result) -> _Stat:
    return known.st_dev, known.st_ino, known.st_mtime_ns, known.st_size


class Stream(io.RawIOBase):
    """A model file as Python's own readers want it; nothing is read that is larger than a table."""

    def __init__(self, file: ModelFile) -> None:
        super().__init__()
        self._file, self._at = file, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        if start + offset < 0:
            raise ValueError("before the beginning of the file")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._file.size - self._at)
        size = left if size is None or size < 0 else min(size, left)
        if size > limits.ARCHIVE_BYTES:
            raise ValueError(f"{size} bytes at once")
        data = self._file.read(self._at, size)
        self._at += len(data)
        return data


@contextmanager
def opened(path: str) -> Generator[ModelFile]:
    """A model file to read from.

    Raises:
        BrokenFile: it may not be read, is a folder, a pipe or a device, or it was written to while
            it was open.
        MissingModel: it is not there.
    """
    with _handle(path) as (handle, known):
        file = ModelFile(path, known.st_size, handle, _of(known))
        try:
            yield file
        except BrokenFile as error:
            if file.unchanged():
                raise
            raise _written_to(path) from error
        if not file.unchanged():
            raise _written_to(path)


@contextmanager
def _handle(path: str) -> Generator[tuple[int, os.stat_result]]:
    """A regular file that is open, and what is known of it."""
    handle = None
    try:
        handle, known = open_regular(path)
        yield handle, known
    except Irregular as error:
        raise _irregular(path) from error
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        if handle is not None:
            with suppress(OSError):  # all that is wanted of it has been read
                os.close(handle)


def _irregular(path: str) -> BrokenFile:
    if os.path.isdir(path):
        return broken(path, "is a folder", "Choose the model file inside it")
    return broken(path, "is a pipe or a device and no file", "Put the file itself there")


def _written_to(path: str) -> BrokenFile:
    return broken(
        path,
        "was written to while it was read",
        "Wait until it is copied or downloaded, and queue the prompt again",
    )
