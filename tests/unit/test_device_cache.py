"""Copies are made once, bounded, and the last one always stays."""

from __future__ import annotations

import torch
from pack.ip_models.attention.device_cache import DeviceCache
from torch import Tensor


def rows(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.uint8)


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
