"""Model files, opened for what they are: shapes without data, or tensors without code."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

import comfy.utils
import safetensors
import safetensors.torch
import torch

from ...ip_models.errors import BrokenFile

_SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
_LARGEST_HEADER = 100_000_000
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
    struct.error,
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


def _broken(path: str, what: str, action: str = "Download it again") -> BrokenFile:
    name = os.path.basename(path)
    return BrokenFile(f"{name} {what}", "a whole .safetensors or .bin model file is needed", action)


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


def _load_torch(path: str, device: str) -> Mapping[str, Any]:
    try:
        loaded = torch.load(path, map_location=device, weights_only=True)
    except _UNREADABLE as error:
        if "weights_only" in str(error) or isinstance(error, pickle.UnpicklingError):
            what = "holds code or objects other than tensors, or is damaged"
        else:
            what = "is cut off or damaged"
        raise _broken(path, what, "Download it again, if possible as .safetensors") from error
    if not isinstance(loaded, Mapping):
        raise _broken(path, f"holds a {type(loaded).__name__} instead of named tensors")
    inner = loaded.get("state_dict")
    return cast("Mapping[str, Any]", inner if isinstance(inner, Mapping) else loaded)


def _only_shapes(tensors: Mapping[str, Any]) -> dict[str, Any]:
    shapes: dict[str, Any] = {}
    for key, value in tensors.items():
        if isinstance(value, Mapping):
            shapes[str(key)] = _only_shapes(cast("Mapping[str, Any]", value))
        elif hasattr(value, "shape"):
            shapes[str(key)] = TensorShape(tuple(value.shape))
    return shapes
