"""References as they ride on a MODEL: frozen, stacked, resolved once for each model call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .keyvalue import KeyValues
from .layers import LayerAddress
from .masks import RegionMask
from .schedule import SigmaWindow


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """One adapter with its references, ready for attention.

    Attributes:
        key_values: with the scale folded into the values.
        positions: place in `key_values` of each layer that is heard.
        window: None for the whole run.
        mask: None for the whole picture.
        label: what to call it in messages.
    """

    key_values: KeyValues
    positions: Mapping[LayerAddress, int]
    window: SigmaWindow | None
    mask: RegionMask | None
    label: str

    def release(self) -> None:
        """Drop copies made for a run."""
        self.key_values.release()
        if self.mask is not None:
            self.mask.release()


@dataclass(frozen=True, eq=False)
class ActivePrompts:
    """What one model call needs to know, resolved once before its first layer.

    Attributes:
        prompts: those whose window is open.
        rows: polarity of each part of the batch.
    """

    prompts: tuple[ImagePrompt, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PromptStack:
    """All image prompts of a MODEL, in the order in which they were applied."""

    prompts: tuple[ImagePrompt, ...] = ()

    def add(self, prompt: ImagePrompt) -> PromptStack:
        """A new stack with one prompt more."""
        return PromptStack((*self.prompts, prompt))

    @property
    def windowed(self) -> bool:
        """Whether the noise level has to be known to tell who is heard."""
        return any(prompt.window is not None for prompt in self.prompts)

    def at(self, sigma: float | None, rows: tuple[int, ...]) -> ActivePrompts:
        """The prompts heard at a noise level, which may be None unless `windowed`."""
        heard = (
            prompt
            for prompt in self.prompts
            if prompt.window is None or sigma is None or prompt.window.contains(sigma)
        )
        return ActivePrompts(tuple(heard), rows)

    def cleanup(self) -> None:
        """Called by the host after each sampling run."""
        for prompt in self.prompts:
            prompt.release()
