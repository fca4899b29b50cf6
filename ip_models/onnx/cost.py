"""What a run of a network would take, found out on tensors that have shapes and no values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .. import limits
from .node import CannotRun

META = torch.device("meta")
_BASE = 2**20  # numbers and products that any network may make, however small its input is


class Cost(TorchDispatchMode):
    """Counts what operators make, and stops before it is more than any face model needs.

    Args:
        inputs: numbers of the picture that is fed.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self._live = limits.ONNX_LIVE * inputs + _BASE
        self._made = limits.ONNX_MADE * inputs + _BASE
        self._products = limits.ONNX_PRODUCTS * inputs + _BASE
        self.held = 0
        self.counts = {"live": 0, "made": 0, "products": 0}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # What shares the memory of an input is nothing new.
        if all(one.alias_info is None for one in func._schema.returns):
            for made in _tensors(result):
                self._add(made.numel(), _products(func, args, made))
        return result

    def _add(self, made: int, products: int) -> None:
        counts = self.counts
        counts["made"] += made
        counts["products"] += products
        self.held += made
        counts["live"] = max(counts["live"], self.held)
        if self.held > self._live or counts["made"] > self._made:
            raise CannotRun("its results are far larger than those of a face model")
        if counts["products"] > self._products:
            raise CannotRun("it multiplies far more than a face model")

    def step(self, run: Callable[[], Tensor], others: int) -> Tensor:
        """What an operator gives, while other results of so many numbers are held."""
        self.held = others
        with self:
            return run()


def _tensors(result: Any) -> Iterator[Tensor]:
    listed = cast("tuple[Any, ...]", result) if isinstance(result, tuple | list) else (result,)
    yield from (one for one in listed if isinstance(one, Tensor))


def _products(func: Any, args: tuple[Any, ...], made: Tensor) -> int:
    """Multiplications of a convolution or a product of matrices."""
    name = func.overloadpacket.__name__
    if name == "convolution":
        return made.numel() * math.prod(args[1].shape[1:])
    if name in ("mm", "bmm", "mv", "dot"):
        return made.numel() * args[0].shape[-1]
    return made.numel() * args[1].shape[-1] if name in ("addmm", "baddbmm") else 0
