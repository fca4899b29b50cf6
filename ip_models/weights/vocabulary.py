"""What a kind of diffusion model brings to block weights: names, presets, outlines to draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from ..layer import Layer, stacks

Key = TypeVar("Key")
Value = TypeVar("Value")


class Stage(NamedTuple):
    """A key of the scale that diffusers' `set_ip_adapter_scale` takes.

    Attributes:
        divided: whether it has blocks inside, called block_0 and so on.
        single: whether it is one transformer in every model.
    """

    name: str
    divided: bool = False
    single: bool = False


class Group(NamedTuple):
    """Transformers of one gain, by ComfyUI's `transformer_index`."""

    numbers: tuple[int, ...]
    knob: Literal["weight", "composition", "boost"] = "weight"
    times: float = 1.0
    swapped: bool = False


class Layout(NamedTuple):
    """Models whose transformers have the same numbers.

    Attributes:
        whose: the families as users know them.
        blocks: name of the block of each transformer, in the order in which they run.
    """

    whose: str
    blocks: tuple[str, ...]


class Known(NamedTuple):
    """What some transformers of a family were found to carry.

    Attributes:
        word: one for the user, e.g. "style".
        source: who found it, in a sentence's words.
        finder: the same as a name.
    """

    word: str
    numbers: tuple[int, ...]
    source: str
    finder: str


class Outline(NamedTuple):
    """A family of models, as the editor draws it.

    Attributes:
        side: in pixels, of the pictures these models are made for.
    """

    name: str
    side: int
    layers: tuple[Layer, ...]
    known: tuple[Known, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """The words for one kind of model.

    Attributes:
        stages: keys of the scale.
        scale, block: examples of a scale, for sentences.
        by_stage: presets with a factor for each `Layer.stage`.
        by_number: presets that list transformers; those in no group get a factor of 0.
        outlines: families to draw, that of masks without a MODEL first.
        order: names of the presets in the order in which to offer them, empty for the one above.
    """

    stages: tuple[Stage, ...]
    scale: str
    block: str
    by_stage: Mapping[str, Mapping[str, float]]
    by_number: Mapping[str, Mapping[Layout, tuple[Group, ...]]]
    outlines: tuple[Outline, ...]
    order: tuple[str, ...] = ()

    @property
    def presets(self) -> tuple[str, ...]:
        """Names of the presets in the order in which to offer them."""
        return self.order or (*self.by_stage, *self.by_number)

    def joined(self, other: Vocabulary) -> Vocabulary:
        """Both; a preset of one name serves the models of either, and new names come last."""
        return Vocabulary(
            self.stages + other.stages,
            f"{self.scale} or like {other.scale}",
            f"{self.block} or like {other.block}",
            _joined(self.by_stage, other.by_stage),
            _joined(self.by_number, other.by_number),
            self.outlines + other.outlines,
            tuple(dict.fromkeys(self.presets + other.presets)),
        )


def blocks_of(layers: Iterable[Layer]) -> tuple[str, ...]:
    """See `Layout.blocks`."""
    return tuple(stack[0].block for stack in stacks(layers))


def _joined(
    one: Mapping[str, Mapping[Key, Value]], other: Mapping[str, Mapping[Key, Value]]
) -> dict[str, dict[Key, Value]]:
    return {name: {**one.get(name, {}), **other.get(name, {})} for name in {**one, **other}}
