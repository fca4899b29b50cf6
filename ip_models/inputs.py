"""Settings that a link or a program may have filled with anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import Enum
from numbers import Integral, Real
from types import UnionType
from typing import Any, TypeVar

import numpy
import torch
from torch import Tensor

from . import limits
from .errors import BadInput

Choice = TypeVar("Choice", bound=Enum)


def within(name: str, value: object, low: float, high: float) -> float:
    """The value, if it is a number between two others, both allowed.

    Raises:
        BadInput: it is not; neither is one that is not finite.
    """
    number: Any = math.nan if isinstance(value, bool) or not isinstance(value, Real) else value
    # As it is: an int may be larger than any float.
    if low <= number <= high:
        return float(number)
    raise BadInput(
        f"{name} is {shown(value)}",
        f"a number from {low:g} to {high:g} is needed",
        "Enter one between them",
    )


def numbers_within(name: str, value: object, low: float, high: float) -> float | tuple[float, ...]:
    """The same for a number, or for all of a list of them, which other packs give in several forms.

    Raises:
        BadInput: one of them is not such a number, there is none, or there are too many.
    """
    if isinstance(value, Tensor):
        require_plain(name, value, "a list of numbers is needed", "Look at the node that makes it")
    every: Any = value.tolist() if isinstance(value, numpy.ndarray | Tensor) else value
    if not isinstance(every, list | tuple):
        return within(name, every, low, high)
    if not 0 < len(every) <= limits.LISTED_NUMBERS:
        raise BadInput(
            f"{name} is a list of {len(every):,} numbers",
            f"1 to {limits.LISTED_NUMBERS:,} are needed, one for each picture or step",
            "Look at the node that makes the list",
        )
    return tuple(
        within(f"number {place} of {name}", one, low, high) for place, one in enumerate(every, 1)
    )


def whole(name: str, value: object, low: int, high: int) -> int:
    """The same for whole numbers.

    Raises:
        BadInput: it is another number or none.
    """
    number = within(name, value, low, high)
    if isinstance(value, Integral):  # a large one has no float of its own
        return int(value)
    if number.is_integer():
        return int(number)
    raise BadInput(f"{name} is {number:g}", "a whole number is needed", f"Enter {round(number)}")


def switch(name: str, value: object) -> bool:
    """The value, if it is yes or no.

    Raises:
        BadInput: it is something else.
    """
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise BadInput(f"{name} is {shown(value)}", "true or false is needed", "Choose one of them")


def text(name: str, value: object) -> str:
    """The value, if it is text.

    Raises:
        BadInput: it is something else.
    """
    if isinstance(value, str):
        return value
    found = f"{name} is {shown(value)}"
    raise BadInput(found, "text is needed", "Type it, or connect a node that gives text")


def listed(name: str, value: object, options: Sequence[str]) -> str:
    """The value, if it is one of some words.

    Raises:
        BadInput: it is not.
    """
    if isinstance(value, str) and value in options:
        return value
    raise BadInput(
        f"{name} is {shown(value)}",
        f"{', '.join(options)} are known",
        f"Choose {next(iter(options), 'another')}",
    )


def chosen(name: str, value: object, kind: type[Choice]) -> Choice:
    """The member of an enum of texts.

    Raises:
        BadInput: there is none of this value.
    """
    return kind(listed(name, value, [member.value for member in kind]))


_MOST = 1e6
_LONGEST = 1_000_000  # characters, for 50,000 frames with all digits
_SHOWN_OF_A_VALUE, _SHOWN_OF_A_NAME = 40, 200


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
        raise BadInput(
            f"{name} is {shown(text)}",
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
        raise no_link(name, value, source)


def no_link(name: str, value: object, source: str) -> BadInput:
    """What to say of a value that does not come from the nodes a socket is for."""
    return BadInput(
        f"{name} is {shown(value)}",
        f"a link from {source} is needed",
        f"Connect {source}",
    )


def only_known(node: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse inputs that a node does not have.

    Raises:
        BadInput: there is one.
    """
    names = list(known)
    if (unknown := next((name for name in given if name not in names), None)) is not None:
        raise BadInput(
            f"{node} has no input called {shown(unknown)}",
            f"only {', '.join(names)} can be connected" if names else "it has none at all",
            "Take out that link, or give it the name of the input that is meant",
        )


