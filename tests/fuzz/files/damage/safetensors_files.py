"""Hostile safetensors: headers that say something else, and data that are not numbers."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from . import hostile

Header = dict[str, Any]
_TYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F4", "I64", "U16", "BOOL", "C64", "X")
_NOT_NUMBERS = (b"\x00\x7e", b"\x00\x7c", b"\x00\xfc")  # in half precision


def damaged(data: bytes, random: Random) -> bytes:
    """The file with another header.

    Raises:
        ValueError: it has none.
    """
    size = struct.unpack("<Q", data[:8])[0] if len(data) > 8 else 0
    if not 0 < size < len(data):
        raise ValueError("no safetensors")
    header: Header = json.loads(data[8 : 8 + size])
    way = random.choice(_WAYS)
    made, tensors = way(header, data[8 + size :], random)
    return _packed(made, tensors, random)


def _packed(header: Header | bytes, tensors: bytes, random: Random) -> bytes:
    text = header if isinstance(header, bytes) else hostile.dumped(header)
    text += b" " * random.choice((0, 0, 0, 0, 1, 7, 3_000_000))
    return struct.pack("<Q", len(text)) + text + tensors


def _key(header: Header, random: Random) -> str:
    keys = [key for key in header if key != "__metadata__"]
    return random.choice(keys or ["weight"])


def _entry(header: Header, random: Random) -> Header:
    return header.setdefault(_key(header, random), {})


Made = tuple[Header | bytes, bytes]


def _anything(header: Header, data: bytes, random: Random) -> Made:
    return hostile.changed(header, random), data


def _dropped(header: Header, data: bytes, random: Random) -> Made:
    """A tensor is missing and nobody would see it by the bytes."""
    key = _key(header, random)
    gone = header.pop(key, {}).get("data_offsets", [0, 0])
    size = gone[1] - gone[0]
    for name, one in header.items():
        if name != "__metadata__" and one["data_offsets"][0] >= gone[1]:
            one["data_offsets"] = [place - size for place in one["data_offsets"]]
    return header, data[: gone[0]] + data[gone[1] :]


def _renamed(header: Header, data: bytes, random: Random) -> Made:
    key = _key(header, random)
    parts = key.split(".")
    parts[random.randrange(len(parts))] = hostile.text(random)
    header[random.choice((".".join(parts), hostile.text(random)))] = header.pop(key, {})
    return header, data


def _renumbered(header: Header, data: bytes, random: Random) -> Made:
    """The number of a layer is another."""
    new = str(random.choice((0, 2, 7, 99, "01", "-1", 10**6, "1" * 4000, "٣", "1_0")))
    old = str(random.choice((1, 3, 5)))
    return {key.replace(f".{old}.", f".{new}.", 1): one for key, one in header.items()}, data


def _shaped(header: Header, data: bytes, random: Random) -> Made:
    entry = _entry(header, random)
    shape = list(entry.get("shape", [1]))
    shapes = ([], shape[::-1], [*shape, 1], [1, *shape], [0], [-1, -1], [2**31, 2**31, 0])
    shapes += ([hostile.number(random), 1], [1] * 60, [1.0], ["1"], [True], None, [shape])
    entry["shape"] = random.choice(shapes)
    return header, data


def _typed(header: Header, data: bytes, random: Random) -> Made:
    for one in [_entry(header, random)] if random.random() < 0.7 else header.values():
        one["dtype"] = random.choice((*_TYPES, "X" * 10_000))
    return header, data


def _placed(header: Header, data: bytes, random: Random) -> Made:
    entry = _entry(header, random)
    begin, end = entry.get("data_offsets", [0, 0])
    places = ([end, begin], [begin, end + 2], [0, end - begin], [begin - 2, end - 2], [-2, 0])
    places += ([begin, hostile.number(random)], [begin], [], None, [begin, end, end])
    entry["data_offsets"] = random.choice(places)
    return header, data


def _shared(header: Header, data: bytes, random: Random) -> Made:
    """One tensor under thousands of names."""
    key = _key(header, random)
    count = random.choice((1, 30, 3000, 60_000))
    return header | dict.fromkeys((f"{key}.{n}" for n in range(count)), header.get(key)), data


def _many(header: Header, data: bytes, random: Random) -> Made:
    """Thousands of tensors without a value."""
    none = {"dtype": "F16", "shape": [0], "data_offsets": [len(data)] * 2}
    name = random.choice(("x", "ip_adapter.1", "image_proj.layers", "a." * 200))
    return header | {f"{name}.{n}": none for n in range(random.choice((3, 500, 40_000)))}, data


def _noted(header: Header, data: bytes, random: Random) -> Made:
    notes = random.choice(({"format": "pt"}, {"a": "b" * 10**6}, {key: key for key in header}))
    keys = list(header)
    left_out = {random.choice(keys) + ".x": random.choice(keys), "a": "a", "image_proj": keys[0]}
    header["__metadata__"] = random.choice((notes, left_out, hostile.value(random)))
    return header, data


def _label(header: Header, data: bytes, random: Random) -> Made:
    """What a file of embeds says of itself is changed."""
    notes = header.get("__metadata__")
    if not isinstance(notes, dict) or not notes:
        return _noted(header, data, random)
    label = random.choice(sorted(notes))
    text = hostile.changed_json(str(notes[label]).encode(), random)
    header["__metadata__"] = {**notes, label: text.decode("utf-8", "replace")}
    return header, data


def _repeated(header: Header, data: bytes, random: Random) -> Made:
    """A name is there twice, which JSON lets one write."""
    key = json.dumps(_key(header, random))
    text = hostile.dumped(header)
    again = f"{{{key}:{random.choice(('{}', '[]', text.decode()[:0] or 'null'))},".encode()
    return again + text[1:], data


def _deep(_header: Header, data: bytes, random: Random) -> Made:
    return b'{"a":' * random.choice((50, 60_000)) + b"1", data


def _digits(header: Header, data: bytes, random: Random) -> Made:
    text = hostile.dumped(header)
    size = random.choice((400, 5000, 300_000))
    return text.replace(b"0,", b"9" * size + b",", 1), data


def _not_finite(header: Header, data: bytes, random: Random) -> Made:
    begin, _ = _entry(header, random).get("data_offsets", [0, 0])
    return header, data[:begin] + random.choice(_NOT_NUMBERS) + data[begin + 2 :]


_WAYS: tuple[Callable[[Header, bytes, Random], Made], ...] = (
    *(_anything, _anything, _dropped, _dropped, _renamed, _renumbered, _shaped, _typed, _placed),
    *(_shared, _many, _noted, _label, _label, _repeated, _deep, _digits, _not_finite),
)
