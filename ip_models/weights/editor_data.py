"""What the editor draws of weights and schedules: what the nodes make of them, or why nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypedDict

from .. import limits
from ..errors import BadInput
from ..inputs import chosen, numbers_within, parse_numbers, whole, within
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
from .timing import TO_THE_END, Repeat, Timing
from .vocabulary import Outline, Vocabulary

CUSTOM = "custom"
"""The preset that stands for weights written as text."""

RANDOM = "random"
"""The curve that stands for random numbers."""

FACTOR_RANGE = (-5.0, 5.0)
"""What a factor entered as a number may be."""

MOST_PLACES = limits.LISTED_NUMBERS
LARGEST_SEED = 2**64 - 1
DEFAULTS = {"first_frame": 0, "last_frame": TO_THE_END, "lead_in": 0, "lead_out": 0, "length": 0}
"""Of the whole numbers of a schedule; less they may not be."""

_SAMPLES, _MOST_SAMPLES = 33, 400
_ZERO = AllLayers(0.0)

Question = Mapping[str, object]
"""Values of a node's widgets by name, as they come over the network."""


class KnownBlocks(TypedDict):
    """See `Known`."""

    word: str
    numbers: list[int]
    source: str
    finder: str


class DrawnWeights(TransformerFactors):
    """What a rule gives to the transformers of a family of models.

    Attributes:
        side, parts: the family itself, see `Outline` and `TransformerInfo`.
        known: what was found about its transformers.
        references: with more than one, the factors are those of the first.
        wrong: why all factors are 0, or nothing.
    """

    side: int
    parts: list[TransformerInfo]
    known: list[KnownBlocks]
    references: int
    wrong: str


class Stretch(TypedDict, total=False):
    """What is drawn where it matters how many steps or frames there are, and of the other output.

    Attributes:
        count: steps or frames from the first sample to the last.
        other: samples, or values, of the reference that is loud where this one is not.
    """

    count: int
    other: list[float]


class DrawnSchedule(Stretch):
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
        known=[
            KnownBlocks(word=w, numbers=list(n), source=s, finder=f) for w, n, s, f in family.known
        ],
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


def ramp(question: Question) -> Ramp:
    """What the inputs of Schedule say.

    Raises:
        BadInput: one of them is wrong.
    """
    curve = question.get("curve")
    listed = tuple(parse_numbers(str(question.get("values") or ""), "values"))
    start = numbers_within("start", question.get("start"), *FACTOR_RANGE)
    if isinstance(start, tuple):
        start, listed = start[0], start
    names = ("first_frame", "last_frame", "lead_in", "lead_out", "length")
    first, last, lead_in, lead_out, length = (
        whole(name, question.get(name, DEFAULTS[name]), DEFAULTS[name], MOST_PLACES)
        for name in names
    )
    repeat = chosen("repeat", question.get("repeat", Repeat.ONCE.value), Repeat)
    return Ramp(
        start,
        within("end", question.get("end"), *FACTOR_RANGE),
        Curve.LINEAR if curve == RANDOM else chosen("curve", curve, Curve),
        listed,
        _seed(question) if curve == RANDOM else None,
        Timing(first, last, lead_in, lead_out, repeat, length),
    )


def _seed(question: Question) -> int:
    return whole("random_seed", question.get("random_seed", 0), 0, LARGEST_SEED)


def drawn_schedule(question: Question) -> DrawnSchedule:
    """What the widgets of Schedule say."""
    try:
        this = ramp(question)
    except BadInput as error:
        return DrawnSchedule(values=[], samples=[], wrong=str(error))
    drawn = _listed(this) if this.values and not this.shown else _sampled(this)
    if question.get("other"):
        other = replace(this, mirrored=True)
        drawn["other"] = _listed(other)["values"] if drawn["values"] else _sampled(other)["samples"]
    return drawn


def _listed(this: Ramp) -> DrawnSchedule:
    count = len(this.values)
    values = [this.at(place, count) for place in range(count)]
    return DrawnSchedule(values=values, samples=[], wrong="")


def _sampled(this: Ramp) -> DrawnSchedule:
    """At a few places, of a run of some length where that matters."""
    count = this.shown or _SAMPLES
    places = min(count, _MOST_SAMPLES)
    samples = [this.at(place * count // places, count) for place in range(places)]
    drawn = DrawnSchedule(values=[], samples=samples, wrong="")
    if this.shown:
        drawn["count"] = count
    return drawn
