"""Rules that a text of block weights stands for: factors of layers once the model is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BadInput
from ..layer import Layer, stacks
from .gains import Gain

Level = float | tuple[float, ...]
"""One factor, or one for each masked reference."""


@dataclass(frozen=True)
class AllLayers:
    """The same for every layer."""

    level: Level

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
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

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
        """See `BlockRule.gains`."""
        found = stacks(layers)
        factors: dict[Layer, float] = {}
        # Whole transformers first, so that single layers have the last word.
        for (number, layer), factor in sorted(self.factors, key=lambda f: f[0][1] is not None):
            _check_number(number, len(found), f"transformer {number}", "this model", "transformer")
            stack = found[number]
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
        levels: for a stage like "down" or a block in it like "down.block_1"; one for all
            transformers of each block, or one for each of them.
    """

    levels: tuple[tuple[str, tuple[Level, ...]], ...]

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> Sequence[Gain]:
        """See `BlockRule.gains`."""
        blocks = _blocks(layers)
        factors: dict[Layer, float] = {}
        for key, levels in self.levels:
            for name in _named(key, blocks):
                found = blocks[name]
                for stack, level in zip(found, _spread(levels, name, len(found)), strict=True):
                    factor = _for_reference(level, name, reference, references)
                    factors |= dict.fromkeys(stack, factor)
        return [Gain(factors.get(layer, 0.0)) for layer in layers]


def _for_reference(level: Level, where: str, reference: int, references: int) -> float:
    if not isinstance(level, tuple):
        return level
    if len(level) != references:
        raise BadInput(
            f"the block weights for {where} hold a list of {len(level)}, with one factor for each"
            " masked reference",
            f"the number of references connected is {references}",
            f"Connect {len(level)} masked references with Regions, or write a single number",
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


def _blocks(layers: Sequence[Layer]) -> dict[str, list[list[Layer]]]:
    """The transformers of each block that has any."""
    found: dict[str, list[list[Layer]]] = {}
    for stack in stacks(layers):
        found.setdefault(stack[0].block, []).append(stack)
    return found


def _named(key: str, blocks: dict[str, list[list[Layer]]]) -> list[str]:
    named = [name for name in blocks if name == key or name.startswith(f"{key}.")]
    if not named:
        # diffusers ignores such a key, so that the adapter has no effect and no message says why.
        raise BadInput(
            f"the block weights name {key}, which has no image attention",
            f"in this model {', '.join(blocks)} {'has' if len(blocks) == 1 else 'have'} it",
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
