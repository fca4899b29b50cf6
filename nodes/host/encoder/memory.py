"""Pictures an encoder has seen lately, so that it need not look again.

Rows die with the encoder they come from, which is how they follow the host: it lets go of encoders
when RAM runs short and when it is asked to free memory. Besides, there are never more than a bound,
and an encoding that finds RAM short drops them all. A row is what the encoder gave for the picture
in its batch then; another batch may round the last bit differently.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable
from hashlib import blake2b
from threading import RLock
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ....ip_models.pictures.tiles import Rows
from .identity import is_patched, state_of

MOST_BYTES = 256 * 2**20
_LEAST_FREE = 2**30

Key = tuple[Hashable, ...]


class RowCache:
    """Rows of pictures by key, those used last, on the CPU.

    Args:
        most_bytes: what is held at most.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self._rows: OrderedDict[Key, Rows] = OrderedDict()
        self._lock = RLock()  # `forget` may come from a collection inside any line here

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Key) -> Rows | None:
        """The row of one picture, not to be written to."""
        with self._lock:
            if key not in self._rows:
                return None
            self._rows.move_to_end(key)
            return self._rows[key]

    def put(self, key: Key, rows: Rows) -> None:
        """Keep a copy, so that nothing larger is kept alive."""
        pooled, hidden = rows
        size = bytes_of(rows)
        if size > self.most_bytes or ram_is_short():
            return
        kept = None if pooled is None else _copy(pooled), _copy(hidden)
        with self._lock:
            self._drop(key)
            self._rows[key] = kept
            self.bytes += size
            while self.bytes > self.most_bytes:
                self._drop(next(iter(self._rows)))

    def forget(self, encoder: int) -> None:
        """Drop the rows of one state of an encoder."""
        with self._lock:
            for key in list(self._rows):
                if key[0] == encoder:
                    self._drop(key)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._rows.clear()
            self.bytes = 0

    def _drop(self, key: Key) -> None:
        rows = self._rows.pop(key, None)
        if rows is not None:
            self.bytes -= bytes_of(rows)


seen = RowCache()
_watched: weakref.WeakKeyDictionary[torch.nn.Module, int] = weakref.WeakKeyDictionary()


def signature(clip_vision: Any, size: int) -> Key | None:
    """All that decides about the features of a picture besides its pixels.

    None for an encoder that others have changed in ways that cannot be compared.
    """
    model = getattr(clip_vision, "model", None)
    if (
        not isinstance(model, torch.nn.Module)
        or is_patched(clip_vision)
        or "encode_image" in vars(clip_vision)
        or "forward" in vars(model)
    ):
        return None
    number = state_of(model).number
    _watch(model, number)
    return (
        number,
        type(clip_vision).encode_image,
        type(model),
        frozenset(weight.dtype for weight in model.parameters()),
        str(getattr(clip_vision, "load_device", "")),
        tuple(clip_vision.image_mean),
        tuple(getattr(clip_vision, "image_std", ())),
        size,
    )


def _watch(model: torch.nn.Module, number: int) -> None:
    """Forget its rows when it dies, and at once those of the weights that it had before."""
    last = _watched.get(model)
    if last == number:
        return
    if last is not None:
        seen.forget(last)
    _watched[model] = number
    weakref.finalize(model, seen.forget, number).atexit = False


def digest(picture: Tensor) -> bytes:
    """Of the pixels of one prepared picture, with its shape."""
    made = blake2b(str(tuple(picture.shape)).encode(), digest_size=32)
    made.update(picture.contiguous().numpy())  # pyright: ignore[reportArgumentType]
    return made.digest()


def bytes_of(rows: Rows) -> int:
    """What they take."""
    return sum(one.nbytes for one in rows if one is not None)


def ram_is_short() -> bool:
    """Less than 1 GiB or 5 % of RAM is free; then nothing is kept here either."""
    cpu = torch.device("cpu")
    least = max(_LEAST_FREE, comfy.model_management.get_total_memory(cpu) // 20)
    short = comfy.model_management.get_free_memory(cpu) < least
    if short:
        seen.clear()
    return short


def _copy(rows: Tensor) -> Tensor:
    return rows.detach().to("cpu", copy=True)
