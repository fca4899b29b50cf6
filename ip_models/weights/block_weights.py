"""Block weights that a user writes: numbers of transformers, or diffusers' scale as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import BadInput
from ..layer_address import LayerAddress, transformers
from . import loose_json
from .gains import BlockRule, Gain

Level = float | tuple[float, ...]
"""One factor, or one for each masked reference."""

_LARGEST = 1e6
_LONGEST = 100_000  # characters; factors of 50 references for all of SDXL are about 20,000
_FORMS = 'they are written like 0:1.0, 3:0.5 or like {"up": {"block_0": [0, 1, 0]}}'
# There is one way only to read a row of digits: with two, it takes the square of its length.
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_ENTRY = re.compile(rf"([0-9]{{1,9}})(?:\.([0-9]{{1,9}}))?\s*:\s*({_NUMBER})")
_BLOCK = re.compile(r"block_(0|[1-9][0-9]{0,8})")
_STAGES = ("down", "mid", "up")


@dataclass(frozen=True)
class AllLayers:
    """The same for every layer."""

    level: Level

    def gains(
        self, layers: Sequence[LayerAddress], reference: int, references: int
    ) -> Sequence[Gain]:
        """See `BlockRule.gains`."""
        factor = _for_reference(self.level, "all blocks", reference, references)
        return [Gain(factor)] * len(layers)


@dataclass(frozen=True)
class NumberedLayers:
    """Factors by ComfyUI's `transformer_index`; layers not named have a factor of 0.

    Attributes:
        factors: for (transformer, layer), or for (transformer, None) and thereby those of its
            layers that are not named themselves.
    """

    factors: tuple[tuple[tuple[int, int | None], float], ...]

    def gains(
        self, layers: Sequence[LayerAddress], reference: int, references: int
    ) -> Sequence[Gain]:
        """See `BlockRule.gains`."""
        stacks = list(transformers(layers).values())
        factors: dict[LayerAddress, float] = {}
        # Whole transformers first, so that single layers have the last word.
        for (number, layer), factor in sorted(self.factors, key=lambda f: f[0][1] is not None):
            _check_number(number, len(stacks), f"transformer {number}", "this model", "transformer")
            stack = stacks[number]
            if layer is not None:
                name = f"layer {layer} of transformer {number}"
                _check_number(layer, len(stack), name, "that transformer of this model", "layer")
                stack = [stack[layer]]
            factors |= dict.fromkeys(stack, factor)
        return [Gain(factors.get(layer, 0.0)) for layer in layers]


@dataclass(frozen=True)
class NamedBlocks:
    """Levels by diffusers' names of blocks; blocks not named have a factor of 0.

    Attributes:
        levels: for "down", "up", "mid" or e.g. "down.block_1"; one for all transformers of each
            block, or one for each of them.
    """

    levels: tuple[tuple[str, tuple[Level, ...]], ...]

    def gains(
        self, layers: Sequence[LayerAddress], reference: int, references: int
    ) -> Sequence[Gain]:
        """See `BlockRule.gains`."""
        blocks = _blocks(layers)
        factors: dict[LayerAddress, float] = {}
        for key, levels in self.levels:
            for name in _named(key, blocks):
                stacks = blocks[name]
                for stack, level in zip(stacks, _spread(levels, name, len(stacks)), strict=True):
                    factor = _for_reference(level, name, reference, references)
                    factors |= dict.fromkeys(stack, factor)
        return [Gain(factors.get(layer, 0.0)) for layer in layers]


def parse_blocks(text: str) -> BlockRule:
    """What a user wrote as block weights.

    Args:
        text: either entries `transformer:factor` or `transformer.layer:factor`, separated by
            commas or new lines, or the scale that diffusers' `set_ip_adapter_scale` takes for one
            adapter, as JSON.

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
    if not text.replace(",", " ").strip():
        raise BadInput("the block weights are empty", _FORMS, "Write some, or choose a preset")
    if text[0] in "{[" or ":" not in text:
        return _from_scale(_parse_json(text))
    return _from_entries(text)


def _from_entries(text: str) -> NumberedLayers:
    factors: dict[tuple[int, int | None], float] = {}
    for entry in filter(None, map(str.strip, re.split(r"[,\n]", text))):
        match = _ENTRY.fullmatch(entry)
        if not match:
            raise _unreadable(f"{_shown(entry)} is not an index, a colon and a number")
        place = int(match[1]), int(match[2]) if match[2] else None
        if place in factors:
            raise _repeated(entry.split(":")[0].strip())
        factors[place] = _factor(float(match[3]), _shown(entry))
    return NumberedLayers(tuple(factors.items()))


def _parse_json(text: str) -> Any:
    try:
        return loose_json.read(text)
    except KeyError as twice:
        raise _repeated(_shown(twice.args[0])) from None
    except ValueError as error:
        raise _unreadable(f"{_shown(text)} is not JSON ({error})") from None
    except RecursionError:
        raise _unreadable(f"{_shown(text)} is nested too deeply") from None


