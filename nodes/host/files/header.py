"""Headers of model files: which container it is, and what a safetensors header says of its data."""

from __future__ import annotations

import json
import math
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from operator import index
from typing import Any, NamedTuple, cast

import torch

from ....ip_models.errors import BrokenFile

NEEDED = "a whole .safetensors or .bin model file is needed"
AGAIN = "Download it again"
ANOTHER = "Choose a file that holds tensors and nothing else"
WITHOUT_CODE = "Get it as .safetensors, or save its tensors alone"
_LARGEST_HEADER = 100_000_000
_TORCH_MAGIC = (b"PK\x03\x04", b"\x80")  # zip, and the pickle of torch before 1.6
UNREADABLE = (
    pickle.PickleError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)  # RuntimeError includes RecursionError


# What safetensors calls the types that weights of models have.
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


class TensorShape(NamedTuple):
    """What a header tells about a tensor; of other types than floating point only the name."""

    shape: tuple[int, ...]
    dtype: torch.dtype | str


class Entry(NamedTuple):
    """A tensor and where its bytes are, counted from the end of the header."""

    tensor: TensorShape
    begin: int
    end: int

    @property
    def fits(self) -> bool:
        """Whether it has as many bytes as its shape and type need, if that can be known."""
        if isinstance(self.tensor.dtype, str):
            return True
        needed = math.prod(self.tensor.shape) * self.tensor.dtype.itemsize
        return self.end - self.begin == needed


def broken(path: str, what: str, action: str = AGAIN) -> BrokenFile:
    """The refusal of a model file, named as artists see it."""
    return BrokenFile(f"{os.path.basename(path)} {what}", NEEDED, action)


def holds_safetensors(path: str) -> bool:
    """Whether a file is safetensors, else torch's own, by its first bytes.

    Raises:
        BrokenFile: it is neither.
    """
    if os.path.isdir(path):
        raise broken(path, "is a folder", "Choose the model file inside it")
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(256)
    if not start:
        raise broken(path, "is empty")
    # Asked first: the header's length may begin with the same byte as a pickle.
    if start[8:9] == b"{" and header_size(start) <= _LARGEST_HEADER:
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
    return int(struct.unpack("<Q", start[:8])[0])


def safetensors_shapes(path: str) -> dict[str, TensorShape]:
    """The tensors of a header alone, see `safetensors_entries`.

    Raises:
        BrokenFile: the header is cut or damaged, or the data are not as it says.
    """
    # What shares its data with another tensor is one of them, under two names.
    return {key: entry.tensor for key, entry in safetensors_entries(path)[0].items()}


def safetensors_entries(path: str) -> tuple[dict[str, Entry], int]:
    """The tensors of a header that describes its file exactly, as safetensors itself wants it.

    What shares its data with another tensor is left out of a file; where the header says with
    which, it is there under its own name too.

    Returns:
        The tensors by name, and where in the file the header ends.

    Raises:
        BrokenFile: the header is cut or damaged, or the data are not as it says.
    """
    size = os.path.getsize(path)
    header, length = _header(path)
    alias = _left_out(header)
    header.pop("__metadata__", None)
    try:
        entries = {key: _entry(info) for key, info in header.items()}
    except UNREADABLE:
        raise broken(path, "has a damaged header") from None
    spans = sorted((entry.begin, entry.end) for entry in entries.values())
    needed = 8 + length + max((end for _, end in spans), default=0)
    if size < needed:
        raise broken(path, f"is cut off: {size} bytes are there, {needed} are needed")
    # Each tensor begins where another ends, the first after the header, and the last ends the file.
    begins, ends = [*(begin for begin, _ in spans), size - 8 - length], [end for _, end in spans]
    if begins != [0, *ends] or not all(entry.fits for entry in entries.values()):
        raise broken(path, "has a header that does not describe its data")
    return entries | {key: entries[kept] for key, kept in alias.items()}, 8 + length


def left_out_names(path: str) -> dict[str, str]:
    """Name of each tensor that was left out, and the one it shares its data with.

    Raises:
        BrokenFile: the header is cut or damaged.
    """
    return _left_out(_header(path)[0])


def _left_out(header: Mapping[str, Any]) -> dict[str, str]:
    """As `save_model` of safetensors notes it in the metadata."""
    notes = header.get("__metadata__")
    if not isinstance(notes, dict):
        return {}
    named = cast("dict[str, object]", notes)
    tensors = header.keys() - {"__metadata__"}
    return {
        key: kept
        for key, kept in named.items()
        if isinstance(kept, str) and kept in tensors and key not in header
    }


def _header(path: str) -> tuple[dict[str, Any], int]:
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = header_size(file.read(8))
        raw = file.read(length)
    if len(raw) < length:
        raise broken(path, f"is cut off: {size} bytes are there, its header alone has {length}")
    try:
        header = json.loads(raw)
    except UNREADABLE:
        raise broken(path, "has a damaged header") from None
    if not isinstance(header, dict):
        raise broken(path, "has a damaged header")
    return cast("dict[str, Any]", header), length


def _entry(info: dict[str, Any]) -> Entry:
    begin, end = map(index, info["data_offsets"])
    dtype = str(info["dtype"])
    return Entry(
        TensorShape(tuple(map(index, info["shape"])), _TYPES.get(dtype, dtype)), begin, end
    )
