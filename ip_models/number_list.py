"""Numbers a user writes in a row, e.g. "1, 0.5"."""

from __future__ import annotations

import math

from .errors import BadInput

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
