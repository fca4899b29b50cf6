"""Names and shapes of the tensors of a GGUF file, as quantised base models are often kept."""

from __future__ import annotations

import os
import struct
from typing import Any

import torch

from ....ip_models import limits
from ..files.checkpoint import TensorShape
from ..files.opened import Stream, opened

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# By the number of their type; a string and a list come with their length.
_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _LIST = 8, 9


def gguf_shapes(path: str) -> dict[str, TensorShape]:
    """Shapes as they are once the weights are unpacked; empty for any other or damaged file."""
    try:
        with opened(path) as file:
            return _read(Stream(file), file.size)
    except (struct.error, ValueError, KeyError):
        return {}


def _read(file: Stream, size: int) -> dict[str, TensorShape]:
    if file.read(4) != _MAGIC or _number(file, "<I") not in _VERSIONS:
        return {}
    tensors, notes = _count(file), _count(file)
    for _ in range(notes):
        _text(file)
        _skip(file, _number(file, "<I"), size)
    return dict(_tensor(file) for _ in range(tensors))


def _tensor(file: Stream) -> tuple[str, TensorShape]:
    name = _text(file).decode()
    if len(name) > limits.TENSOR_NAME:
        raise ValueError(len(name))
    dimensions = _number(file, "<I")
    if dimensions > limits.RANK:
        raise ValueError(dimensions)
    shape = [_number(file, "<Q") for _ in range(dimensions)]
    file.read(4 + 8)  # how it is packed, and where
    return name, TensorShape(tuple(reversed(shape)), torch.float16)


def _skip(file: Stream, kind: int, size: int) -> None:
    if kind == _STRING:
        _text(file)
    elif kind == _LIST:
        inner, count = _number(file, "<I"), _number(file, "<Q")
        if count > size or (inner == _STRING and count > limits.GGUF_TEXTS):
            raise ValueError(count)
        if inner != _STRING:
            file.seek(_BYTES[inner] * count, os.SEEK_CUR)
            return
        for _ in range(count):
            _text(file)
    else:
        file.seek(_BYTES[kind], os.SEEK_CUR)


def _count(file: Stream) -> int:
    count = _number(file, "<Q")
    if count > limits.TENSORS:
        raise ValueError(count)
    return count


def _text(file: Stream) -> bytes:
    length = _number(file, "<Q")
    if length > limits.ARCHIVE_BYTES:
        raise ValueError(length)
    return file.read(length)


def _number(file: Stream, form: str) -> Any:
    if file.tell() > limits.ARCHIVE_BYTES:
        raise ValueError(file.tell())
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]
