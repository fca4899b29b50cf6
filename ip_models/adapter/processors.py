"""Attention layers under the names of a UNet's modules, numbered as adapter files number them.

Training scripts save the layers where they are in the UNet: diffusers'
`down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.weight`, or the same in the
names of the original Stable Diffusion code. Files count attentions in the order of diffusers'
`attn_processors` (0.42): down blocks, up blocks, middle block last, self-attention first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# The names of the two kinds of UNet, which stand between dots. What is around them is not read.
_PLACES = tuple(
    re.compile(
        rf"(?<![^.])(?:(?P<stage>{stages})_blocks\.(?P<level>[0-9]{{1,3}})|{middle}){number}"
        r"\.transformer_blocks\.(?P<layer>[0-9]{1,3})\.attn(?P<half>[12])(?=\..)"
    )
    for stages, middle, number in (
        ("down|up", "mid_block", r"\.attentions\.(?P<number>[0-9]{1,3})"),
        ("input|output", "middle_block", r"(?:\.(?P<number>[0-9]{1,3}))?"),
    )
)
_PROCESSOR = "processor."
_STAGES = {"down": 0, "input": 0, "up": 1, "output": 1, None: 2}
_OF_ADAPTERS = re.compile(r"to_(?:[kv]_ip|(?:q|k|v|out)_lora)\.")


class Block(NamedTuple):
    """A transformer block, which has two attentions; sorts as adapter files do."""

    stage: int
    level: int
    number: int
    layer: int


class Attention(NamedTuple):
    """A tensor of an attention, read from its name.

    Attributes:
        prefix: what stands before the module's name, "" for nothing.
        module: the attention's own name, e.g. "mid_block.attentions.0.transformer_blocks.0.attn2".
        cross: whether it attends to the text.
        rest: the name within it, e.g. "to_k_ip.weight".
        adapter: whether it is an adapter's tensor and not the UNet's own.
    """

    prefix: str
    module: str
    block: Block
    cross: bool
    rest: str
    adapter: bool


def read_attention(key: str) -> Attention | None:
    """What the name of a tensor says, None where it is of no attention of a UNet."""
    found = next(filter(None, (list(places.finditer(key)) for places in _PLACES)), None)
    if found is None:
        return None
    place = found[-1]  # whatever was put before it
    after = key[place.end() + 1 :]
    rest = after.removeprefix(_PROCESSOR) or after
    numbers = (int(place[part] or 0) for part in ("level", "number", "layer"))
    return Attention(
        prefix=key[: max(place.start() - 1, 0)],
        module=place[0],
        block=Block(_STAGES[place["stage"]], *numbers),
        cross=place["half"] == "2",
        rest=rest,
        adapter=rest != after or bool(_OF_ADAPTERS.match(rest)),
    )


def numbered(attentions: Iterable[Attention]) -> dict[Attention, int]:
    """The number of each attention in an adapter file.

    Args:
        attentions: of a whole UNet, or of all its layers that an adapter has.
    """
    known = list(attentions)
    place = {block: 2 * i for i, block in enumerate(sorted({one.block for one in known}))}
    return {one: place[one.block] + one.cross for one in known}
