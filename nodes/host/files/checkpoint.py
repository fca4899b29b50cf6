"""Model files, opened for what they are: shapes without data, or tensors without code."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any, cast

import comfy.model_management
import comfy.utils
import safetensors
import torch

from ....ip_models.errors import BrokenFile
from .header import (
    AGAIN,
    ANOTHER,
    UNREADABLE,
    WITHOUT_CODE,
    TensorShape,
    broken,
    header_size,
    holds_safetensors,
    left_out_names,
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


def read_tensors(path: str, keys: Container[str] | None = None) -> Mapping[str, Any]:
    """Tensors of a file, nested as in the file, whatever its name ends with.

    Args:
        keys: whole names of the only ones that are read, for a file of which most is not needed;
            everything where left out.

    Raises:
        BrokenFile: the file is empty, cut, a web page, a Git LFS pointer, no model file, or holds
            anything but tensors.
    """
    if not holds_safetensors(path):
        # Mapped, so that what is not needed is never read; copied, so that no file is held open.
        loaded = _load_torch(path, "cpu", mapped=True)
        _torch_shapes(path, loaded)
        return _copied(loaded, keys)
    shapes = safetensors_shapes(path)
    try:
        tensors = _read_safetensors(path, {key for key in shapes if keys is None or key in keys})
    except (safetensors.SafetensorError, *UNREADABLE) as error:
        raise broken(path, "has a header that does not describe its data") from error
    return tensors


def _read_safetensors(path: str, keys: set[str]) -> dict[str, torch.Tensor]:
    alias = left_out_names(path)
    with safetensors.safe_open(path, framework="pt") as file:
        stored = set(file.keys())
        if not stored <= keys or not path.lower().endswith(_SAFETENSORS_SUFFIXES):
            return {key: file.get_tensor(alias.get(key, key)).clone() for key in keys}
    tensors: dict[str, torch.Tensor] = comfy.utils.load_torch_file(path, safe_load=True)
    return tensors | {key: tensors[alias[key]] for key in keys - stored}


def _copied(tensors: Mapping[str, Any], keys: Container[str] | None, prefix: str = "") -> Any:
    copies: dict[str, Any] = {}
    for key, value in tensors.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            inner = cast("Mapping[str, Any]", value)
            copies[key] = _copied(inner, keys, f"{name}.")
        elif not isinstance(value, torch.Tensor):
            copies[key] = value
        elif keys is None or name in keys:
            copies[key] = value.clone()
    return copies


def read_labelled(path: str, label: str) -> tuple[dict[str, torch.Tensor], str]:
    """All tensors of a small safetensors file and one entry of its metadata.

    Raises:
        BrokenFile: the file is not whole, its header is not small, or it has no such entry.
    """
    with open(path, "rb") as file:
        length = header_size(file.read(8))
    if length > LARGEST_LABELLED:
        raise broken(path, f"is not an embeds file, its header has {length} bytes", ANOTHER)
    safetensors_shapes(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text, keys = (file.metadata() or {}).get(label), list(file.keys())
            if text is None:
                raise broken(path, f"is not an embeds file, {_contents(keys)}", ANOTHER)
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
        raise broken(path, "is a bare pickle, which may hold code", ANOTHER)
    members = _members(path)
    described = [one.file_size for one in members if one.filename.endswith("data.pkl")]
    if max(described, default=0) > _LARGEST_PICKLE:
        raise broken(
            path, f"has a description of {max(described)} bytes, embeds need far less", ANOTHER
        )
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
        raise broken(path, "is a packed archive that torch has not written", ANOTHER)
    return members


def _torch_load(path: str, device: str, mapped: bool = False) -> object:
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=mapped)
    except UNREADABLE as error:
        if "weights_only" in str(error) or isinstance(error, pickle.UnpicklingError):
            what = "holds code or objects other than tensors, or is damaged"
            action = WITHOUT_CODE
        else:
            what, action = "is cut off or damaged", AGAIN
        raise broken(path, what, action) from error


def _load_torch(path: str, device: str, mapped: bool = False) -> Mapping[str, Any]:
    zipped = _zipped(path)
    if zipped:
        _members(path)
    loaded = _torch_load(path, device, mapped and zipped)
    if not isinstance(loaded, Mapping):
        raise broken(path, f"holds a {type(loaded).__name__} instead of named tensors", ANOTHER)
    named = cast("Mapping[str, Any]", loaded)
    inner = named.get("state_dict")
    return cast("Mapping[str, Any]", inner if isinstance(inner, Mapping) else named)


def _holds(value: object) -> bool:
    return isinstance(value, (Mapping, torch.Tensor))


def _torch_shapes(path: str, loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Shapes as nested as the tensors; a pickle may claim far more of both than its file holds."""
    size, left = os.path.getsize(path), iter(range(_MOST_ENTRIES))

    def shapes_of(tensors: Mapping[str, Any]) -> dict[str, Any]:
        shapes: dict[str, Any] = {}
        for key, value in tensors.items():
            if next(left, None) is None:
                raise broken(path, f"holds more than {_MOST_ENTRIES} entries", ANOTHER)
            if isinstance(value, Mapping):
                shapes[str(key)] = shapes_of(cast("Mapping[str, Any]", value))
            elif isinstance(value, list) and any(map(_holds, cast("list[Any]", value))):
                listed = cast("list[Any]", value)
                shapes[str(key)] = shapes_of({str(i): one for i, one in enumerate(listed)})
            elif isinstance(value, torch.Tensor):
                if value.numel() * value.element_size() > size:
                    raise broken(
                        path, f"has a tensor {key} larger than the file ({size} bytes)", ANOTHER
                    )
                shapes[str(key)] = TensorShape(tuple(value.shape), value.dtype)
        return shapes

    try:
        return shapes_of(loaded)
    except RecursionError:
        raise broken(path, "holds a table inside itself", ANOTHER) from None
