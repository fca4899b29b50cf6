"""Settings that a link or a program may have filled with anything."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from .errors import BadInput

Choice = TypeVar("Choice", bound=Enum)


def within(name: str, value: object, low: float, high: float) -> float:
    """The value, if it is a number between two others, both allowed.

    Raises:
        BadInput: it is not; neither is one that is not finite.
    """
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and low <= float(value) <= high
    ):
        return float(value)
    raise BadInput(
        f"{name} is {str(value)[:40]!r}",
        f"a number from {low:g} to {high:g} is needed",
        f"Enter one, {low:g} to begin with",
    )


def whole(name: str, value: object, low: int, high: int) -> int:
    """The same for whole numbers.

    Raises:
        BadInput: it is another number or none.
    """
    number = within(name, value, low, high)
    if number.is_integer():
        return int(number)
    raise BadInput(f"{name} is {number:g}", "a whole number is needed", f"Enter {round(number)}")


def chosen(name: str, value: object, kind: type[Choice]) -> Choice:
    """The member of an enum of texts.

    Raises:
        BadInput: there is none of this value.
    """
    for member in kind:
        if member.value == value:
            return member
    raise BadInput(
        f"{name} is {str(value)[:40]!r}",
        f"{', '.join(str(member.value) for member in kind)} are known",
        f"Choose {next(iter(kind)).value}",
    )
