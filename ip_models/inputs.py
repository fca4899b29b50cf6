"""Settings that a link or a program may have filled with anything."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum
from types import UnionType
from typing import TypeVar

from .errors import BadInput

Choice = TypeVar("Choice", bound=Enum)


def within(name: str, value: object, low: float, high: float) -> float:
    """The value, if it is a number between two others, both allowed.

    Raises:
        BadInput: it is not; neither is one that is not finite.
    """
    # As they are: an int may be larger than any float.
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
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


_MOST = 1e6
_LONGEST = 1_000_000  # characters, for 50,000 frames with all digits
_SHOWN = 60


def parse_numbers(text: str, name: str) -> list[float]:
    """Numbers separated by commas or line breaks; none for an empty text.

    Raises:
        BadInput: something is not a number, or absurdly large.
    """
    # A service may send null or a list, which the host hands on as text.
    text = text.strip()
    if len(text) > _LONGEST:
        raise BadInput(
            f"{name} is {len(text):,} characters long",
            f"no more than {_LONGEST:,} are read",
            "Write fewer numbers",
        )
    text = "" if text in ("None", "null") else text
    text = text[1:-1] if text[:1] + text[-1:] in ("[]", "()") else text
    words = text.removesuffix(",").replace("\n", ",").split(",") if text else []
    try:
        numbers = [float(word) for word in words]
        good = all(math.isfinite(number) and abs(number) < _MOST for number in numbers)
    except ValueError:
        numbers, good = [], False
    if not good:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
        raise BadInput(
            f"{name} is {shown!r}",
            "numbers separated by commas are needed",
            "Write for example 1, 0.5, or leave it empty",
        )
    return numbers


def require(name: str, value: object, kind: type | UnionType, source: str) -> None:
    """Refuse what does not come from the nodes a socket is for.

    Raises:
        BadInput: it is of another kind.
    """
    if not isinstance(value, kind):
        raise BadInput(
            f"{name} is {type(value).__name__} {str(value)[:40]!r}",
            f"a link from {source} is needed",
            f"Connect {source}",
        )


def sides(shape: Iterable[int]) -> str:
    """A shape as people write it, e.g. "257 x 1280"."""
    return " x ".join(map(str, shape)) or "1"
