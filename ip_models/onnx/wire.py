"""The wire format of protocol buffers: numbered fields, each checked against the bytes there.

Written from the format's description (protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy

from .. import limits
from .source import EMPTY, Window

_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5

Item = int | Window


class Malformed(ValueError):
    """The bytes are not what they should be; the message says what is wrong with them."""


class Fields:
    """The fields of one message, by number, in the order of the file."""

    def __init__(self, data: Window) -> None:
        self._items: dict[int, list[Item]] = {}
        for count, (number, item) in enumerate(_parse(data)):
            if count >= limits.ONNX_FIELDS:
                raise Malformed(f"a message has more than {limits.ONNX_FIELDS} fields")
            self._items.setdefault(number, []).append(item)

    def all(self, number: int) -> list[Item]:
        """Every value of a field: an integer, or the bytes of anything else."""
        return self._items.get(number, [])

    def blobs(self, number: int) -> list[Window]:
        """Every value of a field of bytes."""
        found = self.all(number)
        blobs = [one for one in found if isinstance(one, Window)]
        if len(blobs) != len(found):
            raise Malformed(f"field {number} is a number where bytes are expected")
        return blobs

    def last(self, number: int) -> Window:
        """The value of a field of bytes; empty if it is not there."""
        return (self.blobs(number) or [EMPTY])[-1]

    def integer(self, number: int) -> int:
        """The value of a field of one integer; 0 if it is not there."""
        found = (self.all(number) or [0])[-1]
        if not isinstance(found, int):
            raise Malformed(f"field {number} is no number")
        return found

    def messages(self, number: int) -> list[Fields]:
        """Every value of a field of messages."""
        return [Fields(one) for one in self.blobs(number)]


def _parse(data: Window) -> Iterator[tuple[int, Item]]:
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise Malformed("a field has the number 0")
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == _LENGTH:
            length, position = _varint(data, position)
        elif wire in (_EIGHT, _FOUR):
            length = 8 if wire == _EIGHT else 4
        else:
            raise Malformed(f"a field has the unknown kind {wire}")
        if length > end - position:
            raise Malformed(f"a field of {length} bytes has {end - position} left")
        yield number, data.part(position, length)
        position += length


def _varint(data: Window | bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if position >= len(data):
            raise Malformed("it ends within a number")
        byte = data[position] if isinstance(data, bytes) else data.byte(position)
        position += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & (2**64 - 1), position
    raise Malformed("a number does not end")


def signed(value: int) -> int:
    """An int64 or int32 from the unsigned number that stands for it."""
    return value - 2**64 if value >= 2**63 else value


def integers(items: list[Item]) -> tuple[int, ...]:
    """Numbers of a repeated field, packed or not."""
    found: list[int] = []
    packed = sum(len(item) for item in items if isinstance(item, Window))
    if packed > limits.ONNX_NUMBERS:
        raise Malformed(f"a list of numbers takes {packed} bytes")
    for item in items:
        if isinstance(item, int):
            found.append(item)
            continue
        position, data = 0, item.read()
        while position < len(data):
            value, position = _varint(data, position)
            found.append(value)
    return tuple(found)


def floats(items: list[Item]) -> numpy.ndarray:
    """Single precision numbers of a repeated field, packed or not."""
    blobs = [item for item in items if isinstance(item, Window)]
    if len(blobs) != len(items) or any(len(one) % 4 for one in blobs):
        raise Malformed("floats end within a number")
    return numpy.frombuffer(b"".join(one.read() for one in blobs), "<f4")


def text(data: Window) -> str:
    """A name; what is not UTF-8 keeps its bytes visibly."""
    return _bounded(data, limits.TENSOR_NAME).read().decode("utf-8", "backslashreplace")


def _bounded(data: Window, most: int) -> Window:
    if len(data) > most:
        raise Malformed(f"{len(data)} bytes are where at most {most} are expected")
    return data
