"""Tensors that stay in their file: where each one is, and its values when they are needed.

A file is opened for each read and closed again, so that nothing holds it, and it is read and not
mapped, so that it can be replaced while it is in use. That is noticed before anything is computed.
"""

from __future__ import annotations

import math
import os
from typing import NamedTuple

import torch
from torch import Tensor

from ....ip_models.errors import BrokenFile, IPAdapterError
from ....ip_models.inputs import is_finite
from .opened import ModelFile, broken, identity, opened
from .torch_file import ANOTHER

_COARSE = (torch.float8_e4m3fn, torch.float8_e5m2)


class StoredFile(NamedTuple):
    """A file as it was when its tensors were found.

    Attributes:
        identity: as `opened.identity` has it.
    """

    path: str
    identity: tuple[str, int, int]

    def require_same(self) -> None:
        """Refuse a file that was replaced or written to, for its tensors are elsewhere now.

        Raises:
            BrokenFile: it was, or it is gone.
        """
        try:
            same = identity(self.path) == self.identity
        except IPAdapterError:
            same = False
        if not same:
            raise replaced(self.path, "its weights are read from it while they are needed")


class StoredTensor(NamedTuple):
    """A tensor in a file.

    Attributes:
        dtype: a name where torch has no such type.
        offset: of its first value in the file.
        steps: from value to value in each dimension, empty where row follows row.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype | str
    file: StoredFile
    offset: int
    steps: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        size = self.dtype.itemsize if isinstance(self.dtype, torch.dtype) else 0
        return math.prod(self.shape) * size

    @property
    def is_weight(self) -> bool:
        """Whether it holds floating point numbers."""
        return isinstance(self.dtype, torch.dtype) and self.dtype.is_floating_point

    def rows(self, first: int, last: int) -> Tensor:
        """A copy of the rows from `first` to before `last`, of a tensor where row follows row.

        Raises:
            BrokenFile: the file is not what it was, or a value is not finite.
        """
        self.file.require_same()
        part = self._replace(
            shape=(last - first, *self.shape[1:]),
            offset=self.offset + first * self.nbytes // self.shape[0],
        )
        with opened(self.file.path) as file:
            read = part.read(file)
        self.file.require_same()
        require_finite(self.file.path, "one of the weights that are read from it", read)
        return read

    @property
    def span(self) -> int:
        """Bytes from the first value to the last; fewer than all values take where some repeat."""
        if not self.steps or not isinstance(self.dtype, torch.dtype):
            return self.nbytes
        reach = sum((size - 1) * step for size, step in zip(self.shape, self.steps, strict=True))
        return (reach + 1) * self.dtype.itemsize

    def read(self, file: ModelFile) -> Tensor:
        """All values, of which those that repeat are there once.

        Raises:
            BrokenFile: torch has no such type, or the file ends before.
        """
        if isinstance(self.dtype, str):
            raise broken(file.path, f"has tensors of the unknown type {self.dtype}", ANOTHER)
        if not self.steps:
            made = torch.empty(self.shape, dtype=self.dtype)
            file.fill(self.offset, made)
            return made
        values = torch.empty(self.span // self.dtype.itemsize, dtype=self.dtype)
        file.fill(self.offset, values)
        return values.as_strided(self.shape, self.steps)


def require_finite(path: str, name: str, tensor: Tensor) -> None:
    """Refuse weights that would make every picture black.

    Raises:
        BrokenFile: a value is infinite or no number.
    """
    if not tensor.is_floating_point() or not tensor.numel():
        return
    values = tensor.half() if tensor.dtype in _COARSE else tensor  # a type without comparison
    if not is_finite(values):
        raise broken(path, f"holds values in {name[:120]} that are not finite numbers")


def replaced(path: str, why: str) -> BrokenFile:
    """The refusal of a file that is needed again and is another one by now."""
    return BrokenFile(
        f"{os.path.basename(path)} is not the file that was loaded any more",
        why,
        "Queue the prompt again",
    )
