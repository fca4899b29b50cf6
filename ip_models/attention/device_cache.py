"""What was made for a device, a few at a time: what was used last stays, what is too much goes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar

MOST_BYTES = 64 * 2**20


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


Held = TypeVar("Held", bound=_Sized)


class DeviceCache(Generic[Held]):
    """Tensors, or what holds them, by key; safe where several devices sample in threads.

    Args:
        most_bytes: what may be held besides what was made last.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._held: OrderedDict[Hashable, Held] = OrderedDict()
        self._lock = Lock()

    def allow(self, most_bytes: int) -> None:
        """Another bound, from the next look-up on."""
        self._most_bytes = most_bytes

    def get(self, key: Hashable, make: Callable[[], Held]) -> Held:
        """What is held under this key, made if it is not there."""
        with self._lock:
            known = self._held.get(key)
            if known is not None:
                self._held.move_to_end(key)
                return known
        made = make()  # two threads may make the same; one of them is kept
        with self._lock:
            self._held[key] = made
            self._held.move_to_end(key)
            while len(self._held) > 1 and self._older_bytes() > self._most_bytes:
                self._held.popitem(last=False)
        return made

    def _older_bytes(self) -> int:
        *older, _ = self._held.values()
        return sum(one.nbytes for one in older)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._held.clear()

    def __len__(self) -> int:
        return len(self._held)
