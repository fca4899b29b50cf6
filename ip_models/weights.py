"""How loud each block hears the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .layers import LayerAddress


@dataclass(frozen=True)
class BlockWeights:
    """A factor for each block, multiplied with the adapter's scale.

    Attributes:
        by_block: e.g. {("middle", 0): 1.0, ("output", 4): 0.5}.
        default: factor of every block that is not listed; diffusers' rule is 0.
    """

    by_block: Mapping[tuple[str, int], float] = field(default_factory=dict[tuple[str, int], float])
    default: float = 0.0

    def at(self, address: LayerAddress) -> float:
        """Factor of one layer."""
        return self.by_block.get((address.block, address.number), self.default)


EVERYWHERE = BlockWeights(default=1.0)
