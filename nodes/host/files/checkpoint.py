"""Model files, opened for what they are: shapes without data, or tensors without code."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

import comfy.model_management
import comfy.utils
import safetensors
import safetensors.torch
import torch

from ....ip_models.errors import BrokenFile

_SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
_LARGEST_HEADER = 100_000_000
LARGEST_LABELLED = _LARGEST_PICKLE = 2**20  # where a file has a few tensors only
NEEDED = "a whole .safetensors or .bin model file is needed"
AGAIN = "Download it again"
_TORCH_MAGIC = (b"PK\x03\x04", b"\x80")  # zip, and the pickle of torch before 1.6
_UNREADABLE = (
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


class TensorShape(NamedTuple):
    """What a header tells about a tensor."""

    shape: tuple[int, ...]


def identity(path: str) -> tuple[str, int, int]:
    """Changes when a file is replaced; the same for every link to it."""
    stat = os.stat(path)
    return os.path.realpath(path), stat.st_mtime_ns, stat.st_size


def read_shapes(path: str) -> Mapping[str, Any]:
    """Shapes of all tensors of a file, nested as in the file; remembered until the file changes.

    Raises:
        BrokenFile: see `read_tensors`.
    """
    stat = os.stat(path)
    return _read_shapes(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=512)
def _read_shapes(path: str, mtime_ns: int, size: int) -> Mapping[str, Any]:
    if _is_safetensors(path):
        header = _safetensors_header(path)
        return {key: TensorShape(tuple(info["shape"])) for key, info in header.items()}
    loaded = _load_torch(path, "meta")
    try:
        return _only_shapes(loaded)
    except RecursionError:
        raise _broken(path, "holds a table inside itself") from None


def read_tensors(path: str) -> Mapping[str, Any]:
    """Tensors of a file, nested as in the file, whatever its name ends with.

    Raises:
        BrokenFile: the file is empty, cut, a web page, a Git LFS pointer, no model file, or holds
            anything but tensors.
    """
    if not _is_safetensors(path):
        return _load_torch(path, "cpu")
    _safetensors_header(path)
    try:
        if path.lower().endswith(_SAFETENSORS_SUFFIXES):
            return cast("Mapping[str, Any]", comfy.utils.load_torch_file(path, safe_load=True))
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, *_UNREADABLE) as error:
        raise _broken(path, "has a header that does not describe its data") from error


def holds_safetensors(path: str) -> bool:
    """Whether a file is safetensors, else torch's own, by its first bytes.

    Raises:
        BrokenFile: it is neither.
    """
    return _is_safetensors(path)


def read_labelled(path: str, label: str) -> tuple[dict[str, torch.Tensor], str]:
    """All tensors of a small safetensors file and one entry of its metadata.

    Raises:
        BrokenFile: the file is not whole, its header is not small, or it has no such entry.
    """
    with open(path, "rb") as file:
        length = _header_size(file.read(8))
    if length > LARGEST_LABELLED:
        raise _broken(path, f"is not an embeds file, its header has {length} bytes")
    _safetensors_header(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text, keys = (file.metadata() or {}).get(label), list(file.keys())
            if text is None:
                raise _broken(path, f"is not an embeds file, {_contents(keys)}")
            _require_room(path)
            # Copies, for a file that is mapped into memory cannot be replaced on Windows.
            return {key: file.get_tensor(key).clone() for key in keys}, text
    except BrokenFile:
        raise
    except (safetensors.SafetensorError, *_UNREADABLE) as error:
        raise _broken(path, "has a header that does not describe its data") from error


def _require_room(path: str) -> None:
    """Refuse a file that would fill the memory, whose holes take no room on the disk."""
    size = os.path.getsize(path)
    free = int(comfy.model_management.get_free_memory(torch.device("cpu")))
    if size > free / 3:  # it is there twice while it is read, and something has to be left
        needed, there = (f"{count / 2**30:.1f} GB" for count in (3 * size, free))
        raise BrokenFile(
            f"{os.path.basename(path)} needs {needed} of memory to be read",
            f"{there} are free",
            "Choose another file, or close other programs",
        )


def _contents(keys: list[str]) -> str:
    shown = ", ".join(key[:40] for key in keys[:2])
    return f"it holds {len(keys)} tensors such as {shown}" if keys else "it holds no tensors"


def read_list(path: str) -> object:
    """What `torch.save` wrote into a file that holds a list of tensors, or one tensor.

    Raises:
        BrokenFile: the file is not whole, holds code, or unpacks to more than it is.
    """
    if not _zipped(path):
        raise _broken(path, "is a bare pickle, which may hold code")
    members = _members(path)
    described = [one.file_size for one in members if one.filename.endswith("data.pkl")]
    if max(described, default=0) > _LARGEST_PICKLE:
        raise _broken(path, f"has a description of {max(described)} bytes, embeds need far less")
    _require_room(path)
    return _torch_load(path, "cpu")


def _zipped(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def _members(path: str) -> list[zipfile.ZipInfo]:
    """What is in a file of torch's, which stores and does not pack."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _UNREADABLE as error:
        raise _broken(path, "is cut off or damaged") from error
    if sum(member.file_size for member in members) > os.path.getsize(path):
        raise _broken(path, "is a packed archive that torch has not written")
    return members


