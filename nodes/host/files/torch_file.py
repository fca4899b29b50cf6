"""Files of `torch.save`: what they hold, and where in the file the numbers of each tensor are.

The zip files of torch since 1.6 and the older ones, as torch/serialization.py of torch 2.11 reads
them. Nothing is unpacked and no code is run, see `pickled`.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

from ....ip_models import limits
from ....ip_models.errors import BrokenFile
from . import pickled
from .opened import AGAIN, ModelFile, Stream, broken

ANOTHER = "Choose a file that holds tensors and nothing else"
WITHOUT_CODE = "Get it as .safetensors, or save its tensors alone"
DAMAGED = (
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
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)  # RuntimeError includes RecursionError
_LOCAL_HEADER, _LOCAL_MARK = 30, b"PK\x03\x04"  # of a zip member, before its name
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the files before torch 1.6
_COUNT = 8  # bytes before the numbers of each storage in those


class TorchFile(NamedTuple):
    """What a file holds.

    Attributes:
        content: tables, lists and plain values, with a `Place` for each tensor.
        begins: where in the file the numbers of a storage begin, by its key.
    """

    content: Any
    begins: Mapping[str, int]


def read(file: ModelFile, most: int = limits.ARCHIVE_BYTES) -> TorchFile:
    """Whatever `torch.save` wrote.

    Args:
        most: bytes of its description that are read.

    Raises:
        BrokenFile: it is damaged, or holds anything but tensors, tables and plain values.
    """
    zipped = file.read(0, 2) == b"PK"
    try:
        return _zip(file, most) if zipped else _old(file)
    except BrokenFile:
        raise
    except pickle.UnpicklingError as error:
        what = "holds code or objects other than tensors, or is damaged"
        raise broken(file.path, what, WITHOUT_CODE) from error
    except DAMAGED as error:
        raise broken(file.path, "is cut off or damaged", AGAIN) from error


def _zip(file: ModelFile, most: int) -> TorchFile:
    with zipfile.ZipFile(Stream(file)) as archive:  # pyright: ignore[reportArgumentType]
        members = {member.filename: member for member in archive.infolist()}
        _require_stored(file, members.values())
        name = next(name for name in (*members, "data.pkl") if name.endswith("data.pkl"))
        folder = name.removesuffix("data.pkl")
        order = members.get(f"{folder}byteorder")
        if order is not None and (order.file_size > 9 or archive.read(order) != b"little"):
            raise broken(file.path, "was written on a machine of the other byte order", ANOTHER)
        if members[name].file_size > most:
            size = members[name].file_size
            raise broken(file.path, f"has a description of {size} bytes", ANOTHER)
        content: Any = pickled.read(io.BytesIO(archive.read(name)))
    begins = {
        key.removeprefix(data): _begin(file, member)
        for data in (f"{folder}data/",)
        for key, member in members.items()
        if key.startswith(data)
    }
    sizes = {key: members[f"{folder}data/{key}"].file_size for key in begins}
    return TorchFile(_within(content, sizes), begins)


def _require_stored(file: ModelFile, members: Any) -> None:
    """Torch stores and does not pack."""
    size = sum(member.file_size for member in members)
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or size > file.size:
        raise broken(file.path, "is a packed archive that torch has not written", ANOTHER)


def _begin(file: ModelFile, member: zipfile.ZipInfo) -> int:
    """Where the data of a member begin: after a header of its own with a name and padding."""
    header = file.read(member.header_offset, _LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or not header.startswith(_LOCAL_MARK):
        raise zipfile.BadZipFile(member.filename)
    begin = member.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", header[-4:]))
    if begin + member.file_size > file.size:
        raise zipfile.BadZipFile(member.filename)
    return begin


def _old(file: ModelFile) -> TorchFile:
    """Pickles one after the other, and then the numbers of each storage."""
    start = io.BytesIO(file.read(0, limits.ARCHIVE_BYTES))
    if pickled.read(start) != _MAGIC or pickled.read(start) != _PROTOCOL:
        raise pickle.UnpicklingError("a pickle that torch has not written")
    if pickled.read(start).get("little_endian") is not True:
        raise broken(file.path, "was written on a machine of the other byte order", ANOTHER)
    content, keys = pickled.read(start), pickled.read(start)
    place, begins, sizes = start.tell(), dict[str, int](), dict[str, int]()
    types = {place.storage.key: place.storage.dtype for place in _places(content)}
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise pickle.UnpicklingError("storages without names")
    for key in keys:
        (count,) = struct.unpack("<q", file.read(place, _COUNT))
        begins[key], sizes[key] = place + _COUNT, count * types[key].itemsize
        place += _COUNT + sizes[key]
        if count < 0 or place > file.size:
            raise EOFError(key)
    return TorchFile(_within(content, sizes), begins)


def _within(content: Any, sizes: Mapping[str, int]) -> Any:
    """The content, if the file has the numbers of all its tensors."""
    for place in _places(content):
        if place.storage.size * place.storage.dtype.itemsize > sizes[place.storage.key]:
            raise EOFError(place.storage.key)
    return content


def _places(content: Any) -> list[pickled.Place]:
    """All tensors, wherever they are; a table that is there twice is looked into once."""
    found: list[pickled.Place] = []
    seen: set[int] = set()
    left: list[Any] = [content]
    while left:
        one = left.pop()
        if isinstance(one, pickled.Place):
            found.append(one)
        elif isinstance(one, dict | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            left.extend(one.values() if isinstance(one, dict) else one)
    return found
