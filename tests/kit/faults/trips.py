"""Operations that are counted, and one of which fails."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock


@dataclass
class Trip:
    """Counts operations; the one with the number `at`, from 0, fails.

    Attributes:
        make: the error of an operation, by its name.
        names: of all operations so far.
        error: what was raised, None before.
    """

    make: Callable[[str], BaseException]
    at: int | None = None
    names: list[str] = field(default_factory=list[str])
    error: BaseException | None = None

    def __call__(self, name: str) -> None:
        """An operation is about to be done."""
        self.names.append(name)
        if len(self.names) - 1 == self.at:
            self.error = self.make(name)
            raise self.error

    @property
    def failed(self) -> str:
        """The name of the operation that failed."""
        return "" if self.at is None or len(self.names) <= self.at else self.names[self.at]


Watch = Callable[[Trip], AbstractContextManager[object]]


@contextmanager
def replaced(places: Iterable[tuple[Any, str, Any]]) -> Generator[None]:
    """While this lasts, attributes of modules and classes are others."""
    patches = [mock.patch.object(owner, name, new) for owner, name, new in places]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()


def spread(count: int, most: int | None) -> list[int]:
    """As many numbers below `count` as are wanted, evenly, the first and the last among them."""
    if most is None or count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
