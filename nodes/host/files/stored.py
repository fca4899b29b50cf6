"""Tensors that stay in their file: where each one is, and rows of it when they are needed.

A file is opened for each read and closed again, so that nothing holds it, and it is read and not
mapped, so that it can be replaced while it is in use. That is noticed before anything is computed.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ....ip_models.errors import BrokenFile
from .checkpoint import identity
from .header import UNREADABLE, broken, holds_safetensors, safetensors_entries

_LOCAL_HEADER = 30  # bytes of a zip member's own header, before its name
# What `torch.save` calls the types that weights of models have.
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
}


class StoredFile(NamedTuple):
    """A file as it was when its tensors were found.

    Attributes:
        identity: as `checkpoint.identity` has it.
    """

    path: str
    identity: tuple[str, int, int]

    def require_same(self) -> None:
        """Refuse a file that was replaced or written to, for its tensors are elsewhere now.

        Raises:
            BrokenFile: it was, or it is gone.
        """
        try:
            same = identity(self.path) == self.identity
        except OSError:
            same = False
        if not same:
            raise replaced(self.path, "its weights are read from it while they are needed")


class StoredTensor(NamedTuple):
    """A tensor in a file.

    Attributes:
        offset: of its first byte in the file, where row follows row.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    file: StoredFile
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return math.prod(self.shape) * self.dtype.itemsize

    def rows(self, first: int, last: int) -> Tensor:
        """A copy of the rows from `first` to before `last`.

        Raises:
            BrokenFile: the file is not what it was.
        """
        read = torch.empty((last - first, *self.shape[1:]), dtype=self.dtype)
        self.file.require_same()
        with open(self.file.path, "rb", buffering=0) as file:
            file.seek(self.offset + first * self.nbytes // self.shape[0])
            _fill(file, read, self.file.path)
        self.file.require_same()
        return read


def _fill(file: io.FileIO, tensor: Tensor, path: str) -> None:
    left = tensor.flatten().view(torch.uint8).numpy().data
    while left:
        count = file.readinto(left)
        if not count:
            raise broken(path, "is cut off or damaged")
        left = left[count:]


def replaced(path: str, why: str) -> BrokenFile:
    """The refusal of a file that is needed again and is another one by now."""
    return BrokenFile(
        f"{os.path.basename(path)} is not the file that was loaded any more",
        why,
        "Queue the prompt again",
    )


def stored_tensors(path: str) -> Mapping[str, Any] | None:
    """The tensors of floating point numbers of a file, nested as in it.

    Returns:
        None where a file of torch's is of a kind whose tensors cannot be found without reading
        all of it: older than torch 1.6, or with something unusual in it.

    Raises:
        BrokenFile: it is no model file, or its header is not of its data.
    """
    file = StoredFile(path, identity(path))
    if not holds_safetensors(path):
        try:
            return _of_torch(file)
        except UNREADABLE:
            return None
    entries, start = safetensors_entries(path)
    return {
        key: StoredTensor(entry.tensor.shape, entry.tensor.dtype, file, start + entry.begin)
        for key, entry in entries.items()
        if isinstance(entry.tensor.dtype, torch.dtype)
    }


def _of_torch(file: StoredFile) -> dict[str, Any]:
    """Of a zip file that stores its members as they are: a pickle, and the data of each storage."""
    with zipfile.ZipFile(file.path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        pickled = next((name for name in members if name.endswith("data.pkl")), "")
        folder = pickled.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in members and archive.read(order) != b"little":
            raise pickle.UnpicklingError("written on a machine of the other byte order")
        loaded: dict[str, Any] = _Unpickler(io.BytesIO(archive.read(pickled))).load()
    inner = loaded.get("state_dict")

    def found(place: _Place) -> StoredTensor:
        member = members[f"{folder}data/{place.storage.key}"]
        begin = place.first * place.storage.dtype.itemsize
        tensor = StoredTensor(place.shape, place.storage.dtype, file, begin)
        plain = member.compress_type == zipfile.ZIP_STORED and place.contiguous
        if not plain or begin + tensor.nbytes > member.file_size:
            raise pickle.UnpicklingError(f"{member.filename} is not as a plain tensor's")
        return tensor._replace(offset=begin + _data_begin(file.path, member))

    return _each(inner if isinstance(inner, dict) else loaded, found)


def _data_begin(path: str, member: zipfile.ZipInfo) -> int:
    """Where the data of a member begin: after a header of its own with a name and padding."""
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        lengths = struct.unpack("<HH", file.read(_LOCAL_HEADER)[-4:])
    return member.header_offset + _LOCAL_HEADER + sum(lengths)


def _each(tensors: dict[str, Any], found: Callable[[_Place], StoredTensor]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in tensors.items():
        if isinstance(value, dict):
            made[key] = _each(cast("dict[str, Any]", value), found)
        elif isinstance(value, _Place) and isinstance(value.storage.dtype, torch.dtype):
            made[key] = found(value)
    return made


class _Storage(NamedTuple):
    """Data of one or more tensors; the type is None where it is not one of weights."""

    dtype: Any
    key: str


class _Place(NamedTuple):
    """A tensor as the pickle has it: numbers of a storage, by steps in each dimension."""

    storage: _Storage
    first: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def contiguous(self) -> bool:
        """Whether row follows row."""
        lengths = [math.prod(self.shape[i + 1 :]) for i in range(len(self.shape))]
        return lengths == list(self.steps)


def _rebuilt(storage: _Storage, first: int, shape: Any, steps: Any, *_: object) -> _Place:
    return _Place(storage, first, tuple(shape), tuple(steps))


def _parameter(place: _Place, *_: object) -> _Place:
    return place


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}


class _Unpickler(pickle.Unpickler):
    """Reads where tensors are; whatever is called besides is refused, so that no code runs."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the functions above, or the type of a storage."""
        if module == "torch" and name.endswith("Storage"):
            return _STORAGES.get(name)
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"{module}.{name} is not known")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, which is a member of the archive."""
        _, dtype, key, *_ = pid
        return _Storage(dtype, str(key))
