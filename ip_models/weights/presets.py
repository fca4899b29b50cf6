"""Named gains for the blocks of a model: the weight types users know, and InstantStyle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import BadInput
from ..layer import Layer, stacks
from .gains import BlockRule, Gain
from .vocabulary import Group, Layout, Vocabulary, blocks_of

_FLOOR = 0.05
_LARGEST = 1e6

# x runs from 0 at the first transformer towards 1, which would be one past the last; names and
# numbers as in ComfyUI_IPAdapter_plus.
_CURVES: dict[str, Callable[[float], float]] = {
    "linear": lambda x: 1.0,
    "ease in": lambda x: _above_floor(1 - x),
    "ease out": lambda x: _above_floor(x),
    "ease in-out": lambda x: _above_floor(1 - abs(2 * x - 1)),
    "reverse in-out": lambda x: _above_floor(abs(2 * x - 1)),
}


def names(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Names that `preset` knows, in the order in which to offer them."""
    return (*_CURVES, *vocabulary.presets)


@dataclass(frozen=True)
class AlongCurve:
    """Gains from the first transformer to the last, whatever the model is."""

    name: str

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
        """See `BlockRule.gains`; all references have the same gains."""
        curve, found = _CURVES[self.name], stacks(layers)
        gains = [Gain(curve(number / len(found))) for number in range(len(found))]
        return _of_layers(layers, dict(enumerate(gains)))


@dataclass(frozen=True)
class ByStage:
    """A factor for each part of the model.

    Attributes:
        factors: for each `Layer.stage`.
    """

    name: str
    factors: tuple[tuple[str, float], ...]

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
        """See `BlockRule.gains`; all references have the same gains.

        Raises:
            BadInput: the model has other parts.
        """
        factors = dict(self.factors)
        stages = sorted({layer.stage for layer in layers})
        if not factors.keys() >= set(stages):
            raise _other_model(
                self.name,
                f"the blocks {', '.join(stages)}",
                f"the blocks {', '.join(sorted(factors))}",
            )
        return [Gain(factors[layer.stage]) for layer in layers]


@dataclass(frozen=True)
class Listed:
    """Gains by the numbers of transformers, relative to the adapter's scale.

    Attributes:
        composition: factor of the composition blocks where a preset weighs them by themselves.
        boost: factor of the layers that push away from the reference.
    """

    name: str
    layouts: tuple[tuple[Layout, tuple[Group, ...]], ...]
    composition: float
    boost: float

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
        """See `BlockRule.gains`; all references have the same gains.

        Raises:
            BadInput: the preset lists transformers of other models than this one.
        """
        blocks = blocks_of(layers)
        for layout, groups in self.layouts:
            if layout.blocks == blocks:
                return _of_layers(layers, self._gains(groups))
        known = (f"{len(layout.blocks)} ({layout.whose})" for layout, _ in self.layouts)
        raise _other_model(self.name, f"{len(blocks)} transformers", " or ".join(known))

    def _gains(self, groups: tuple[Group, ...]) -> dict[int, Gain]:
        knobs = {"weight": 1.0, "composition": self.composition, "boost": self.boost}
        return {
            number: Gain(group.times * knobs[group.knob], group.swapped)
            for group in groups
            for number in group.numbers
        }


def preset(
    name: str, vocabulary: Vocabulary, composition: float = 1.0, boost: float = 1.0
) -> BlockRule:
    """The gains of a preset.

    Raises:
        BadInput: there is no preset of this name, or a factor is not finite.
    """
    for knob, factor in (("composition", composition), ("boost", boost)):
        if not abs(factor) <= _LARGEST:
            raise BadInput(f"{knob} is {factor}", "a finite number is needed", "Enter 1.0")
    if name in _CURVES:
        return AlongCurve(name)
    if name in vocabulary.by_stage:
        return ByStage(name, tuple(vocabulary.by_stage[name].items()))
    if name in vocabulary.by_number:
        return Listed(name, tuple(vocabulary.by_number[name].items()), composition, boost)
    raise BadInput(
        f'"{name[:60]}" is not a preset',
        f"the presets are {', '.join(names(vocabulary))}",
        "Choose one",
    )


def _above_floor(share: float) -> float:
    return _FLOOR + (1 - _FLOOR) * share


def _of_layers(layers: Sequence[Layer], gains: dict[int, Gain]) -> list[Gain]:
    """Those of the transformers; others have a factor of 0."""
    gain_of = {
        layer: gains.get(number, Gain(0.0))
        for number, stack in enumerate(stacks(layers))
        for layer in stack
    }
    return [gain_of[layer] for layer in layers]


def _other_model(name: str, found: str, needed: str) -> BadInput:
    return BadInput(
        f'the preset "{name}" was chosen and this model has {found}',
        f"the preset is for models that have {needed}",
        "Choose a curve like linear or ease in, which fits every model, or custom block weights",
    )
