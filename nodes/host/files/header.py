"""Headers of model files: which container it is, and what a safetensors header says of its data."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from operator import index
from typing import Any, NamedTuple, cast

import torch

from ....ip_models import json_text, limits
from .opened import ModelFile, broken
from .torch_file import DAMAGED

_LARGEST_NAMED = 100_000_000  # a header that safetensors itself would read
_MOST_VALUES, _LONGEST_TYPE = 2**48, 40
_TORCH_MAGIC = (b"PK\x03\x04", b"\x80")  # zip, and the pickle of torch before 1.6

# What safetensors calls the types that torch has.
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "C64": torch.complex64,
}


class Entry(NamedTuple):
    """A tensor and where its bytes are, counted from the end of the header.

    Attributes:
        dtype: a name where torch has no such type.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype | str
    begin: int
    end: int

    @property
    def fits(self) -> bool:
        """Whether it has as many bytes as its shape and type need, if that can be known."""
        if len(self.shape) > limits.RANK or not all(0 <= n <= _MOST_VALUES for n in self.shape):
            return False
        if isinstance(self.dtype, str):
            return True
        return self.end - self.begin == math.prod(self.shape) * self.dtype.itemsize


def holds_safetensors(file: ModelFile) -> bool:
    """Whether a file is safetensors, else torch's own, by its first bytes.

    Raises:
        BrokenFile: it is neither.
    """
    path, size, start = file.path, file.size, file.read(0, 256)
    if not start:
        raise broken(path, "is empty")
    # Asked first: the header's length may begin with the same byte as a pickle.
    if start[8:9] == b"{" and header_size(start) <= _LARGEST_NAMED:
        return True
    if start.startswith(_TORCH_MAGIC):
        return False
    text = start.lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        raise broken(
            path,
            f"is a Git LFS pointer of {size} bytes, not the model",
            "Run `git lfs pull` where it came from, or download the file itself",
        )
    if text.startswith(b"<"):
        raise broken(
            path,
            f"is a web page of {size} bytes, not a model",
            "Download it again with the download button, not by saving the page",
        )
    if text.startswith((b"{", b"[")):
        raise broken(path, f"is a JSON text of {size} bytes, not a model", "Choose the model")
    raise broken(path, f"is no model file (it starts with {start[:4]!r})", "Choose a model file")


def header_size(start: bytes) -> int:
    """How long the header of a safetensors file says it is."""
    return int(struct.unpack("<Q", start[:8].ljust(8, b"\0"))[0])


class SafetensorsFile(NamedTuple):
    """What a header says.

    Attributes:
        entries: by name.
        left_out: name of each tensor that was left out, and the one it shares its data with, as
            `save_model` of safetensors notes it in the metadata.
        notes: the metadata.
        begin: where in the file the header ends and the data begin.
    """

    entries: Mapping[str, Entry]
    left_out: Mapping[str, str]
    notes: Mapping[str, str]
    begin: int


def read_safetensors(file: ModelFile) -> SafetensorsFile:
    """The header, if it describes its file exactly, as safetensors itself wants it.

    Raises:
        BrokenFile: the header is cut or damaged, or the data are not as it says.
    """
    path, size = file.path, file.size
    header, begin = _header(file)
    notes: Any = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(one, str) for one in notes.values()):
        raise broken(path, "has a header that does not describe its data")
    if len(header) > limits.TENSORS:
        raise broken(path, f"has a header of {len(header)} tensors", "Choose a model file")
    try:
        entries = {key: _entry(info) for key, info in header.items()}
    except DAMAGED:
        raise broken(path, "has a damaged header") from None
    spans = sorted((entry.begin, entry.end) for entry in entries.values())
    needed = begin + max((end for _, end in spans), default=0)
    if size < needed:
        raise broken(path, f"is cut off: {size} bytes are there, {needed} are needed")
    # Each tensor begins where another ends, the first after the header, and the last ends the file.
    begins, ends = [*(first for first, _ in spans), size - begin], [end for _, end in spans]
    if begins != [0, *ends] or not all(entry.fits for entry in entries.values()):
        raise broken(path, "has a header that does not describe its data")
    named = cast("dict[str, str]", notes)
    left_out = {key: kept for key, kept in named.items() if kept in entries and key not in entries}
    return SafetensorsFile(entries, left_out, named, begin)


def _header(file: ModelFile) -> tuple[dict[str, Any], int]:
    length = header_size(file.read(0, 8))
    if 8 + length > file.size:
        said = f"is cut off: {file.size} bytes are there, its header alone has {length}"
        raise broken(file.path, said)
    if length > limits.HEADER_BYTES:
        raise broken(file.path, f"has a header of {length} bytes", "Choose a model file")
    text = file.read(8, length)
    try:
        header = json_text.read(text.decode("utf-8"))
    except DAMAGED:
        raise broken(file.path, "has a damaged header") from None
    if not isinstance(header, dict):
        raise broken(file.path, "has a damaged header")
    return cast("dict[str, Any]", header), 8 + length


def _entry(info: dict[str, Any]) -> Entry:
    begin, end = map(index, info["data_offsets"])
    dtype = str(info["dtype"])[:_LONGEST_TYPE]
    shape = tuple(map(index, info["shape"]))
    return Entry(shape, _TYPES.get(dtype, dtype), begin, end)
