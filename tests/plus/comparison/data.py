"""What a case of the comparison is made of: data only, so that both packs get the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Picture:
    """An IMAGE of random pixels of 8 bits.

    Attributes:
        fine: pixels are anything in 0..1.
    """

    count: int = 1
    height: int = 224
    width: int = 224
    seed: int = 1
    fine: bool = False

    def __str__(self) -> str:
        return f"{self.count}x{self.height}x{self.width}/{self.seed}{' fine' * self.fine}"


@dataclass(frozen=True)
class Mask:
    """A MASK.

    Attributes:
        kind: "half" plane, "soft" values, "wild" ones outside 0..1.
    """

    kind: str = "half"
    count: int = 1
    height: int = 128
    width: int = 192
    seed: int = 5

    def __str__(self) -> str:
        return f"{self.kind} {self.count}x{self.height}x{self.width}"


@dataclass(frozen=True)
class Prompt:
    """A CONDITIONING."""

    seed: int = 1

    def __str__(self) -> str:
        return f"prompt {self.seed}"


@dataclass(frozen=True)
class Rows:
    """EMBEDS of random rows; those of a plus adapter have a sequence."""

    count: int = 1
    hidden: bool = False
    seed: int = 6

    def __str__(self) -> str:
        return f"{self.count} rows{' hidden' * self.hidden}/{self.seed}"


@dataclass(frozen=True)
class Out:
    """A link to an output of another old node."""

    id: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    links: Mapping[str, Any] = field(default_factory=dict[str, Any])
    index: int = 0

    def __str__(self) -> str:
        return f"{self.index} of {self.id}({_listed({**self.settings, **self.links})})"


@dataclass(frozen=True)
class Case:
    """One old node, and what is linked to it, up to the UNet's output.

    What is not named has the node's own default; sockets that are not named get what the adapter
    needs.

    Attributes:
        id: of the node, as version 2 has it; see `contract.VERSION_1` for the others.
        settings: of its widgets.
        adapter: kind of adapter, with "v2" for FaceID plus v2.
        family: "sd1", "sdxl", or "kolors".
        links: what is linked to its sockets, or None for nothing.
        pipeline: the IPADAPTER is what a unified loader gives, with encoder and faces in it.
        ending: "unet" for one call of it, "three" for one with three prompts, "sampler" for a run.
        batch: pictures.
        size: height and width of the latent; the usual one is smaller for many layers.
        silent: nothing must be heard.
    """

    id: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    adapter: str = "standard"
    family: str = "sd1"
    links: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pipeline: bool = False
    ending: str = "unet"
    batch: int = 2
    size: tuple[int, int] | None = None
    silent: bool = False

    @property
    def latent(self) -> tuple[int, int]:
        """Height and width."""
        return self.size or ((16, 24) if self.family == "sd1" else (8, 12))

    def __str__(self) -> str:
        extra = [self.ending] if self.ending != "unet" else []
        extra += [f"batch {self.batch}"] if self.batch != 2 else []
        extra += [f"{self.size[0]}x{self.size[1]}"] if self.size else []
        extra += ["pipeline"] if self.pipeline else []
        what = _listed({**self.settings, **self.links})
        return " ".join([self.family, self.adapter, f"{self.id}({what})", *extra])


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
