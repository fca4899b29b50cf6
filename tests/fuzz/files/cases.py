"""A hostile case: a whole model, and what is done to it; the same for the same numbers."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import NamedTuple

from .corpus import Sort, corpus
from .damage import folder_files, onnx_files, plain_bytes, safetensors_files, torch_files

# By path: the bytes of a file, or what is in its place.
Found = dict[str, "bytes | str"]
_LARGE = 4 * 2**20  # bytes of a model that is taken seldom
_LABEL = "what was found"


class Damage(NamedTuple):
    """One thing that is done to a model.

    Attributes:
        how: what, see `_HOW`.
        file: to which of its files, by number.
        seed: of the choices that are left.
    """

    how: str
    file: int
    seed: int


@dataclass(frozen=True)
class Case:
    """A model and what is done to it.

    Attributes:
        label: of the whole model.
        made: its files, where they are known as such and not by what was done.
    """

    label: str
    damages: tuple[Damage, ...]
    made: Found | None = None

    @property
    def sort(self) -> Sort:
        """What the model is for."""
        return corpus()[self.label].sort

    @property
    def name(self) -> str:
        """What the combos call it."""
        return corpus()[self.label].name

    def files(self) -> Found:
        """What is on the disk."""
        if self.made is not None:
            return self.made
        found: Found = dict(corpus()[self.label].files)
        for damage in self.damages:
            found = _done(found, damage)
        return found

    def without(self, number: int) -> Case:
        """The same with one thing not done."""
        kept = (*self.damages[:number], *self.damages[number + 1 :])
        return replace(self, damages=kept)

    def __str__(self) -> str:
        done = ", ".join(f"{one.how} {one.file}/{one.seed}" for one in self.damages)
        return f"{self.label}: {done or 'as it is'}"


_HOW: dict[str, Callable[[bytes, Random], bytes]] = {
    "safetensors": safetensors_files.damaged,
    "torch": torch_files.damaged,
    "onnx": onnx_files.damaged,
    "settings": folder_files.settings,
    **{one.__name__: one for one in plain_bytes.DAMAGES},
}
_BY_ENDING = {
    ".safetensors": "safetensors",
    ".onnx": "onnx",
    ".json": "settings",
    ".gguf": "flipped",
}
_STRUCTURED = ("safetensors", "torch", "onnx", "settings")
_BYTES = tuple(one.__name__ for one in plain_bytes.DAMAGES)
_INSTEAD = "instead"


def make(seed: int, number: int) -> Case:
    """The case of a number; what is done to structures comes first, for the rest may end them."""
    random = Random(f"{seed}/{number}")
    labels = sorted(corpus())
    label = random.choice(labels)
    while _size(label) > _LARGE and random.random() < 0.8:
        label = random.choice(labels)
    files = corpus()[label].files
    damages: list[Damage] = []
    for _ in range(random.choice((1, 1, 1, 2, 2, 3))):
        file = random.randrange(len(files))
        structured = random.random() < 0.7
        how = _kind(list(files)[file]) if structured else random.choice(_BYTES)
        how = _INSTEAD if random.random() < 0.03 else how
        damages.append(Damage(how, file, random.getrandbits(32)))
    return Case(label, tuple(sorted(damages, key=_rank)))


def _size(label: str) -> int:
    return sum(map(len, corpus()[label].files.values()))


_DIFFERENT = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RuntimeError)


def _rank(damage: Damage) -> int:
    return 0 if damage.how in _STRUCTURED else 2 if damage.how == _INSTEAD else 1


def _kind(name: str) -> str:
    return _BY_ENDING.get(Path(name).suffix, "torch")


def _done(found: Found, damage: Damage) -> Found:
    name = list(found)[damage.file % len(found)]
    data, random = found[name], Random(damage.seed)
    if damage.how == _INSTEAD:
        return {**found, name: folder_files.stand_in(random)}
    if isinstance(data, str):
        return found
    try:
        return {**found, name: _HOW[damage.how](data, random)}
    except _DIFFERENT:
        # It has been damaged before, so that its structure is none any more.
        return {**found, name: plain_bytes.flipped(data, random)}


def write(found: Found, folder: Path) -> int:
    """Put the files on the disk; the number of their bytes."""
    for name, data in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, bytes):
            path.write_bytes(data)
        elif data == folder_files.PIPE:
            os.mkfifo(path)
        elif data == folder_files.FOLDER:
            path.mkdir()
        else:
            path.symlink_to(data.removeprefix(folder_files.LINK))
    return sum(len(data) for data in found.values())


def as_text(case: Case, troubles: list[str]) -> str:
    """A case to replay: what was done, and what came out of that."""
    packed = {
        name: data if isinstance(data, str) else [base64.b64encode(zlib.compress(data)).decode()]
        for name, data in case.files().items()
    }
    told = {"label": case.label, "damages": case.damages, "troubles": troubles, _LABEL: packed}
    return json.dumps(told, indent=1)


def from_text(text: str) -> Case:
    """What `as_text` wrote; its files as they were, though the generators may be others now."""
    told = json.loads(text)
    made = {
        name: held if isinstance(held, str) else zlib.decompress(base64.b64decode(held[0]))
        for name, held in told[_LABEL].items()
    }
    return Case(told["label"], tuple(Damage(*one) for one in told["damages"]), made)
