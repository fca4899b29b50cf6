"""Layers whose weights stay in the adapter's file: read some rows at a time, used and dropped.

For adapters whose weights are far larger than all that is computed with them: they are needed once,
for a few tokens, and neither the main memory nor the device has to hold more than some rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from ..files.stored import StoredTensor

_MOST_VALUES = 2**22  # read at once: 8 MB of a file in half precision, 16 MB to compute with
_TOGETHER = 64  # rows or a multiple: then products are the same bits as those of whole weights
_on_read: ContextVar[Callable[[], None]] = ContextVar("_on_read", default=lambda: None)


class _Stored(nn.Module):
    """A layer without parameters: the host has nothing to move and nothing to count."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.stored: dict[str, StoredTensor] = {}

    def slices(self) -> list[tuple[int, int]]:
        """First and last of the rows that are read together."""
        rows, *others = self.stored["weight"].shape
        groups = _MOST_VALUES // (others[0] if others else 1) // _TOGETHER
        step = max(groups, 1) * _TOGETHER
        return [(first, min(first + step, rows)) for first in range(0, rows, step)]

    def read(self, first: int, last: int, like: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows of weight and bias where the input is and as wide, as the host casts its own."""
        _on_read.get()()
        weight, bias = (
            stored and stored.rows(first, last).to(like.device).to(like.dtype)
            for stored in (self.stored["weight"], self.stored.get("bias"))
        )
        assert weight is not None
        return weight, bias


class Streamed:
    """In place of `torch.nn` or the host's operations, to build an adapter with; then `fill` it."""

    class Linear(_Stored):
        """Some outputs at a time."""

        def __init__(self, inputs: int, outputs: int, bias: bool = True, **_: Any) -> None:
            super().__init__(outputs)

        def forward(self, given: Tensor) -> Tensor:
            """(..., inputs) -> (..., outputs)."""
            made = given.new_empty((*given.shape[:-1], self.width))
            for first, last in self.slices():
                made[..., first:last] = functional.linear(given, *self.read(first, last, given))
            return made

    class LayerNorm(_Stored):
        """Small, so read whole."""

        def __init__(self, width: int, **_: Any) -> None:
            super().__init__(width)

        def forward(self, given: Tensor) -> Tensor:
            """Any shape of this width."""
            return functional.layer_norm(given, (self.width,), *self.read(0, self.width, given))


def fill(module: nn.Module, tensors: Mapping[str, Any]) -> None:
    """Tell each layer of a module that was built with `Streamed` where its weights are."""
    for name, layer in module.named_modules():
        if isinstance(layer, _Stored):
            parts = {part: tensors.get(f"{name}.{part}") for part in ("weight", "bias")}
            layer.stored = {part: one for part, one in parts.items() if one is not None}


def stored_bytes(module: nn.Module) -> int:
    """Bytes of all weights of a module that stay in a file."""
    layers = (layer for layer in module.modules() if isinstance(layer, _Stored))
    return sum(tensor.nbytes for layer in layers for tensor in layer.stored.values())


def reads(module: nn.Module) -> int:
    """How often something is read when each layer of a module runs once; 0 if none is streamed."""
    layers = (layer for layer in module.modules() if isinstance(layer, _Stored))
    return sum(len(layer.slices()) for layer in layers)


@contextmanager
def reporting(on_read: Callable[[], None]) -> Generator[None]:
    """Have something called before each reading, to report progress or to stop."""
    before = _on_read.set(on_read)
    try:
        yield
    finally:
        _on_read.reset(before)
