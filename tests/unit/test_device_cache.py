"""Copies are made once, bounded, and the last one always stays."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

import torch
from pack.ip_models.attention.device_cache import DeviceCache
from torch import Tensor


def rows(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.uint8)


class OtherThread:
    """Clears a cache in the middle of a look-up of the first thread, if the lock lets it."""

    def __init__(self, cache: DeviceCache) -> None:
        self._cache, self._done = cache, Event()
        self._thread = Thread(target=self._clear)
        self.started = False

    def _clear(self) -> None:
        self._cache.clear()
        self._done.set()

    def go(self) -> None:
        """Give it the time to come in between; it runs out only where it is held off."""
        if not self.started:
            self.started = True
            self._thread.start()
            self._done.wait(0.5)

    def was_held_off(self) -> bool:
        """Whether it was there and came too late; it has ended afterwards."""
        late = self.started and not self._done.is_set()
        self._thread.join(60)
        return late and self._done.is_set() and len(self._cache) == 0


class Watched(Tensor):
    """Calls back when the cache asks for its size."""

    on_size: Callable[[], None]

    @property
    def nbytes(self) -> int:
        self.on_size()
        return 4


class WatchedKey:
    """Calls back each time the cache looks for it."""

    def __init__(self, on_hash: Callable[[], None]) -> None:
        self._on_hash = on_hash

    def __hash__(self) -> int:
        self._on_hash()
        return 1


def test_a_copy_is_made_once_for_each_key() -> None:
    cache = DeviceCache()
    first = cache.get("a", lambda: rows(1))
    assert cache.get("a", lambda: rows(2)) is first
    assert cache.get("b", lambda: rows(2)) is not first


def test_the_oldest_go_when_there_is_too_much_and_the_last_always_stays() -> None:
    cache = DeviceCache(most_bytes=6)
    a, _ = cache.get("a", lambda: rows(4)), cache.get("b", lambda: rows(4))
    assert cache.get("a", lambda: rows(4)) is a  # used again, so b is the oldest
    cache.get("c", lambda: rows(8))
    assert cache.get("a", lambda: rows(4)) is a
    assert len(cache) == 2
    big = cache.get("big", lambda: rows(1000))
    assert cache.get("big", lambda: rows(1)) is big


def test_a_copy_may_be_made_from_another() -> None:
    cache = DeviceCache()
    outer = cache.get("outer", lambda: cache.get("inner", lambda: rows(3)) + 1)
    assert outer.sum() == 3 and len(cache) == 2


def test_clearing_drops_everything() -> None:
    cache = DeviceCache()
    first = cache.get("a", lambda: rows(1))
    cache.clear()
    assert len(cache) == 0
    assert cache.get("a", lambda: rows(1)) is not first


def test_nothing_is_dropped_by_another_thread_while_too_much_is_counted() -> None:
    cache = DeviceCache(most_bytes=1)
    other = OtherThread(cache)
    watched = torch.zeros(4, dtype=torch.uint8).as_subclass(Watched)
    watched.on_size = other.go
    cache.get("a", lambda: watched)
    cache.get("b", lambda: rows(4))
    assert other.was_held_off()


def test_nothing_is_dropped_by_another_thread_before_it_is_marked_as_used() -> None:
    cache = DeviceCache()
    other = OtherThread(cache)
    looks = ["it is put in"]

    def on_hash() -> None:
        if looks == ["it is found"]:
            other.go()
        elif not looks:
            looks.append("it is found")

    key = WatchedKey(on_hash)
    first = cache.get(key, lambda: rows(4))
    cache.get("later", lambda: rows(4))
    looks.clear()
    assert cache.get(key, lambda: rows(4)) is first
    assert other.was_held_off()
