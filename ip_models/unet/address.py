"""Which cross-attention layers (attn2) a UNet has, derived from the names of its modules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class LayerAddress(NamedTuple):
    """A cross-attention layer as ComfyUI announces it to patches.

    Attributes:
        block, number: the host's `block`, e.g. ("input", 4).
        layer: the transformer block in it, the host's `block_index`.
    """

    block: str
    number: int
    layer: int


_MODULE = re.compile(
    r"^(input_blocks|output_blocks|middle_block)\.([0-9]{1,3})(?:\.[0-9]{1,3})?"
    r"\.transformer_blocks\.([0-9]{1,3})\.attn2$"
)
# Adapter files count layers in the order of diffusers' modules: down, up, middle last.
_ORDER = {"input": 0, "output": 1, "middle": 2}
_BLOCKS = {"input_blocks": "input", "output_blocks": "output", "middle_block": "middle"}


def parse_address(module_name: str) -> LayerAddress | None:
    """Address of a module called e.g. `input_blocks.4.1.transformer_blocks.0.attn2`."""
    match = _MODULE.match(module_name)
    if not match:
        return None
    block = _BLOCKS[match[1]]
    # The middle block's modules are numbered, but the host announces all of it as number 0.
    number = 0 if block == "middle" else int(match[2])
    return LayerAddress(block, number, int(match[3]))


def checkpoint_order(addresses: Iterable[LayerAddress]) -> list[LayerAddress]:
    """Addresses in the order in which adapter files list their layers."""
    return sorted(addresses, key=lambda a: (_ORDER[a.block], a.number, a.layer))


_EXECUTION = ("input", "middle", "output")
_STAGES = {"input": "down", "middle": "mid", "output": "up"}


class Transformer(NamedTuple):
    """A stack of layers that run one after the other, as diffusers names it.

    Attributes:
        stage: "down", "mid" or "up".
        level: number of diffusers' block in its stage, 0 for "mid".
        number: number of the transformer in that block.
    """

    stage: str
    level: int
    number: int

    @property
    def block(self) -> str:
        """Name of its block in diffusers' scale, e.g. "up.block_1"."""
        return self.stage if self.stage == "mid" else f"{self.stage}.block_{self.level}"


def transformers(addresses: Iterable[LayerAddress]) -> dict[Transformer, list[LayerAddress]]:
    """The transformers of a model with their layers, in the order in which they run.

    The place in this order is ComfyUI's `transformer_index`. Stable Diffusion UNets have two
    residual blocks at each level on the way down and three on the way up, so that ComfyUI's block
    numbers come in threes.
    """
    found: dict[Transformer, list[LayerAddress]] = {}
    in_order = sorted(addresses, key=lambda a: (_EXECUTION.index(a.block), a.number, a.layer))
    for address in in_order:
        number = address.number - 1 if address.block == "input" else address.number
        name = Transformer(_STAGES[address.block], number // 3, number % 3)
        found.setdefault(name, []).append(address)
    return found


_PATHS = {"down": "down_blocks.{}", "mid": "mid_block", "up": "up_blocks.{}"}


def processor_names(addresses: Iterable[LayerAddress]) -> list[str]:
    """diffusers' name of every attention, self and cross, in the order of adapter files.

    Args:
        addresses: all cross-attention layers of a model.
    """
    known = list(addresses)
    paths: dict[LayerAddress, str] = {}
    for transformer, layers in transformers(known).items():
        block = _PATHS[transformer.stage].format(transformer.level)
        for address in layers:
            paths[address] = (
                f"{block}.attentions.{transformer.number}.transformer_blocks.{address.layer}"
            )
    return [
        f"{paths[address]}.attn{half}.processor"
        for address in checkpoint_order(known)
        for half in (1, 2)
    ]