_OVERSHOOT = 1.0
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def is_finite(tensor: Tensor) -> bool:
    """Whether all values of a tensor with any are numbers, without a copy of it."""
    return all(math.isfinite(float(bound)) for bound in torch.aminmax(tensor))


def require_pixels(name: str, pixels: Tensor, needed: str, action: str) -> None:
    """Refuse what are no finite numbers made for 0 to 1, e.g. pixels up to 255.

    Raises:
        BadInput: they are not.
    """
    require_plain(name, pixels, needed, action)
    low, high = (float(bound) for bound in torch.aminmax(pixels.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise BadInput(f"{name} holds values that are not finite", needed, action)
    # Sharp filters overshoot by less than that; greys of 8 bits do not stay below.
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise BadInput(
            f"{name} holds values from {low:g} to {high:g}",
            needed,
            "Divide it by its greatest value, e.g. by 255",
        )


def require_plain(name: str, tensor: Tensor, needed: str, action: str) -> None:
    """Refuse what holds no numbers, or holds them in another way than side by side.

    Raises:
        BadInput: it does.
    """
    plain = tensor.layout is torch.strided and not tensor.is_meta
    if not plain or tensor.dtype not in (*_FLOATS, *_WHOLE):
        kind = f"{tensor.layout} {tensor.dtype} on {tensor.device}".replace("torch.", "")
        raise BadInput(f"{name} holds numbers of another kind ({kind})", needed, action)


def require_some(name: str, tensor: Tensor) -> None:
    """Refuse a tensor without anything in it.

    Raises:
        BadInput: it is one.
    """
    if not tensor.numel():
        raise BadInput(
            f"{name} is {shown(tensor)}, and so nothing",
            "one number or more is needed",
            "Check the node that makes it",
        )


def shown(value: object) -> str:
    """What a value is, as a sentence for whoever wires shows it, in one line and never long."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        words = value if len(value) <= _SHOWN_OF_A_VALUE else f"{value[:_SHOWN_OF_A_VALUE]} ..."
        return f'"{words}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | complex):
        return str(value)[:_SHOWN_OF_A_VALUE]
    if isinstance(value, Tensor):
        return f"numbers of shape {sides(value.shape)}"
    if isinstance(value, dict):
        sort = "a LATENT" if "samples" in value else "a table"
        return f"{sort} of {len(value)} {'entry' if len(value) == 1 else 'entries'}"
    if isinstance(value, list | tuple) and type(value).__name__ in ("list", "tuple"):
        return f"a list of {len(value)}"
    name = type(value).__name__
    called = next((known for word, known in _KNOWN.items() if word in name), "")
    return called or f"another thing ({name})"


_KNOWN = {
    "ModelPatcher": "a MODEL",
    "ClipVision": "a CLIP_VISION",
    "CLIP": "a CLIP",
    "VAE": "a VAE",
    "ControlNet": "a CONTROL_NET",
    "Adapter": "an adapter",
    "Features": "embeds",
    "Regions": "embeds of Regions",
    "Weights": "block weights",
    "Face": "face models",
}
"""What objects of ComfyUI and of this pack are called on sockets, by a part of their class."""


def one_line(name: object) -> str:
    """What somebody sent as the name of a file, in one line and not without end."""
    if not isinstance(name, str):
        return shown(name)
    return f'"{name[:_SHOWN_OF_A_NAME]}"'


def sides(shape: Iterable[int]) -> str:
    """A shape as people write it, e.g. "257 x 1280"."""
    return " x ".join(map(str, shape)) or "1"
