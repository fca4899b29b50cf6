"""The layers of a diffusion transformer: every block has one attention, and they run in a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..layer import Layer

DOUBLE, SINGLE, JOINT = "double", "single", "joint"


class BlockAddress(NamedTuple):
    """A block of a diffusion transformer.

    Attributes:
        kind: "double" or "single" (Flux, Chroma), "joint" (SD3.5).
        number: of the block among those of its kind, from 0.
        after: what is meant is the stream of the picture after the block, to which XLabs' adapters
            add, and not the attention before its output projection.
    """

    kind: str
    number: int
    after: bool = False


def layers_of_counts(counts: Iterable[tuple[str, int]], width: int) -> tuple[Layer, ...]:
    """All layers in the order in which they run, which is that of adapter files.

    Args:
        counts: how many blocks there are of each kind.
        width: of the queries. These adapters bring tokens of a width of their own, so that there is
            no context to compare.
    """
    addresses = [BlockAddress(kind, number) for kind, count in counts for number in range(count)]
    return tuple(
        Layer(address, width, 0, (place, 0), address.kind, address.kind, depth=1)
        for place, address in enumerate(addresses)
    )
