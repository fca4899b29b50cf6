"""The prompts of a region: heard inside its mask only, and joined with those before it."""

from __future__ import annotations

from typing import Any

import node_helpers
from torch import Tensor

from ..protocols import Conditioning


def masked(conditioning: Conditioning, mask: Tensor | None) -> Conditioning:
    """As the host's Conditioning (Set Mask) does it."""
    if mask is None:
        return conditioning
    planes = mask if mask.ndim > 2 else mask[None]
    values: dict[str, Any] = {
        "mask": planes,
        "set_area_to_bounds": False,
        "mask_strength": 1.0,
    }
    return node_helpers.conditioning_set_values(conditioning, values)


def joined(before: Conditioning | None, own: Conditioning) -> Conditioning:
    """As the host's Conditioning (Combine) does it."""
    return [*(before or []), *own]
