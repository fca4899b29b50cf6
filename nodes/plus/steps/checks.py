"""Values that come to an old node, by a link or from the code of another pack."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ....ip_models.errors import BadInput
from ....ip_models.inputs import (
    only_known,
    require,
    require_plain,
    require_some,
    shown,
    switch,
    text,
)
from ...host.server import telling


def checked(run: Callable[..., Any]) -> Callable[..., Any]:
    """A method that runs only with what the inputs of its node are for."""
    signature = inspect.signature(run)
    own, *names = [one.name for one in signature.parameters.values() if one.kind != one.VAR_KEYWORD]
    takes_any = len(names) + 1 < len(signature.parameters)

    @telling
    @functools.wraps(run)
    def method(node: Any, /, *args: Any, **kwargs: Any) -> Any:
        known = [name for name in kwargs if name != own] if takes_any else names
        only_known(type(node).__name__, kwargs, known)
        bound = signature.bind(node, *args, **kwargs)
        groups: dict[str, dict[str, Any]] = node.INPUT_TYPES()
        specs = {name: spec for group in groups.values() for name, spec in group.items()}
        for name, value in bound.arguments.items():
            default = signature.parameters[name].default
            if name in specs and value is not default:
                bound.arguments[name] = _right(specs[name], name, value)
        return run(*bound.args, **bound.kwargs)

    return method


def _right(spec: Any, name: str, value: Any) -> Any:
    """The value, if it is what an input of this sort takes; lists of weights, one a picture.

    Raises:
        BadInput: it is not.
    """
    sort = spec[0]
    if isinstance(sort, list) and isinstance(value, str | int | float):
        return value  # which of them there are is for the node to know
    if sort == "STRING" or isinstance(sort, list):
        return text(name, value)
    if sort == "BOOLEAN":
        return switch(name, value)
    if sort in _TENSORS:
        require(name, value, Tensor, _TENSORS[sort])
        require_plain(name, value, "plain numbers are needed", f"Connect {_TENSORS[sort]}")
        require_some(name, value)
    if sort not in ("FLOAT", "INT"):
        return value
    if sort == "FLOAT" and "weight" in name and isinstance(value, list | tuple) and value:
        return [_number(spec, name, one) for one in value]
    number = _number(spec, name, value)
    return number if sort == "FLOAT" else int(number)


_TENSORS = {
    "IMAGE": "a node with an IMAGE",
    "MASK": "a node with a MASK",
    "EMBEDS": "IPAdapter Encoder",
}


def _number(spec: Any, name: str, value: Any) -> float:
    """Ranges are for those who type; that pack took what programs sent."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isfinite(number):
        return number
    default = spec[1].get("default", 0) if len(spec) > 1 else 0
    raise BadInput(f"{name} is {shown(value)}", "a finite number is needed", f"Enter {default}")
