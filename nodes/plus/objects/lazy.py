"""Tensors of a file as a dict, which are read when one of them is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor

Read = Callable[[], Mapping[str, Tensor]]


class _Mark(NamedTuple):
    """By which a tensor is known to be another one, or the same with other numbers."""

    tensor: int
    version: int


def marks(tensors: Mapping[str, Tensor]) -> dict[str, _Mark]:
    """Which tensors these are; compares unequal once one was replaced or written into."""
    return {key: _Mark(id(value), _version(value)) for key, value in tensors.items()}


def _version(value: Any) -> int:
    """How often a tensor was written into; 0 where torch does not count."""
    try:
        return int(value._version)
    except (AttributeError, RuntimeError):  # no tensor, or one of inference mode
        return 0


class LazyTensors(dict[str, Tensor]):
    """Tensors by their names; the names are known at once, the tensors once one is touched.

    A dict of its own kind, because other packs ask whether it is one, copy it and write into it. A
    copy is a plain dict. Python copies a dict from within without asking it, unless the class of
    the dict says itself how to iterate, as this one does.

    Args:
        names: of all tensors, in order.
        read: gives the tensors; asked once.
        source: what the tensors are a part of, for whoever knows it.
    """

    def __init__(self, names: Iterable[str], read: Read, source: object = None) -> None:
        super().__init__()
        self.source = source
        self._names = dict.fromkeys(names)
        self._read: Read | None = read
        self._marks: dict[str, _Mark] = {}

    @property
    def loaded(self) -> bool:
        """Whether the tensors are in memory."""
        return self._read is None

    @property
    def changed(self) -> bool:
        """Whether these are no longer the tensors that were read."""
        # Straight at what the dict holds: nothing is read to find that nothing was written.
        return self.loaded and marks(dict(dict.items(self))) != self._marks

    def load(self) -> None:
        """Read the tensors, if they are not there yet."""
        if self._read is not None:
            # The host runs nodes in inference mode, where torch does not count writes.
            with torch.inference_mode(False):
                tensors = self._read()
            self._read = None
            dict.update(self, tensors)
            self._marks = marks(tensors)

    def __iter__(self) -> Iterator[str]:
        return dict.__iter__(self) if self.loaded else iter(self._names)

    def __len__(self) -> int:
        return dict.__len__(self) if self.loaded else len(self._names)

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) if self.loaded else key in self._names

    def keys(self) -> KeysView[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The names, for which nothing has to be read."""
        return dict.keys(self) if self.loaded else self._names.keys()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        self.load()
        return dict, (), None, None, iter(dict.items(self))


def _loading(name: str) -> Callable[..., Any]:
    method: Callable[..., Any] = getattr(dict, name)

    @wraps(method)
    def after_loading(self: LazyTensors, *args: Any, **kwargs: Any) -> Any:
        self.load()
        # Another one is a plain dict to `dict`'s own methods only once it is loaded.
        for other in args:
            if isinstance(other, LazyTensors):
                other.load()
        return method(self, *args, **kwargs)

    return after_loading


_TOUCHING = (
    *("__getitem__", "__setitem__", "__delitem__", "__eq__", "__ne__", "__repr__", "__reversed__"),
    *("__or__", "__ior__", "get", "items", "values", "copy", "clear", "pop", "popitem"),
    *("setdefault", "update"),
)
for _name in _TOUCHING:
    setattr(LazyTensors, _name, _loading(_name))
