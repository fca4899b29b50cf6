"""Values that come to an old node, by a link or from the code of another pack."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

from ....ip_models.errors import BadInput
from ....ip_models.inputs import only_known, shown, text


def checked(run: Callable[..., Any]) -> Callable[..., Any]:
    """A method that runs only with numbers and texts where its node has such widgets."""
    signature = inspect.signature(run)
    names = [one.name for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    takes_any = len(names) < len(signature.parameters)

    @functools.wraps(run)
    def method(node: Any, *args: Any, **kwargs: Any) -> Any:
        only_known(type(node).__name__, kwargs, kwargs if takes_any else names[1:])
        bound = signature.bind(node, *args, **kwargs)
        groups: dict[str, dict[str, Any]] = node.INPUT_TYPES()
        specs = {name: spec for group in groups.values() for name, spec in group.items()}
        for name, value in bound.arguments.items():
            default = signature.parameters[name].default
            if name in specs and value is not default and isinstance(specs[name][0], str):
                bound.arguments[name] = _right(specs[name], name, value)
        return run(*bound.args, **bound.kwargs)

    return method


def _right(spec: Any, name: str, value: Any) -> Any:
    """The value, if it is what a widget of this sort holds; lists count for each picture.

    Raises:
        BadInput: it is not.
    """
    sort = spec[0]
    if sort == "STRING":
        return text(name, value)
    if sort not in ("FLOAT", "INT"):
        return value
    if sort == "FLOAT" and isinstance(value, list | tuple) and value:
        return [_number(spec, name, one) for one in value]
    number = _number(spec, name, value)
    return number if sort == "FLOAT" else int(number)


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