def _from_scale(scale: Any) -> BlockRule:
    if isinstance(scale, dict):
        return NamedBlocks(tuple(_named_levels(scale)))
    if not isinstance(scale, list):
        return AllLayers(_factor(scale, "the factor for all blocks"))
    entries: list[Any] = scale
    if len(entries) == 1:
        # One adapter in a list of adapters: diffusers takes the list to mean what is in it.
        inner = entries[0]
        whole = isinstance(inner, dict)
        return _from_scale(inner) if whole else AllLayers(_level(inner, "the list for all blocks"))
    if any(isinstance(entry, dict | list) for entry in entries):
        raise BadInput(
            f"the block weights {_shown(entries)} are a list with an entry for each adapter",
            "one set of block weights belongs to one adapter",
            "Use one Apply node per adapter and write in each only its own entry, without the"
            " outer brackets",
        )
    return AllLayers(_level(entries, "the list for all blocks"))


def _named_levels(scale: dict[str, Any]) -> Iterator[tuple[str, tuple[Level, ...]]]:
    for stage, value in scale.items():
        if stage not in _STAGES:
            raise BadInput(
                f"the block weights have the key {_shown(stage)}",
                f"the keys are {', '.join(_STAGES)}",
                'Name blocks inside these, like {"down": {"block_2": 1.0}}',
            )
        if isinstance(value, dict) and stage != "mid":
            yield from _inside(stage, value)
        else:
            yield stage, _levels(value, stage)


def _inside(stage: str, blocks: dict[str, Any]) -> Iterator[tuple[str, tuple[Level, ...]]]:
    for key, value in blocks.items():
        if not _BLOCK.fullmatch(key):
            raise _unreadable(f"{_shown(key)} in {stage} is not block_0, block_1 or the like")
        yield f"{stage}.{key}", _levels(value, f"{stage}.{key}")


def _levels(value: Any, where: str) -> tuple[Level, ...]:
    if not isinstance(value, list):
        return (_factor(value, where),)
    levels = tuple(_level(each, where) for each in _filled(value, where))
    if where == "mid" and len(levels) > 1:
        raise BadInput(
            f"the block weights list {len(levels)} entries for mid",
            "this block has one transformer in every model",
            "Write one number, or [[0.7, 0.3]] for one factor for each masked reference",
        )
    return levels


def _level(value: Any, where: str) -> Level:
    if not isinstance(value, list):
        return _factor(value, where)
    return tuple(_factor(each, where) for each in _filled(value, where))


def _filled(entries: list[Any], where: str) -> list[Any]:
    if not entries:
        raise _unreadable(f"{where} is an empty list")
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


def _unreadable(what: str) -> BadInput:
    return BadInput(f"in the block weights {what}", _FORMS, "Correct the text")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def _for_reference(level: Level, where: str, reference: int, references: int) -> float:
    if not isinstance(level, tuple):
        return level
    if len(level) != references:
        raise BadInput(
            f"the block weights for {where} hold a list of {len(level)}, with one factor for each"
            " masked reference",
            f"the number of references connected is {references}",
            f"Connect {len(level)} masked references with IPARegions, or write a single number",
        )
    return level[reference]


def _check_number(number: int, count: int, named: str, owner: str, thing: str) -> None:
    if number >= count:
        numbers = "number 0" if count == 1 else f"numbers 0 to {count - 1}"
        raise BadInput(
            f"the block weights name {named}",
            f"{owner} has {count} {thing}{'' if count == 1 else 's'}, {numbers}",
            f"Name another {thing}",
        )


def _blocks(layers: Sequence[LayerAddress]) -> dict[str, list[list[LayerAddress]]]:
    """The transformers of each block that has any, under the keys of diffusers' scale."""
    found: dict[str, list[list[LayerAddress]]] = {}
    for (stage, level, _), stack in transformers(layers).items():
        name = stage if stage == "mid" else f"{stage}.block_{level}"
        found.setdefault(name, []).append(stack)
    return found


def _named(key: str, blocks: dict[str, list[list[LayerAddress]]]) -> list[str]:
    named = [name for name in blocks if name == key or name.startswith(f"{key}.")]
    if not named:
        # diffusers ignores such a key, so that the adapter has no effect and no message says why.
        raise BadInput(
            f"the block weights name {key}, which has no image attention",
            f"in this model {', '.join(blocks)} have it",
            "Name one of these",
        )
    return named


def _spread(levels: tuple[Level, ...], block: str, count: int) -> tuple[Level, ...]:
    if len(levels) == 1:
        return levels * count
    if len(levels) != count:
        raise BadInput(
            f"the block weights list {len(levels)} entries for {block}",
            f"this block has {count} transformers in this model",
            f"Write one number or {count}",
        )
    return levels
