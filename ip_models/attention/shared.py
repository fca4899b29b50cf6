"""What may be shared by all copies of a MODEL or of a conditioning."""

from __future__ import annotations

from typing import TypeVar

Self = TypeVar("Self", bound="Shared")


class Shared:
    """An object that does not change, so that it is its own copy.

    Packs deep-copy the options of a MODEL, also in the middle of a run. Keys, masks and what was
    made for a device are then neither copied nor lost.
    """

    def __deepcopy__(self: Self, memo: object) -> Self:
        return self
