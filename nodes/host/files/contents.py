"""What a model file holds, whatever its container: tables of tensors that stay where they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from ....ip_models import limits
from . import torch_file
from .header import Entry, SafetensorsFile, holds_safetensors, read_safetensors
from .opened import ModelFile, broken, identity, opened
from .pickled import Place
from .stored import StoredFile, StoredTensor
from .torch_file import ANOTHER

_TWICE = "holds a table inside itself, or one table twice"
_UNFINISHED = object()


def described(file: ModelFile, most: int = limits.ARCHIVE_BYTES) -> tuple[Any, Mapping[str, str]]:
    """What is in a file, without the values of tensors.

    Args:
        most: bytes of the description in a file of torch's that are read.

    Returns:
        Tables as nested as in it with a `StoredTensor` for each tensor, and plain values. And the
        metadata of a safetensors file.

    Raises:
        BrokenFile: it is no model file, is damaged, or holds anything else.
    """
    stored = StoredFile(file.path, identity(file.path))
    if holds_safetensors(file):
        held = read_safetensors(file)
        return _of_safetensors(held, stored), held.notes
    return _Tree(torch_file.read(file, most), stored).content(), {}


def tables(file: ModelFile) -> dict[str, Any]:
    """What is in a file of named tensors, or of a table `state_dict` with them.

    Lists that hold tensors are tables by number.

    Raises:
        BrokenFile: see `described`; or it claims more tensors, names or values than it can hold.
    """
    content = described(file)[0]
    if not isinstance(content, dict):
        kind = "Tensor" if isinstance(content, StoredTensor) else type(content).__name__
        raise broken(file.path, f"holds a {kind} instead of named tensors", ANOTHER)
    named = cast("dict[str, Any]", content)
    inner = named.get("state_dict")
    return _Check(file).table(cast("dict[str, Any]", inner) if isinstance(inner, dict) else named)


def leaves(held: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value that is no table, by its whole name."""
    for key, value in held.items():
        if isinstance(value, Mapping):
            yield from leaves(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def stored_tensors(path: str) -> Mapping[str, Any] | None:
    """The tensors of floating point numbers of a file, nested as in it.

    Returns:
        None where the rows of one do not follow each other, so that they cannot be read apart.

    Raises:
        BrokenFile: see `tables`.
    """
    with opened(path) as file:
        held = tables(file)
    return _weights(held)


def _weights(held: Mapping[str, Any]) -> dict[str, Any] | None:
    made: dict[str, Any] = {}
    for key, value in held.items():
        if isinstance(value, dict):
            inner = _weights(cast("dict[str, Any]", value))
            if inner is None:
                return None
            made[key] = inner
        elif isinstance(value, StoredTensor) and value.is_weight:
            if value.steps:
                return None
            made[key] = value
    return made


def _of_safetensors(held: SafetensorsFile, file: StoredFile) -> dict[str, StoredTensor]:
    def stored(entry: Entry) -> StoredTensor:
        return StoredTensor(entry.shape, entry.dtype, file, held.begin + entry.begin)

    own = {key: stored(entry) for key, entry in held.entries.items()}
    # What shares its data with another tensor is one of them, under two names.
    return own | {key: own[kept] for key, kept in held.left_out.items()}


class _Tree:
    """The content of a file of torch's with each tensor as one that is stored."""

    def __init__(self, held: torch_file.TorchFile, file: StoredFile) -> None:
        self._held, self._file = held, file
        self._made: dict[int, Any] = {}

    def content(self) -> Any:
        """As nested as it was, tables that are there twice too."""
        return self._of(self._held.content, 0)

    def _of(self, value: Any, depth: int) -> Any:
        if isinstance(value, Place):
            return self._stored(value)
        if not isinstance(value, dict | list | tuple) or depth > limits.DEPTH:
            return value
        if self._made.get(id(value)) is _UNFINISHED:
            raise broken(self._file.path, _TWICE, ANOTHER)
        if id(value) not in self._made:
            self._made[id(value)] = _UNFINISHED
            if isinstance(value, dict):
                table = cast("dict[Any, Any]", value)
                made: Any = {str(key): self._of(one, depth + 1) for key, one in table.items()}
            else:
                made = [self._of(one, depth + 1) for one in cast("list[Any]", value)]
            self._made[id(value)] = made
        return self._made[id(value)]

    def _stored(self, place: Place) -> StoredTensor:
        begin = self._held.begins[place.storage.key] + place.first * place.dtype.itemsize
        lengths = [math.prod(place.shape[i + 1 :]) for i in range(len(place.shape))]
        plain = all(
            size == 1 or step == length
            for size, step, length in zip(place.shape, place.steps, lengths, strict=True)
        )
        steps = () if plain or 0 in place.shape else place.steps
        return StoredTensor(place.shape, place.dtype, self._file, begin, steps)


class _Check:
    """Bounds of what one file may claim."""

    def __init__(self, file: ModelFile) -> None:
        self._path, self._size = file.path, file.size
        self._seen: dict[int, object] = {}
        self._lists: dict[int, bool] = {}
        self._tensors = self._bytes = 0

    def table(self, table: dict[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
        """The table, if everything in it is within bounds; lists with tensors become tables."""
        self._require_new(table, depth)
        made: dict[str, Any] = {}
        for key, value in table.items():
            name = f"{prefix}{key}"
            self._require_short(name)
            if isinstance(value, list) and self._holds_tensors(cast("list[Any]", value)):
                self._require_new(value, depth)
                value = {str(i): one for i, one in enumerate(cast("list[Any]", value))}
            if isinstance(value, dict):
                made[key] = self.table(cast("dict[str, Any]", value), f"{name}.", depth + 1)
                continue
            if isinstance(value, StoredTensor):
                self._add(name, value)
            made[key] = value
        return made

    def _holds_tensors(self, listed: list[Any]) -> bool:
        """Looked at once, however many names one list has."""
        if id(listed) not in self._lists:
            self._lists[id(listed)] = any(map(_holds, listed))
        return self._lists[id(listed)]

    def _require_new(self, table: object, depth: int) -> None:
        if id(table) in self._seen or depth > limits.DEPTH:
            raise broken(self._path, _TWICE, ANOTHER)
        self._seen[id(table)] = table  # kept, so that no other gets its number

    def _add(self, name: str, tensor: StoredTensor) -> None:
        self._tensors += 1
        if self._tensors > limits.TENSORS:
            raise broken(self._path, f"holds more than {limits.TENSORS} tensors", ANOTHER)
        if tensor.nbytes > self._size:
            found = f"has a tensor {name[:120]} larger than the file ({self._size} bytes)"
            raise broken(self._path, found, ANOTHER)
        self._bytes += tensor.nbytes
        if self._bytes > limits.SHARED * self._size:
            found = f"has tensors that together are larger than the file ({self._size} bytes)"
            raise broken(self._path, found, ANOTHER)

    def _require_short(self, name: str) -> None:
        if len(name) > limits.TENSOR_NAME:
            raise broken(self._path, f"has a name of {len(name)} letters, {name[:60]}", ANOTHER)


def _holds(value: object) -> bool:
    return isinstance(value, dict | StoredTensor)
