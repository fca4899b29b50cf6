"""Rows of pictures an encoder has seen lately, for an Encode Image that runs again.

The host keeps what a node gave while none of its inputs change, and runs it over everything when
one does. Counted through the host's executor, in pictures that went through the encoder with these
rows and without: 180 frames of which one has changed 1 and 181, a video that begins one frame later
1 and 181, another option of the node none and 181, 40 frames in 2 x 2 tiles of which one has
changed 4 and 201. Equal nodes, and all that comes after the node, are the host's own.

Rows die with the encoder's weights as they were, which is how they follow the host: it lets go of
encoders when RAM runs short and when it is asked to free memory. A row is what the encoder gave for
the picture in its batch then; another batch may round the last bit differently.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import comfy.model_management
import torch
from torch import Tensor

from ....ip_models.pictures.tiles import Rows
from .identity import State, is_patched, state_of

MOST_BYTES = 256 * 2**20
_LEAST_FREE = 2**30

Key = tuple[Hashable, ...]


class RowCache:
    """Rows of one encoder by key, those used last, on the CPU.

    Args:
        most_bytes: what is held at most.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self._rows: OrderedDict[Key, Rows] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Key) -> Rows | None:
        """The row of one picture, not to be written to."""
        if key in self._rows:
            self._rows.move_to_end(key)
        return self._rows.get(key)

    def put(self, key: Key, rows: Rows, count: int = 1) -> None:
        """Keep a copy, so that nothing larger is kept alive.

        Args:
            count: of rows that will come. If they do not fit together, they would push each other
                out before they are asked for again.
        """
        self.put_all({key: rows}, count)

    def put_all(self, made: Mapping[Key, Rows], count: int) -> None:
        """The same for rows of one batch: all or none, for another batch may round otherwise."""
        copies = {
            key: (None if pooled is None else _copy(pooled), _copy(hidden))
            for key, (pooled, hidden) in made.items()
            if key not in self._rows and count * _bytes_of((pooled, hidden)) <= self.most_bytes
        }
        self._rows.update(copies)
        self.bytes += sum(map(_bytes_of, copies.values()))
        while self.bytes > self.most_bytes:
            _, oldest = self._rows.popitem(last=False)
            self.bytes -= _bytes_of(oldest)


@dataclass(frozen=True)
class KnownRows:
    """Rows of an encoder as it is now.

    Attributes:
        cache: those of its weights.
        settings: all that decides about the features of a picture besides its pixels and them.
    """

    cache: RowCache
    settings: Key

    def get(self, *picture: Hashable) -> Rows | None:
        """The row of one picture, not to be written to."""
        return self.cache.get((*self.settings, *picture))

    def put(self, rows: Rows, *picture: Hashable, count: int = 1) -> None:
        """Keep a copy; see `RowCache`."""
        self.put_all({picture: rows}, count)

    def put_all(self, made: Mapping[Key, Rows], count: int) -> None:
        """Keep copies of one batch; see `RowCache`."""
        self.cache.put_all({(*self.settings, *key): rows for key, rows in made.items()}, count)


_caches: WeakKeyDictionary[State, RowCache] = WeakKeyDictionary()


def known_rows(clip_vision: Any, size: int) -> KnownRows | None:
    """What an encoder has seen at this input size.

    None for one that others have changed in ways that cannot be compared, and while RAM is short.
    """
    model = getattr(clip_vision, "model", None)
    if (
        not isinstance(model, torch.nn.Module)
        or is_patched(clip_vision)
        or "encode_image" in vars(clip_vision)
        or "forward" in vars(model)
    ):
        return None
    if _ram_is_short():
        forget()
        return None
    settings = (
        type(clip_vision).encode_image,
        frozenset(weight.dtype for weight in model.parameters()),
        tuple(clip_vision.image_mean),
        tuple(getattr(clip_vision, "image_std", ())),
        size,
    )
    return KnownRows(_caches.setdefault(state_of(model), RowCache(MOST_BYTES)), settings)


def forget() -> None:
    """Drop the rows of all encoders."""
    _caches.clear()


def _bytes_of(rows: Rows) -> int:
    return sum(one.nbytes for one in rows if one is not None)


def _ram_is_short() -> bool:
    """Less than 1 GiB or 5 % of RAM is free."""
    cpu = torch.device("cpu")
    least = max(_LEAST_FREE, comfy.model_management.get_total_memory(cpu) // 20)
    return comfy.model_management.get_free_memory(cpu) < least


def _copy(rows: Tensor) -> Tensor:
    return rows.detach().to("cpu", copy=True)
