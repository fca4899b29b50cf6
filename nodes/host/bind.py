"""References that only one conditioning hears."""

from __future__ import annotations

from typing import Any

import node_helpers

from .conditions import BINDINGS


def mark(conditioning: Any, binding: object) -> Any:
    """A new CONDITIONING whose prompts hear what was applied with this binding."""
    return [
        part
        for one in conditioning
        for part in node_helpers.conditioning_set_values(
            [one], {BINDINGS: (*one[1].get(BINDINGS, ()), binding)}
        )
    ]
