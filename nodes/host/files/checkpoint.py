"""Model files, opened for what they are: shapes without data, or tensors without code."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import comfy.model_management
import comfy.utils
import safetensors
import safetensors.torch
import torch

from ....ip_models.errors import BrokenFile
from .header import (
    UNREADABLE,
    TensorShape,
    broken,
    header_size,
    holds_safetensors,
    safetensors_shapes,
)

_SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
_MOST_ENTRIES = 100_000  # a whole SDXL checkpoint has some 3,000
LARGEST_LABELLED = _LARGEST_PICKLE = 2**20  # where a file has a few tensors only


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
    if holds_safetensors(path):
        return safetensors_shapes(path)
    return _torch_shapes(path, _load_torch(path, "meta"))


def read_tensors(path: str) -> Mapping[str, Any]:
    """Tensors of a file, nested as in the file, whatever its name ends with.

    Raises:
        BrokenFile: the file is empty, cut, a web page, a Git LFS pointer, no model file, or holds
            anything but tensors.
    """
    if not holds_safetensors(path):
        loaded = _load_torch(path, "cpu")
        _torch_shapes(path, loaded)
        return loaded
    safetensors_shapes(path)
    try:
        if path.lower().endswith(_SAFETENSORS_SUFFIXES):
            return cast("Mapping[str, Any]", comfy.utils.load_torch_file(path, safe_load=True))
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, *UNREADABLE) as error:
        raise broken(path, "has a header that does not describe its data") from error


def read_labelled(path: str, label: str) -> tuple[dict[str, torch.Tensor], str]:
    """All tensors of a small safetensors file and one entry of its metadata.

    Raises:
        BrokenFile: the file is not whole, its header is not small, or it has no such entry.
    """
    with open(path, "rb") as file:
        length = header_size(file.read(8))
    if length > LARGEST_LABELLED:
        raise broken(path, f"is not an embeds file, its header has {length} bytes")
    safetensors_shapes(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text, keys = (file.metadata() or {}).get(label), list(file.keys())
            if text is None:
                raise broken(path, f"is not an embeds file, {_contents(keys)}")
            _require_room(path)
            # Copies, for a file that is mapped into memory cannot be replaced on Windows.
            return {key: file.get_tensor(key).clone() for key in keys}, text
    except BrokenFile:
        raise
    except (safetensors.SafetensorError, *UNREADABLE) as error:
        raise broken(path, "has a header that does not describe its data") from error


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
        raise broken(path, "is a bare pickle, which may hold code")
    members = _members(path)
    described = [one.file_size for one in members if one.filename.endswith("data.pkl")]
    if max(described, default=0) > _LARGEST_PICKLE:
        raise broken(path, f"has a description of {max(described)} bytes, embeds need far less")
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
    except UNREADABLE as error:
        raise broken(path, "is cut off or damaged") from error
    if sum(member.file_size for member in members) > os.path.getsize(path):
        raise broken(path, "is a packed archive that torch has not written")
    return members


def _torch_load(path: str, device: str) -> object:
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except UNREADABLE as error:
        if "weights_only" in str(error) or isinstance(error, pickle.UnpicklingError):
            what = "holds code or objects other than tensors, or is damaged"
        else:
            what = "is cut off or damaged"
        raise broken(path, what, "Download it again, if possible as .safetensors") from error


def _load_torch(path: str, device: str) -> Mapping[str, Any]:
    if _zipped(path):
        _members(path)
    loaded = _torch_load(path, device)
    if not isinstance(loaded, Mapping):
        raise broken(path, f"holds a {type(loaded).__name__} instead of named tensors")
    named = cast("Mapping[str, Any]", loaded)
    inner = named.get("state_dict")
    return cast("Mapping[str, Any]", inner if isinstance(inner, Mapping) else named)


def _torch_shapes(path: str, loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Shapes as nested as the tensors; a pickle may claim far more of both than its file holds."""
    size, left = os.path.getsize(path), iter(range(_MOST_ENTRIES))

    def shapes_of(tensors: Mapping[str, Any]) -> dict[str, Any]:
        shapes: dict[str, Any] = {}
        for key, value in tensors.items():
            if next(left, None) is None:
                raise broken(path, f"holds more than {_MOST_ENTRIES} entries")
            if isinstance(value, Mapping):
                shapes[str(key)] = shapes_of(cast("Mapping[str, Any]", value))
            elif isinstance(value, torch.Tensor):
                if value.numel() * value.element_size() > size:
                    raise broken(path, f"has a tensor {key} larger than the file ({size} bytes)")
                shapes[str(key)] = TensorShape(tuple(value.shape), value.dtype)
        return shapes

    try:
        return shapes_of(loaded)
    except RecursionError:
        raise broken(path, "holds a table inside itself") from None
