"""During which steps a reference is heard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SigmaWindow:
    """Noise levels from `start` down to `end`, both included."""

    start: float
    end: float

    def contains(self, sigma: float) -> bool:
        """Whether a step at this noise level lies in the window."""
        return self.end <= sigma <= self.start
