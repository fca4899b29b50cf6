"""Block weights that a user writes: numbers of transformers, or diffusers' scale as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ..errors import BadInput
from . import loose_json
from .block_rules import AllLayers, Level, NamedBlocks, NumberedLayers
from .gains import BlockRule
from .vocabulary import Stage, Vocabulary

_LARGEST = 1e6
_LONGEST = 100_000  # characters; factors of 50 references for all of SDXL are about 20,000
_LAST = 999  # transformer of a range; each one of a range is noted
# There is one way only to read a row of digits: with two, it takes the square of its length.
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_ENTRY = re.compile(rf"([0-9]{{1,9}})(?:\.([0-9]{{1,9}})|\s*-\s*([0-9]{{1,9}}))?\s*:\s*({_NUMBER})")
_BLOCK = re.compile(r"block_(0|[1-9][0-9]{0,8})")


class _Unreadable(Exception):
    """What is wrong with a text, before it is said how it is written."""


def parse_blocks(text: str, vocabulary: Vocabulary) -> BlockRule:
    """What a user wrote as block weights.

    Args:
        text: either entries `transformer:factor`, `first-last:factor` or
            `transformer.layer:factor`, separated by commas or new lines, or the scale that
            diffusers' `set_ip_adapter_scale` takes for one adapter, as JSON.

    Raises:
        BadInput: the text is wrong whatever the model is.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        raise BadInput(
            f"the text of the weights is {len(text):,} characters long",
            f"no more than {_LONGEST:,} are read",
            "Leave out what repeats itself",
        )
    forms = f"they are written like 0:1.0, 3:0.5, 4-9:0 or like {vocabulary.scale}"
    if not text.replace(",", " ").strip():
        raise BadInput("the block weights are empty", forms, "Write some, or choose a preset")
    try:
        if text[0] in "{[" or ":" not in text:
            return _from_scale(_parse_json(text), vocabulary)
        return _from_entries(text)
    except _Unreadable as error:
        raise BadInput(f"in the block weights {error}", forms, "Correct the text") from None


def _from_entries(text: str) -> NumberedLayers:
    factors: dict[tuple[int, int | None], float] = {}
    for entry in filter(None, map(str.strip, re.split(r"[,\n]", text))):
        match = _ENTRY.fullmatch(entry)
        if not match:
            raise _Unreadable(f"{_shown(entry)} is not an index, a colon and a number")
        number, layer, last, factor = match.groups()
        name = entry.split(":")[0].strip()
        for place in _range(int(number), int(last)) if last else (int(number),):
            key = place, int(layer) if layer else None
            if key in factors:
                raise _repeated(str(place) if last else name)
            factors[key] = _factor(float(factor), _shown(entry))
    return NumberedLayers(tuple(factors.items()))


def _range(first: int, last: int) -> range:
    """All transformers of a range, both ends included."""
    if first > last:
        raise BadInput(
            f"the text of the weights has the range {first}-{last}",
            "a range goes from the smaller number to the larger one",
            f"Write {last}-{first}",
        )
    if last > _LAST:
        raise BadInput(
            f"the text of the weights has the range {first}-{last}",
            f"a range ends at transformer {_LAST} or before, and no model has as many",
            "Write the number of this model's last transformer",
        )
    return range(first, last + 1)


def _parse_json(text: str) -> Any:
    try:
        return loose_json.read(text)
    except KeyError as twice:
        raise _repeated(_shown(twice.args[0])) from None
    except ValueError as error:
        raise _Unreadable(
            f"{_shown(text)} breaks off or has a wrong character at {error}"
        ) from None
    except RecursionError:
        raise _Unreadable(f"{_shown(text)} is nested too deeply") from None


def _from_scale(scale: Any, vocabulary: Vocabulary) -> BlockRule:
    if isinstance(scale, dict):
        return NamedBlocks(tuple(_named_levels(scale, vocabulary)))
    if not isinstance(scale, list):
        return AllLayers(_factor(scale, "the factor for all blocks"))
    entries: list[Any] = scale
    if len(entries) == 1:
        # One adapter in a list of adapters: diffusers takes the list to mean what is in it.
        inner = entries[0]
        whole = isinstance(inner, dict)
        if whole:
            return _from_scale(inner, vocabulary)
        return AllLayers(_level(inner, "the list for all blocks"))
    if any(isinstance(entry, dict | list) for entry in entries):
        raise BadInput(
            f"the block weights {_shown(entries)} are a list with an entry for each adapter",
            "one set of block weights belongs to one adapter",
            "Use one Apply node per adapter and write in each only its own entry, without the"
            " outer brackets",
        )
    return AllLayers(_level(entries, "the list for all blocks"))


def _named_levels(
    scale: dict[str, Any], vocabulary: Vocabulary
) -> Iterator[tuple[str, tuple[Level, ...]]]:
    stages = {stage.name: stage for stage in vocabulary.stages}
    for key, value in scale.items():
        if key not in stages:
            raise BadInput(
                f"the block weights have the key {_shown(key)}",
                f"the keys are {', '.join(stages)}",
                f"Name these or blocks inside them, like {vocabulary.block}",
            )
        if isinstance(value, dict) and stages[key].divided:
            yield from _inside(key, value)
        else:
            yield key, _of_stage(value, stages[key])


def _inside(stage: str, blocks: dict[str, Any]) -> Iterator[tuple[str, tuple[Level, ...]]]:
    for key, value in blocks.items():
        if not _BLOCK.fullmatch(key):
            raise _Unreadable(f"{_shown(key)} in {stage} is not block_0, block_1 or the like")
        yield f"{stage}.{key}", _levels(value, f"{stage}.{key}")


def _of_stage(value: Any, stage: Stage) -> tuple[Level, ...]:
    levels = _levels(value, stage.name)
    if stage.single and len(levels) > 1:
        raise BadInput(
            f"the block weights list {len(levels)} entries for {stage.name}",
            "this block has one transformer in every model",
            "Write one number, or [[0.7, 0.3]] for one factor for each masked reference",
        )
    return levels


def _levels(value: Any, where: str) -> tuple[Level, ...]:
    if not isinstance(value, list):
        return (_factor(value, where),)
    return tuple(_level(each, where) for each in _filled(value, where))


def _level(value: Any, where: str) -> Level:
    if not isinstance(value, list):
        return _factor(value, where)
    return tuple(_factor(each, where) for each in _filled(value, where))


def _filled(entries: list[Any], where: str) -> list[Any]:
    if not entries:
        raise _Unreadable(f"{where} is an empty list")
    return entries


def _factor(value: Any, where: str) -> float:
    if not isinstance(value, float):
        raise BadInput(
            f"{where} has {_shown(value)} in the block weights",
            "a number is needed there",
            "Write a number like 0.5",
        )
    # Also refuses what is not a number, because that is not smaller than anything.
    if not abs(value) <= _LARGEST:
        raise BadInput(
            f"{where} has the factor {value} in the block weights",
            "a factor is a finite number of a million at most, ordinarily between 0 and 1",
            "Write another number",
        )
    return value


def _repeated(name: str) -> BadInput:
    return BadInput(
        f"the block weights name {name} twice", "each can have one factor", "Remove one of the two"
    )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."
