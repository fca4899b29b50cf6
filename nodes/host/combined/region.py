"""The prompts of a region: heard inside its mask only, and joined with those before it."""

from __future__ import annotations

from torch import Tensor

from .. import protocols
from ..protocols import Conditioning


def masked(conditioning: Conditioning, mask: Tensor | None) -> Conditioning:
    """As the host's Conditioning (Set Mask) does it; as it is without a mask."""
    if mask is None:
        return conditioning
    return protocols.masked(conditioning, mask if mask.ndim > 2 else mask[None], 1.0)


def joined(before: Conditioning | None, own: Conditioning) -> Conditioning:
    """As the host's Conditioning (Combine) does it."""
    return [*(before or []), *own]
