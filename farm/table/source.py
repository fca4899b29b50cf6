"""Files, by a local path or an address of any filesystem that Ray reads."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as filesystems

from ..work import FarmError

PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}  # as pyarrow calls them
BLOCK = 1 << 20
GOOGLE = ("gs://", "gcs://")
PATIENCE = "retry_limit_seconds"  # of Google's filesystem, which else tries for many minutes


def opened(source: str, packing: str | None = None) -> io.BufferedReader:
    """A file to read.

    Args:
        packing: what it is to be unpacked from on the way, of the values of `PACKED`.

    Raises:
        FarmError: it cannot be read, in a sentence; while it is read, too.
    """
    return io.BufferedReader(_Stream(source, packing), BLOCK)


class _Stream(io.RawIOBase):
    """What pyarrow reads; its errors are sentences."""

    def __init__(self, source: str, packing: str | None) -> None:
        self._source = source
        with _told(source):
            self._file = _open(source, packing)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with _told(self._source):
            return self._file.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextmanager
def _told(source: str) -> Generator[None]:
    try:
        yield
    except FileNotFoundError:
        if source.startswith("http"):  # of which fsspec says the same when nobody answers
            raise FarmError(
                f"{source} is not there, or its server does not answer. Check the address"
            ) from None
        raise FarmError(f"{source} does not exist. Check the path") from None
    except Exception as error:  # filesystems of fsspec raise what they like
        found = str(error).split("\n")[0].rstrip(".") or type(error).__name__
        raise FarmError(
            f"{source} cannot be read ({found}). Check the path, and that you may read it"
        ) from error


def _open(source: str, packing: str | None) -> Any:
    if "://" in source:
        files, path = _filesystem(source)
    else:
        files, path = filesystems.LocalFileSystem(), str(Path(source).absolute())
    return files.open_input_stream(path, compression=packing)


def _filesystem(source: str) -> tuple[Any, str]:
    """As Ray Data finds it: pyarrow's own filesystems, else fsspec's."""
    if source.startswith(GOOGLE) and PATIENCE not in source:
        source += f"{'&' if '?' in source else '?'}{PATIENCE}=20"
    try:
        return filesystems.FileSystem.from_uri(source)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        import fsspec

        files, path = fsspec.core.url_to_fs(source)
        return filesystems.PyFileSystem(filesystems.FSSpecHandler(files)), path
