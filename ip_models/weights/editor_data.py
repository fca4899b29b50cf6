"""What the editor draws of weights and schedules: what the nodes make of them, or why nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from ..errors import BadInput
from ..inputs import chosen, parse_numbers, within
from .block_rules import AllLayers, Level, NamedBlocks
from .block_weights import parse_blocks
from .gains import BlockRule
from .outline import (
    TransformerFactors,
    TransformerInfo,
    transformer_factors,
    transformer_infos,
)
from .presets import preset
from .schedule import Curve, Ramp
from .vocabulary import Outline, Vocabulary

CUSTOM = "custom"
"""The preset that stands for weights written as text."""

FACTOR_RANGE = (-5.0, 5.0)
"""What a factor entered as a number may be."""

_SAMPLES = 33
_ZERO = AllLayers(0.0)

Question = Mapping[str, object]
"""Values of a node's widgets by name, as they come over the network."""


class DrawnWeights(TransformerFactors):
    """What a rule gives to the transformers of a family of models.

    Attributes:
        side, parts: the family itself, see `Outline` and `TransformerInfo`.
        references: with more than one, the factors are those of the first.
        wrong: why all factors are 0, or nothing.
    """

    side: int
    parts: list[TransformerInfo]
    references: int
    wrong: str


class DrawnSchedule(TypedDict):
    """A factor over steps or frames.

    Attributes:
        values: one for each step or frame, if they are listed.
        samples: from the first step or frame to the last, if they are not.
        wrong: why there is neither, or nothing.
    """

    values: list[float]
    samples: list[float]
    wrong: str


def block_rule(
    name: str, text: str, composition: float, boost: float, vocabulary: Vocabulary
) -> BlockRule:
    """The rule of a preset, or of the text if the preset is `CUSTOM`.

    Raises:
        BadInput: the text is wrong whatever the model is, or there is no such preset.
    """
    if name == CUSTOM:
        return parse_blocks(text, vocabulary)
    return preset(name, vocabulary, composition, boost)


def drawn_weights(question: Question, vocabulary: Vocabulary) -> dict[str, DrawnWeights]:
    """What the widgets of Block Weights make of each family."""
    try:
        composition, boost = (
            within(knob, question.get(knob), *FACTOR_RANGE) for knob in ("composition", "boost")
        )
        name, text = str(question.get("preset")), str(question.get("weights") or "")
        rule = block_rule(name, text, composition, boost, vocabulary)
        references = _references(rule)
    except BadInput as error:
        wrong = str(error)
        return {family.name: _drawn(family, _ZERO, 1, wrong) for family in vocabulary.outlines}
    return {family.name: _fitted(family, rule, references) for family in vocabulary.outlines}


def _fitted(family: Outline, rule: BlockRule, references: int) -> DrawnWeights:
    try:
        return _drawn(family, rule, references, "")
    except BadInput as error:
        return _drawn(family, _ZERO, 1, str(error))


def _drawn(family: Outline, rule: BlockRule, references: int, wrong: str) -> DrawnWeights:
    return DrawnWeights(
        **transformer_factors(rule, family, references),
        side=family.side,
        parts=transformer_infos(family),
        references=references,
        wrong=wrong,
    )


def _references(rule: BlockRule) -> int:
    """For how many masked references the lists of a rule are."""
    levels: tuple[Level, ...] = ()
    if isinstance(rule, AllLayers):
        levels = (rule.level,)
    elif isinstance(rule, NamedBlocks):
        levels = tuple(level for _, named in rule.levels for level in named)
    counts = sorted({len(level) for level in levels if isinstance(level, tuple)})
    if len(counts) > 1:
        raise BadInput(
            f"some lists have {', others '.join(map(str, counts))} factors",
            "each has one factor for each masked reference",
            "Make all lists as long as there are references",
        )
    return counts[0] if counts else 1


def drawn_schedule(question: Question) -> DrawnSchedule:
    """What the widgets of Schedule say."""
    try:
        ramp = Ramp(
            within("start", question.get("start"), *FACTOR_RANGE),
            within("end", question.get("end"), *FACTOR_RANGE),
            chosen("curve", question.get("curve"), Curve),
            tuple(parse_numbers(str(question.get("values") or ""), "values")),
        )
    except BadInput as error:
        return DrawnSchedule(values=[], samples=[], wrong=str(error))
    if ramp.values:
        return DrawnSchedule(values=list(ramp.values), samples=[], wrong="")
    samples = [ramp.at(place, _SAMPLES) for place in range(_SAMPLES)]
    return DrawnSchedule(values=[], samples=samples, wrong="")
