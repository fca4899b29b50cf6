"""The patches of a call of SD3.5: the joint attention of each block, and the image prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from .....ip_models.attention.attend import Attended
from .....ip_models.transformer.layers import JOINT, BlockAddress
from ...protocols import TransformerOptions
from .kernel import compiler
from .transformer import GRID, add, added_to, rows_after

_OVERRIDE = "optimized_attention_override"
_BlockArgs = dict[str, Any]
_Attention = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class BlockPatch:
    """The patch around a block, for the time of which its first attention is ours.

    Attributes:
        below: what another pack has put around the block, None for the block alone.
    """

    number: int
    below: Callable[[_BlockArgs, Mapping[str, Any]], _BlockArgs] | None

    def __call__(self, args: _BlockArgs, extra: Mapping[str, Any]) -> _BlockArgs:
        """The block with image prompts in its joint attention."""
        options = args["transformer_options"]
        override = _JointAttention(self.number, args["txt"].shape[1], options)
        args = {**args, "transformer_options": {**options, _OVERRIDE: override}}
        return extra["original_block"](args) if self.below is None else self.below(args, extra)


class _JointAttention:
    """Attention of text and picture together; a second one, of the picture alone, passes by."""

    def __init__(self, number: int, text: int, options: TransformerOptions) -> None:
        self._address, self._text, self._options = BlockAddress(JOINT, number), text, options
        self._joint = True

    def __call__(
        self, function: _Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """(batch, rows, width) of all rows, those of the text first."""
        other = self._options.get(_OVERRIDE)
        if other is None:
            out = function(q, k, v, *args, **kwargs)
        else:
            out = other(function, q, k, v, *args, **kwargs)
        if not self._joint:
            return out
        self._joint = False
        heads = int(args[0] if args else kwargs["heads"])
        if other is not None:
            out = out.clone()  # nobody knows who else holds it
        adding = _added if compiler() is None else _added_uncompiled
        adding(out, (q, k, v), heads, self._text, self._options, self._address)
        return out


def _added(
    out: Tensor,
    qkv: tuple[Tensor, Tensor, Tensor],
    heads: int,
    text: int,
    extra: TransformerOptions,
    address: BlockAddress,
) -> None:
    q, k, v = (_in_heads(rows[:, text:], heads) for rows in qkv)
    added = added_to(extra, q.shape[0], q, address)
    if not added.entries:
        return
    after = rows_after(address, q.shape[2], extra[GRID])
    add(out[:, text:], Attended(q, k, v, after=after), added, extra)


def _in_heads(rows: Tensor, heads: int) -> Tensor:
    """(batch, heads, rows, head width) of what may be split into heads already."""
    apart = rows if rows.ndim == 4 else rows.unflatten(-1, (heads, -1))
    return apart.transpose(1, 2)


_added_uncompiled = cast("Callable[..., None]", torch.compiler.disable(_added))


def patched(options: TransformerOptions, slots: Iterable[BlockAddress]) -> TransformerOptions:
    """Options of a call with the patches around what is there; a new dict."""
    replaced = options.get("patches_replace", {})
    blocks = dict(replaced.get("dit", {}))
    for slot in slots:
        key = ("double_block", slot.number)  # the host's word for them
        blocks[key] = BlockPatch(slot.number, blocks.get(key))
    return {**options, "patches_replace": {**replaced, "dit": blocks}}
