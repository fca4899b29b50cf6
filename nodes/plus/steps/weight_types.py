"""The weight types of old nodes: layers, and the weight that each set of them has by itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ....ip_models.errors import BadInput
from ....ip_models.inputs import shown, text
from ....ip_models.layer import Layer, stacks
from ....ip_models.weights.block_rules import NumberedLayers
from ....ip_models.weights.gains import BlockRule, Gain
from ....ip_models.weights.presets import Listed, names, preset
from ...host.model.backbones.layers import VOCABULARY
from ..migrate.rules import TEXTS

log = logging.getLogger("ipadapter")

Weight = float | Sequence[float]
"""One weight, or one for each picture of a batch."""

_LARGEST = 1e6
STYLE_PRECISE, COMPOSITION_PRECISE = "style transfer precise", "composition precise"
STYLE_AND_COMPOSITION = "style and composition"
STRONG_STYLE_AND_COMPOSITION = "strong style and composition"
_LINEAR = "linear"
# Texts that early versions of the same nodes offered, and packs that call these still send.
_EARLIER = {
    **TEXTS["weight_type"],
    "original": _LINEAR,  # version 1's, which said by it how weights are scaled
    "channel penalty": _LINEAR,
}


class Level(NamedTuple):
    """Layers that have a weight by themselves.

    Attributes:
        weight: absolute, whatever other layers have.
        composition: they hear the picture for the composition where there are two.
    """

    weight: Weight
    rule: BlockRule
    composition: bool = False


class Knobs(NamedTuple):
    """The numbers that a weight type weighs layers with.

    Attributes:
        weight: of the node.
        composition: of the layers for the composition.
        boost: of the layers that push away, None for the weight itself.
    """

    weight: Weight = 1.0
    composition: float = 1.0
    boost: float | None = None


@dataclass(frozen=True)
class _Only:
    """The layers of a preset that one of its knobs weighs.

    Attributes:
        knob: "weight", "composition" or "boost".
    """

    listed: Listed
    knob: str

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
        """See `BlockRule.gains`."""
        chosen = tuple(
            (layout, tuple(group for group in groups if group.knob == self.knob))
            for layout, groups in self.listed.layouts
        )
        only = Listed(self.listed.name, chosen, 1.0, 1.0)
        return only.gains(layers, reference, references)


@dataclass(frozen=True)
class _Existing:
    """Numbered transformers; those that a model does not have are left out.

    Attributes:
        pushed: name of the preset whose swapped layers are swapped here too, empty for none.
    """

    listed: NumberedLayers
    pushed: str

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
        """See `BlockRule.gains`."""
        count = len(stacks(layers))
        kept = tuple(entry for entry in self.listed.factors if 0 <= entry[0][0] < count)
        all_numbers = [number for (number, _), _ in self.listed.factors]
        if missing := [number for number in all_numbers if not 0 <= number < count]:
            log.warning(
                "layer_weights name %s; this model has %d transformers, from 0, and the rest of "
                "the text is used",
                ", ".join(map(str, missing)),
                count,
            )
        gains = NumberedLayers(kept).gains(layers, reference, references)
        if not self.pushed:
            return gains
        swaps = preset(self.pushed, VOCABULARY).gains(layers, reference, references)
        return [one._replace(swapped=swap.swapped) for one, swap in zip(gains, swaps, strict=True)]


@dataclass(frozen=True)
class WithoutMiddle:
    """Silence in the middle block."""

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
        """See `BlockRule.gains`."""
        return [Gain(0.0 if layer.stage == "middle" else 1.0) for layer in layers]


def levels(weight_type: str, knobs: Knobs, layer_weights: str | None = None) -> list[Level]:
    """Which layers have which weight.

    Args:
        layer_weights: "transformer:factor, ..." instead of the type; the layers that a precise
            type swaps stay swapped.

    Raises:
        BadInput: the text cannot be read.
    """
    weight_type = _known(text("weight_type", weight_type))
    if layer_weights:
        precise = weight_type in (STYLE_PRECISE, COMPOSITION_PRECISE)
        rule = _Existing(_written(layer_weights), weight_type if precise else "")
        return [Level(knobs.weight, rule)]
    rule = preset(weight_type, VOCABULARY)
    if not isinstance(rule, Listed):
        return [Level(knobs.weight, rule)]
    weights: dict[str, Weight] = {
        "weight": knobs.weight,
        "composition": knobs.composition,
        "boost": knobs.weight if knobs.boost is None else knobs.boost,
    }
    used = {group.knob for _, groups in rule.layouts for group in groups}
    return [
        Level(weight, _Only(rule, knob), knob == "composition")
        for knob, weight in weights.items()
        if knob in used
    ]


def _known(weight_type: str) -> str:
    """The type of a name; packs that call these nodes still have names of version 1."""
    weight_type = _EARLIER.get(weight_type, weight_type)
    if weight_type in names(VOCABULARY):
        return weight_type
    log.warning("weight_type %s is not known and taken for linear", shown(weight_type))
    return _LINEAR


def _written(layer_weights: str) -> NumberedLayers:
    """Factors by number; of a number that is named twice the last one counts."""
    factors: dict[tuple[int, int | None], float] = {}
    for entry in filter(str.strip, layer_weights.replace("\n", ",").split(",")):
        number, _, factor = entry.partition(":")
        try:
            factors[int(number), None] = float(factor)
        except ValueError:
            factors[0, None] = math.nan
        if not all(abs(one) <= _LARGEST for one in factors.values()):
            raise BadInput(
                f"layer_weights hold {shown(entry.strip())}",
                "a number, a colon and a finite factor are needed, like 3:0.5, 6:1",
                "Correct the text",
            )
    return NumberedLayers(tuple(factors.items()))


def first_or_all(weight: Any, per_picture: bool) -> Weight:
    """A weight as it came over the wire: lists count where each picture has its own.

    Raises:
        BadInput: it is no number and no list of numbers.
    """
    listed = isinstance(weight, list | tuple)
    values: Sequence[Any] = weight if listed else [weight]
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if not numbers:
        raise BadInput(
            f"weight is {str(weight)[:60]}",
            "a number, or a list of numbers with one for each picture, is needed",
            "Connect IPAdapter Weights, or enter a number",
        )
    return numbers if per_picture and listed else numbers[0]
