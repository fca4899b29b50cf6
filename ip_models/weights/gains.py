"""Factors of the scale: for each layer, at each step and in each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..layer import Layer
from .schedule import Ramp


class Gain(NamedTuple):
    """What one cross-attention layer makes of a reference.

    Attributes:
        factor: multiplied with the scale.
        swapped: uncond gets the image tokens of cond, and cond gets no reference, so that guidance
            pushes away from it.
    """

    factor: float = 1.0
    swapped: bool = False


class BlockRule(Protocol):
    """A gain for each layer, worked out once the model is known."""

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
        """Gains in the order of `layers`, for one of several masked references.

        Args:
            layers: all layers of the model.
            reference: which of the references, from 0.
            references: how many there are.

        Raises:
            BadInput: the rule names a block this model does not have.
        """
        ...


@dataclass(frozen=True)
class Weights:
    """A product of rules; with none of them every layer has the full scale.

    Attributes:
        blocks: factors for layers.
        steps: factors over the steps of a run.
        frames: factors over the pictures of a batch.
    """

    blocks: tuple[BlockRule, ...] = ()
    steps: tuple[Ramp, ...] = ()
    frames: tuple[Ramp, ...] = ()

    def times(self, other: Weights) -> Weights:
        """Both at once: factors multiply, and what either swaps is swapped."""
        return Weights(
            self.blocks + other.blocks, self.steps + other.steps, self.frames + other.frames
        )

    def gains(self, layers: Sequence[Layer], reference: int = 0, references: int = 1) -> list[Gain]:
        """The gain of each layer, see `BlockRule.gains`."""
        product = [Gain()] * len(layers)
        for rule in self.blocks:
            more = rule.gains(layers, reference, references)
            product = [
                Gain(one.factor * other.factor, one.swapped or other.swapped)
                for one, other in zip(product, more, strict=True)
            ]
        return product


EVERYWHERE = Weights()
