"""One call of an ONNX operator: its inputs, and its attributes with their defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .. import limits
from .file import Node


class CannotRun(ValueError):
    """A call that this runner does not do; the message names what about it."""


@dataclass(frozen=True)
class Call:
    """A node and what it is called with."""

    node: Node
    opset: int
    inputs: tuple[Tensor | None, ...]

    @property
    def data(self) -> Tensor:
        """The first input."""
        return self.tensor(0)

    def optional(self, index: int) -> Tensor | None:
        """An input that may be left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def tensor(self, index: int) -> Tensor:
        """An input that has to be there."""
        found = self.optional(index)
        if found is None:
            raise CannotRun(f"input {index + 1} is missing")
        return found

    def tensors(self) -> list[Tensor]:
        """All inputs, of which none may be left out."""
        return [self.tensor(index) for index in range(len(self.inputs))]

    def integer(self, name: str, default: int) -> int:
        """An attribute of one integer."""
        value = self.node.attributes.get(name)
        if value is None:
            return default
        if not isinstance(value, int):
            raise CannotRun(f"{name} is no integer")
        return value

    def number(self, name: str, default: float) -> float:
        """An attribute of one number."""
        value = self.node.attributes.get(name)
        if value is None:
            return default
        if not isinstance(value, int | float):
            raise CannotRun(f"{name} is no number")
        return float(value)

    def word(self, name: str, default: str) -> str:
        """An attribute of a word."""
        value = self.node.attributes.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise CannotRun(f"{name} is no word")
        return value

    def integers(self, name: str) -> list[int] | None:
        """An attribute of several integers, or None."""
        value = self.node.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, tuple):
            raise CannotRun(f"{name} is no list of integers")
        return [int(one) for one in value]

    def listed(self, name: str, index: int) -> list[int] | None:
        """Integers that were an attribute in old operator sets and are an input in new ones."""
        given = self.optional(index)
        return self.integers(name) if given is None else to_integers(given)


Operator = Callable[[Call], Tensor]


def to_integers(values: Tensor) -> list[int]:
    """A tensor of any rank as a flat list."""
    return [int(one) for one in values.reshape(-1).tolist()]


def require_size(shape: list[int]) -> list[int]:
    """The shape of a result, if it may be made."""
    count = 1
    for size in shape:
        count *= size
    if min(shape, default=0) < 0 or max(shape, default=0) > limits.ONNX_SIDE:
        raise CannotRun(f"it asks for a result of shape {shape}")
    if count > limits.ONNX_RESULT:
        raise CannotRun(f"it asks for a result of shape {shape}")
    return shape


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < max(rank, 1):
        raise CannotRun(f"axis {axis} of {rank}")
    return axis % rank if rank else 0
