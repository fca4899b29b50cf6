"""Every operation of torch that makes a tensor, of the host's as well as ours."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from kit.faults.trips import Trip
from torch.utils._python_dispatch import TorchDispatchMode

_OF_DEVICE = "Allocation on device would exceed allowed memory. (out of memory)"
_OF_MAIN_MEMORY = (
    "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried "
    "to allocate {size} bytes."
)


def of_device(_: str) -> BaseException:
    """What torch raises where a graphics card is full."""
    return torch.OutOfMemoryError(_OF_DEVICE)


def of_main_memory(_: str) -> BaseException:
    """What torch raises where the main memory is full."""
    return RuntimeError(_OF_MAIN_MEMORY.format(size=2**40))


@contextmanager
def allocations(trip: Trip) -> Generator[None]:
    """While this lasts, each operation that makes a tensor is counted."""
    with _Allocations(trip):
        yield


class _Allocations(TorchDispatchMode):
    def __init__(self, trip: Callable[[str], None]) -> None:
        super().__init__()
        self._trip = trip

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if _makes(func):
            self._trip(str(func))
        return func(*args, **(kwargs or {}))


@cache
def _makes(func: Any) -> bool:
    """Whether an operation gives a tensor that is no view of another, nor another written to."""
    given = func._schema.returns
    return any("Tensor" in str(one.type) and one.alias_info is None for one in given)
