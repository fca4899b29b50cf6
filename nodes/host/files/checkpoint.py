"""Model files, opened for what they are: shapes without data, or tensors without code."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Container, Mapping
from itertools import islice
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ....ip_models import limits
from .contents import described, leaves, tables
from .header import header_size, holds_safetensors
from .opened import ModelFile, broken, identity, opened, unreadable
from .stored import StoredTensor, require_finite
from .torch_file import ANOTHER

__all__ = ["identity", "read_labelled", "read_list", "read_shapes", "read_tensors"]


class TensorShape(NamedTuple):
    """What a header tells about a tensor; of a type that torch does not have only its name."""

    shape: tuple[int, ...]
    dtype: torch.dtype | str


class _Known(NamedTuple):
    """What is remembered of a file: its time and size when it was read, and what was in it."""

    state: tuple[int, int]
    shapes: Mapping[str, Any]
    tensors: int


_NOTHING = _Known((0, 0), {}, 0)
_LOOKED_AFTER = 4  # files, each time another one is remembered


class _Remembered:
    """Shapes of the files that were looked at last and are there, as many as there is room for."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, _Known] = OrderedDict()
        self._lock, self._count = threading.Lock(), 0

    def get(self, path: str) -> Mapping[str, Any]:
        """The shapes of a file, read again where it is another now."""
        try:
            found = os.stat(path)
        except OSError as error:
            raise unreadable(path, error) from error
        state = (found.st_mtime_ns, found.st_size)
        with self._lock:
            known = self._files.get(path)
            if known and known.state == state:
                self._files.move_to_end(path)
                return known.shapes
        with opened(path) as file:
            shapes = _shapes(tables(file))
        with self._lock:
            self._put(path, _Known(state, shapes, 1 + sum(1 for _ in leaves(shapes))))
        return shapes

    def _put(self, path: str, known: _Known) -> None:
        """Remember a file in the place of what was there, and forget what has gone.

        What has gone is asked for no more, so that it is soon among the ones looked at longest ago.
        """
        oldest = list(islice(self._files, _LOOKED_AFTER))
        for gone in {path, *(each for each in oldest if not os.path.exists(each))}:
            self._count -= self._files.pop(gone, _NOTHING).tensors
        self._files[path] = known
        self._count += known.tensors
        while self._count > limits.CACHED_TENSORS and len(self._files) > 1:
            self._count -= self._files.popitem(last=False)[1].tensors


_remembered = _Remembered()


def read_shapes(path: str) -> Mapping[str, Any]:
    """Shapes of all tensors of a file, nested as in the file; remembered until the file changes.

    Raises:
        BrokenFile: see `read_tensors`.
    """
    return _remembered.get(path)


def _shapes(held: Mapping[str, Any]) -> dict[str, Any]:
    shapes: dict[str, Any] = {}
    for key, value in held.items():
        if isinstance(value, dict):
            shapes[key] = _shapes(cast("dict[str, Any]", value))
        elif isinstance(value, StoredTensor):
            shapes[key] = TensorShape(value.shape, value.dtype)
    return shapes


def read_tensors(path: str, keys: Container[str] | None = None) -> Mapping[str, Any]:
    """Tensors of a file, nested as in the file, whatever its name ends with.

    Args:
        keys: whole names of the only ones that are read, for a file of which most is not needed;
            everything where left out.

    Raises:
        BrokenFile: the file is empty, cut, a web page, a Git LFS pointer, no model file, holds
            anything but tensors, or weights that are not finite, or is written to meanwhile.
    """
    with opened(path) as file:
        return _Reading(file, keys).of(tables(file))


class _Reading:
    """Reads tensors of one file; a tensor that is there under two names is read once."""

    def __init__(self, file: ModelFile, keys: Container[str] | None) -> None:
        self._file, self._keys = file, keys
        self._read: dict[StoredTensor, Tensor] = {}

    def of(self, held: Mapping[str, Any]) -> dict[str, Any]:
        wanted = {
            value
            for name, value in leaves(held)
            if isinstance(value, StoredTensor) and self._wants(name)
        }
        self._file.require_room(sum(tensor.nbytes for tensor in wanted))
        return self._table(held, "")

    def _wants(self, name: str) -> bool:
        return self._keys is None or name in self._keys

    def _table(self, held: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in held.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict):
                made[key] = self._table(cast("dict[str, Any]", value), f"{name}.")
            elif not isinstance(value, StoredTensor):
                made[key] = value
            elif self._wants(name):
                made[key] = self._tensor(name, value)
        return made

    def _tensor(self, name: str, stored: StoredTensor) -> Tensor:
        if stored not in self._read:
            self._read[stored] = stored.read(self._file).contiguous()
            require_finite(self._file.path, name, self._read[stored])
        return self._read[stored]


def read_labelled(path: str, label: str) -> tuple[dict[str, Tensor], str]:
    """All tensors of a small safetensors file and one entry of its metadata.

    Raises:
        BrokenFile: the file is not whole, its header is not small, or it has no such entry.
    """
    with opened(path) as file:
        length = header_size(file.read(0, 8))
        if length > limits.EMBEDS_HEADER_BYTES and holds_safetensors(file):
            found = f"is not an embeds file, its header has {length} bytes"
            raise broken(path, found, ANOTHER)
        held, notes = described(file)
        text = notes.get(label)
        if text is None:
            raise broken(path, f"is not an embeds file, {_contents(list(held))}", ANOTHER)
        named = cast("dict[str, StoredTensor]", held)
        _require_room_twice(file)
        return {key: tensor.read(file) for key, tensor in named.items()}, text


def _require_room_twice(file: ModelFile) -> None:
    """Embeds are there twice while they are read, and something has to be left."""
    file.require_room(3 * file.size)


def _contents(keys: list[str]) -> str:
    shown = ", ".join(key[:40] for key in keys[:2])
    return f"it holds {len(keys)} tensors such as {shown}" if keys else "it holds no tensors"


def read_list(path: str) -> object:
    """What `torch.save` wrote into a file that holds a list of tensors, or one tensor.

    Raises:
        BrokenFile: the file is not whole, holds code, or unpacks to more than it is.
    """
    with opened(path) as file:
        if file.read(0, 2) != b"PK":
            raise broken(path, "is a bare pickle, which may hold code", ANOTHER)
        content: Any = described(file, limits.EMBEDS_HEADER_BYTES)[0]
        _require_room_twice(file)
        listed = cast("list[Any]", content) if isinstance(content, list) else [content]
        spans = (one.span for one in listed if isinstance(one, StoredTensor))
        if sum(spans) > limits.SHARED * file.size:
            found = f"has tensors that together are larger than the file ({file.size} bytes)"
            raise broken(path, found, ANOTHER)
        read = [one.read(file) if isinstance(one, StoredTensor) else one for one in listed]
        return read if isinstance(content, list) else read[0]
