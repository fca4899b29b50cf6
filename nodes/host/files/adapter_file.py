"""An adapter on the disk: a file, or the parts into which a large one was cut."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ....ip_models import limits
from ....ip_models.adapter.state_dict import AdapterWeights, canonical
from ....ip_models.errors import BrokenFile
from . import checkpoint, folders
from .contents import leaves, stored_tensors

# As transformers, diffusers and accelerate call them; an index.json lists them, their names do too.
_PART = re.compile(r"^(.*)-([0-9]{5})-of-([0-9]{5})(\.[A-Za-z]+)$")


def identity(path: str) -> tuple[str, int, int]:
    """Changes when the file or one of its parts is replaced.

    Raises:
        BrokenFile: a part is missing.
    """
    known = [checkpoint.identity(part) for part in _parts(path)]
    return known[0][0], max(time for _, time, _ in known), sum(size for *_, size in known)


def read_shapes(path: str) -> AdapterWeights:
    """The shapes of an adapter, from headers alone.

    Raises:
        BrokenFile, UnknownAdapter: the file is not whole, or no adapter.
    """
    return _united(path, [checkpoint.read_shapes(part) for part in _parts(path)])


def read_weights(path: str) -> AdapterWeights:
    """The tensors of an adapter; whatever else its file holds is not read.

    Raises:
        BrokenFile, UnknownAdapter: the file is not whole, or no adapter.
    """
    shapes = {part: checkpoint.read_shapes(part) for part in _parts(path)}
    needed = {id(shape) for shape in _united(path, shapes.values()).values()}
    keys = {
        part: {name for name, shape in leaves(held) if id(shape) in needed}
        for part, held in shapes.items()
    }
    return _united(path, [checkpoint.read_tensors(part, wanted) for part, wanted in keys.items()])


def stored_weights(path: str) -> AdapterWeights | None:
    """The tensors of an adapter where they are in the file, for reading some rows at a time.

    Returns:
        None where they can only be read all at once, see `stored_tensors`.

    Raises:
        BrokenFile, UnknownAdapter: the file is not whole, or no adapter.
    """
    parts: list[Mapping[str, Any]] = []
    for part in _parts(path):
        stored = stored_tensors(part)
        if stored is None:
            return None
        parts.append(stored)
    return _united(path, parts)


def _united(path: str, parts: Iterable[Mapping[str, Any]]) -> AdapterWeights:
    held = {key: value for part in parts for key, value in part.items()}
    return canonical(held, os.path.basename(path))


def _parts(path: str) -> list[str]:
    folder, name = os.path.split(path)
    match = _PART.match(name)
    count = int(match[3]) if match else 1
    if match is None or not 1 <= int(match[2]) <= count <= limits.PARTS:
        return [path]
    names = [f"{match[1]}-{number:05}-of-{match[3]}{match[4]}" for number in range(1, count + 1)]
    paths = [os.path.join(folder, part) for part in names]
    if missing := [part for part, one in zip(names, paths, strict=True) if not os.path.isfile(one)]:
        raise BrokenFile(
            f"{name} is one of {count} parts and {missing[0]} is not beside it",
            "all parts of a file are needed",
            "Put them into one folder",
        )
    for one in paths:
        folders.require_inside(one, folders.homes(folders.ADAPTERS))
    return paths
