"""The layers of a UNet, from the numbers it is built from or from the names of its modules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..layer import Layer
from .address import LayerAddress, checkpoint_order, transformers

NUMBERS = (
    "model_channels",
    "channel_mult",
    "num_res_blocks",
    "transformer_depth",
    "transformer_depth_output",
    "transformer_depth_middle",
    "context_dim",
)
"""What `layers_of_config` needs."""

_DOWN = re.compile(r"^input_blocks\.([0-9]{1,3})\.0\.op$")
_UP = re.compile(r"^output_blocks\.([0-9]{1,3})\.[0-9]{1,3}\.conv$")


class Facts(NamedTuple):
    """What is known of a layer besides its address, see `Layer`."""

    width: int
    context: int
    depth: int = 0


class _Stack(NamedTuple):
    """Layers that run one after the other.

    Attributes:
        block, number: see `LayerAddress`.
        layers: how many; less than none where there is not even an empty transformer.
        level: how often the latent is halved before them.
    """

    block: str
    number: int
    layers: int
    level: int


def layers_of_config(config: Mapping[str, Any], projected: bool = False) -> tuple[Layer, ...]:
    """All layers of the UNet the host builds from these numbers, in the order of adapter files."""
    found: dict[LayerAddress, Facts] = {}
    for stack in _stacks(config):
        facts = Facts(_width(config, stack.level), config["context_dim"], stack.level)
        for layer in range(stack.layers):
            found[LayerAddress(stack.block, stack.number, layer)] = facts
    return named_layers(found, projected)


def layers_of_names(
    widths: Mapping[LayerAddress, Facts], names: Iterable[str], projected: bool
) -> tuple[Layer, ...]:
    """Layers of these widths in the order of adapter files.

    Args:
        names: of all modules, to see after which of them the latent is halved and enlarged.
    """
    names = list(names)
    down, up = _numbers(_DOWN, names), _numbers(_UP, names)

    def depth(address: LayerAddress) -> int:
        if address.block == "input":
            return sum(number <= address.number for number in down)
        # A block of the output is enlarged after its attention.
        risen = sum(number < address.number for number in up) if address.block == "output" else 0
        return len(down) - risen

    found = {address: facts._replace(depth=depth(address)) for address, facts in widths.items()}
    return named_layers(found, projected)


def named_layers(found: Mapping[LayerAddress, Facts], projected: bool) -> tuple[Layer, ...]:
    """Layers with their names and places, in the order of adapter files."""
    made: dict[LayerAddress, Layer] = {}
    for number, (transformer, stack) in enumerate(transformers(found).items()):
        for layer, address in enumerate(stack):
            width, context, depth = found[address]
            place, block = (number, layer), transformer.block
            made[address] = Layer(
                address, width, context, place, block, address.block, depth, projected
            )
    return tuple(made[address] for address in checkpoint_order(made))


def _stacks(config: Mapping[str, Any]) -> Iterator[_Stack]:
    """All blocks, numbered as the host builds them."""
    levels, counts = range(len(config["channel_mult"])), config["num_res_blocks"]
    if isinstance(counts, int):
        counts = [counts for _ in levels]
    depths = iter(config["transformer_depth"])
    number = 0  # the first convolution
    for level in levels:
        for _ in range(counts[level]):
            number += 1
            yield _Stack("input", number, next(depths), level)
        number += 1  # the one that halves
    depths = iter(reversed(config["transformer_depth_output"]))
    number = 0
    for level in reversed(levels):
        for _ in range(counts[level] + 1):
            yield _Stack("output", number, next(depths), level)
            number += 1
    yield _Stack("middle", 0, config["transformer_depth_middle"], levels[-1])


def _width(config: Mapping[str, Any], level: int) -> int:
    """Of the queries: as many whole heads as there is room for."""
    channels = config["model_channels"] * config["channel_mult"][level]
    heads = config.get("num_head_channels", -1)
    return channels - channels % (config.get("num_heads", 1) if heads == -1 else heads)


def _numbers(pattern: re.Pattern[str], names: Iterable[str]) -> list[int]:
    return [int(match[1]) for match in map(pattern.match, names) if match]
