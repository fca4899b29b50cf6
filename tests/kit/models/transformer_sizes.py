"""How many blocks a transformer has and how wide they are, without ComfyUI and diffusers."""

from __future__ import annotations

from dataclasses import dataclass

CONTEXT = 96
FLUX_HEAD, SD3_HEAD = 128, 64


@dataclass(frozen=True)
class Sizes:
    """Of a model of a family: "flux", "chroma" or "sd3", whose blocks count as double ones."""

    family: str
    heads: int
    doubles: int
    singles: int

    @property
    def head(self) -> int:
        """Channels of one head."""
        return SD3_HEAD if self.family == "sd3" else FLUX_HEAD

    @property
    def hidden(self) -> int:
        """Channels of all heads."""
        return self.heads * self.head

    @property
    def blocks(self) -> int:
        """All blocks; those of SD3.5 count as double ones."""
        return self.doubles + self.singles

    @property
    def deep(self) -> bool:
        """Whether it has as many blocks as the published model."""
        return self.blocks > 30
