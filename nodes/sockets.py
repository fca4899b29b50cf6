"""Socket types of the pack and the inputs that several nodes share."""

from __future__ import annotations

from comfy_api.latest import io

Adapter = io.Custom("IP_ADAPTER")
Embeds = io.Custom("IPA_EMBEDS")
Weights = io.Custom("IPA_WEIGHTS")

CATEGORY = "ipadapter"


def scale_input() -> io.Float.Input:
    """How loud the reference is."""
    return io.Float.Input(
        "scale",
        default=1.0,
        min=-5.0,
        max=5.0,
        step=0.05,
        tooltip="Weight of the reference. 0 turns it off, 1 is what the adapter was trained with, "
        "0.5 to 0.8 leaves more room to the prompt, negative values push away from it.",
    )


def percent_input(name: str, default: float, what: str) -> io.Float.Input:
    """A point of the run as a share of its steps."""
    return io.Float.Input(
        name,
        default=default,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip=f"Part of the run, from 0 (first step) to 1 (last step), at which {what}.",
    )