def _broken(path: str, what: str, action: str = AGAIN) -> BrokenFile:
    name = os.path.basename(path)
    return BrokenFile(f"{name} {what}", NEEDED, action)


def _is_safetensors(path: str) -> bool:
    if os.path.isdir(path):
        raise _broken(path, "is a folder", "Choose the model file inside it")
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(256)
    if not start:
        raise _broken(path, "is empty")
    # Asked first: the header's length may begin with the same byte as a pickle.
    if start[8:9] == b"{" and _header_size(start) <= _LARGEST_HEADER:
        return True
    if start.startswith(_TORCH_MAGIC):
        return False
    text = start.lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        raise _broken(
            path,
            f"is a Git LFS pointer of {size} bytes, not the model",
            "Run `git lfs pull` where it came from, or download the file itself",
        )
    if text.startswith(b"<"):
        raise _broken(
            path,
            f"is a web page of {size} bytes, not a model",
            "Download it again with the download button, not by saving the page",
        )
    if text.startswith((b"{", b"[")):
        raise _broken(path, f"is a JSON text of {size} bytes, not a model")
    raise _broken(path, f"is no model file (it starts with {start[:4]!r})")


def _header_size(start: bytes) -> int:
    return int(struct.unpack("<Q", start[:8])[0])


def _safetensors_header(path: str) -> dict[str, Any]:
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = _header_size(file.read(8))
        raw = file.read(length)
    if len(raw) < length:
        raise _broken(path, f"is cut off: {size} bytes are there, its header alone has {length}")
    try:
        header = cast("dict[str, Any]", json.loads(raw))
        header.pop("__metadata__", None)
        end = max((int(info["data_offsets"][1]) for info in header.values()), default=0)
        shapes_known = all(
            isinstance(size, int) and size >= 0
            for info in header.values()
            for size in info["shape"]
        )
    except _UNREADABLE:
        raise _broken(path, "has a damaged header") from None
    if not shapes_known:
        raise _broken(path, "has a damaged header")
    needed = 8 + length + end
    if size < needed:
        raise _broken(path, f"is cut off: {size} bytes are there, {needed} are needed")
    return header


def _torch_load(path: str, device: str) -> object:
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except _UNREADABLE as error:
        if "weights_only" in str(error) or isinstance(error, pickle.UnpicklingError):
            what = "holds code or objects other than tensors, or is damaged"
        else:
            what = "is cut off or damaged"
        raise _broken(path, what, "Download it again, if possible as .safetensors") from error


def _load_torch(path: str, device: str) -> Mapping[str, Any]:
    if _zipped(path):
        _members(path)
    loaded = _torch_load(path, device)
    if not isinstance(loaded, Mapping):
        raise _broken(path, f"holds a {type(loaded).__name__} instead of named tensors")
    named = cast("Mapping[str, Any]", loaded)
    inner = named.get("state_dict")
    return cast("Mapping[str, Any]", inner if isinstance(inner, Mapping) else named)


def _only_shapes(tensors: Mapping[str, Any]) -> dict[str, Any]:
    shapes: dict[str, Any] = {}
    for key, value in tensors.items():
        if isinstance(value, Mapping):
            shapes[str(key)] = _only_shapes(cast("Mapping[str, Any]", value))
        elif hasattr(value, "shape"):
            shapes[str(key)] = TensorShape(tuple(value.shape))
    return shapes
