"""Named gains for the blocks of a UNet: the weight types users know, and InstantStyle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..errors import BadInput
from ..layer_address import LayerAddress, transformers
from .gains import BlockRule, Gain

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
_KINDS: dict[str, dict[str, float]] = {
    "weak input": {"input": 0.2},
    "weak output": {"output": 0.2},
    "weak middle": {"middle": 0.2},
    "strong middle": {"input": 0.2, "output": 0.2},
}


class _Group(NamedTuple):
    """Transformers of one gain, by ComfyUI's `transformer_index`."""

    numbers: Iterable[int]
    knob: Literal["weight", "composition", "boost"] = "weight"
    times: float = 1.0
    swapped: bool = False


# Number of transformers; SD2 has those of SD1.5.
_SD1, _SDXL = 16, 11
_SD1_STYLE = (*range(4), *range(9, 16))
_SD1_BUT_COMPOSITION = (*range(4), *range(6, 16))
_SDXL_BUT_COMPOSITION = (*range(3), *range(4, 11))

# Transformers that are in no group get a factor of 0.
_LISTS: dict[str, dict[int, tuple[_Group, ...]]] = {
    "style transfer": {
        _SD1: (_Group(_SD1_STYLE),),
        _SDXL: (_Group([6]),),
    },
    "composition": {
        _SD1: (_Group([4], times=0.25), _Group([5])),
        _SDXL: (_Group([3]),),
    },
    "strong style transfer": {
        _SD1: (_Group(_SD1_BUT_COMPOSITION),),
        _SDXL: (_Group(_SDXL_BUT_COMPOSITION),),
    },
    "style and composition": {
        _SD1: (
            _Group(_SD1_STYLE),
            _Group([4], "composition", 0.25),
            _Group([5], "composition"),
        ),
        _SDXL: (_Group([6]), _Group([3], "composition")),
    },
    "strong style and composition": {
        _SD1: (_Group(_SD1_BUT_COMPOSITION), _Group([4, 5], "composition")),
        _SDXL: (_Group(_SDXL_BUT_COMPOSITION), _Group([3], "composition")),
    },
    "style transfer precise": {
        _SD1: (
            _Group(_SD1_STYLE),
            _Group([4], "boost", 0.25, swapped=True),
            _Group([5], "boost", swapped=True),
        ),
        _SDXL: (_Group([6]), _Group([3], "boost", swapped=True)),
    },
    "composition precise": {
        _SD1: (
            _Group([4], times=0.25),
            _Group([5]),
            _Group(_SD1_STYLE, "boost", swapped=True),
            _Group([6, 7, 8], "boost", 0.1, swapped=True),
        ),
        _SDXL: (
            _Group([3]),
            _Group([6], "boost", swapped=True),
            _Group([0, 1, 2, 4, 5, 7, 8, 9, 10], "boost", 0.1, swapped=True),
        ),
    },
    # The paper's blocks, up.block_0 number 1 and down.block_2 number 1, are those of SDXL. SD1.5
    # has no attention in up.block_0; there style is up.block_1 and layout down.block_2 with mid,
    # as in InvokeAI. These three are plain on and off, as diffusers' scales are.
    "InstantStyle style": {
        _SD1: (_Group([7, 8, 9]),),
        _SDXL: (_Group([6]),),
    },
    "InstantStyle layout": {
        _SD1: (_Group([4, 5, 6]),),
        _SDXL: (_Group([3]),),
    },
    "InstantStyle style and layout": {
        _SD1: (_Group(range(4, 10)),),
        _SDXL: (_Group([3, 6]),),
    },
}

PRESETS: tuple[str, ...] = (*_CURVES, *_KINDS, *_LISTS)
"""Names that `preset` knows, in the order in which to offer them."""


@dataclass(frozen=True)
class Preset:
    """Gains by name, relative to the adapter's scale.

    Attributes:
        composition: factor of the composition blocks where a preset weighs them by themselves.
        boost: factor of the layers that push away from the reference.
    """

    name: str
    composition: float = 1.0
    boost: float = 1.0

    def gains(
        self, layers: Sequence[LayerAddress], reference: int, references: int
    ) -> Sequence[Gain]:
        """See `BlockRule.gains`; all references have the same gains.

        Raises:
            BadInput: the preset lists transformers of other models than this one.
        """
        stacks = list(transformers(layers).values())
        if self.name in _LISTS:
            gains = self._listed(len(stacks))
        elif self.name in _KINDS:
            gains = _by_kind(_KINDS[self.name], stacks)
        else:
            gains = _along(_CURVES[self.name], len(stacks))
        gain_of = {
            layer: gains.get(number, Gain(0.0))
            for number, stack in enumerate(stacks)
            for layer in stack
        }
        return [gain_of[layer] for layer in layers]

    def _listed(self, count: int) -> dict[int, Gain]:
        tables = _LISTS[self.name]
        if count not in tables:
            raise BadInput(
                f'the preset "{self.name}" was chosen and this model has {count} transformers',
                f"the preset lists those of SD1.5 and SD2 ({_SD1}) or SDXL ({_SDXL})",
                "Choose another preset, or custom block weights",
            )
        knobs = {"weight": 1.0, "composition": self.composition, "boost": self.boost}
        return {
            number: Gain(group.times * knobs[group.knob], group.swapped)
            for group in tables[count]
            for number in group.numbers
        }


def preset(name: str, composition: float = 1.0, boost: float = 1.0) -> BlockRule:
    """The gains of a preset, see `Preset`.

    Raises:
        BadInput: there is no preset of this name, or a factor is not finite.
    """
    for knob, factor in (("composition", composition), ("boost", boost)):
        if not abs(factor) <= _LARGEST:
            raise BadInput(f"{knob} is {factor}", "a finite number is needed", "Enter 1.0")
    if name not in PRESETS:
        raise BadInput(
            f'"{name[:60]}" is not a preset', f"the presets are {', '.join(PRESETS)}", "Choose one"
        )
    return Preset(name, composition, boost)


def _above_floor(share: float) -> float:
    return _FLOOR + (1 - _FLOOR) * share


def _along(curve: Callable[[float], float], count: int) -> dict[int, Gain]:
    return {number: Gain(curve(number / count)) for number in range(count)}


def _by_kind(
    factors: Mapping[str, float], stacks: Sequence[Sequence[LayerAddress]]
) -> dict[int, Gain]:
    return {number: Gain(factors.get(stack[0].block, 1.0)) for number, stack in enumerate(stacks)}
