"""Damage to any file: bytes that are others, missing, too many, or from somewhere else."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

from . import hostile

Damage = Callable[[bytes, Random], bytes]
_STARTS = (
    *(b"<!DOCTYPE html><html>", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04"),
    *(b"\x80\x02", b"{", b"[", b"GGUF", b"\x89HDF", b"\x08\x07", b"\xef\xbb\xbf"),
)
_HEAD = 400  # where most of what a reader decides by is


def flipped(data: bytes, random: Random) -> bytes:
    """Some bits are others."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8)) if data else 0):
        made[_place(data, random)] ^= 1 << random.randrange(8)
    return bytes(made)


def cut(data: bytes, random: Random) -> bytes:
    """The end is missing."""
    return data[: _place(data, random)]


def without(data: bytes, random: Random) -> bytes:
    """A piece is missing."""
    place = _place(data, random)
    return data[:place] + data[place + random.choice((1, 2, 8, 64, 4096)) :]


def twice(data: bytes, random: Random) -> bytes:
    """A piece is there again and again."""
    place = _place(data, random)
    piece = data[place : place + random.choice((1, 4, 16, 300))]
    return data[:place] + piece * random.choice((2, 3, 100, 1000)) + data[place:]


def numbered(data: bytes, random: Random) -> bytes:
    """A number somewhere is another."""
    form = random.choice(("<H", "<I", "<Q", ">I", "<Q"))
    size = struct.calcsize(form)
    packed = struct.pack(form, hostile.number(random) % 2 ** (8 * size))
    place = random.choice((0, 4, 8, _place(data, random)))
    return data[:place] + packed + data[place + size :]


def longer(data: bytes, random: Random) -> bytes:
    """Something follows."""
    return data + random.choice((b"\0", b"\0" * 5000, data[:200_000], b"PK\x05\x06" + b"\0" * 18))


def begun(data: bytes, random: Random) -> bytes:
    """It begins as another kind of file does."""
    start = random.choice(_STARTS)
    return start + data[random.choice((0, len(start))) :]


def filled(data: bytes, random: Random) -> bytes:
    """A piece is one byte again and again."""
    place, size = _place(data, random), random.choice((4, 64, 1000))
    filling = random.choice((b"\0", b"\xff", b"A", b"(", b"["))
    return data[:place] + filling * size + data[place + size :]


def exchanged(data: bytes, random: Random) -> bytes:
    """Its halves have changed places."""
    place = _place(data, random)
    return data[place:] + data[:place]


def empty(_data: bytes, _random: Random) -> bytes:
    """Nothing is left."""
    return b""


def _place(data: bytes, random: Random) -> int:
    most = max(1, len(data))
    return random.randrange(random.choice((most, min(_HEAD, most), min(4 * _HEAD, most))))


DAMAGES: tuple[Damage, ...] = (
    *(flipped, flipped, cut, without, twice, numbered, numbered, longer, begun, filled),
    *(exchanged, empty),
)
