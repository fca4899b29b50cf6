"""The patches of a call of Flux or Chroma: what each block attends with, and the image prompts.

They are made for each call and put into its options, so that nothing is left in a MODEL, and they
go around what other packs have put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from .....ip_models.attention.attend import Attended
from .....ip_models.transformer.layers import DOUBLE, BlockAddress
from ...protocols import TransformerOptions
from .kernel import compiler
from .transformer import GRID, add, added_to, hears, rows_after

_QUERY = "ipadapter_query"
_HELD = "ipadapter_held"
_BLOCKS = {"double": "double_block", "single": "single_block"}
_BlockArgs = dict[str, Any]


class Held:
    """The query of a block, kept until what it leaves behind is there."""

    query: Tensor | None = None
    text = 0


class Heard:
    """Whether a block has asked for image prompts in this call."""

    asked = False


@dataclass(frozen=True, eq=False)
class QueryPatch:
    """The attn1 patch of all blocks: the query after its norm and before its rotation."""

    heard: Heard

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, *, extra_options: TransformerOptions, **_: object
    ) -> dict[str, Tensor]:
        """Keep (batch, heads, rows, head width); nothing is changed."""
        (_kept if compiler() is None else _kept_uncompiled)(self.heard, q, extra_options)
        return {}


def _kept(heard: Heard, q: Tensor, extra: TransformerOptions) -> None:
    heard.asked = True
    held = extra.get(_HELD)
    if isinstance(held, Held):
        held.query, held.text = q, int(extra["img_slice"][0])
    if hears(extra, q, _address(extra)):
        extra[_QUERY] = q


@dataclass(frozen=True, eq=False)
class OutputPatch:
    """The output patch of all blocks: InstantX adds before the output projection."""

    def __call__(self, attn: Tensor, extra_options: TransformerOptions) -> Tensor:
        """(batch, rows, width) with the image prompts of this block."""
        if "optimized_attention_override" in extra_options:
            attn = attn.clone()  # nobody knows who else holds it
        (_added if compiler() is None else _added_uncompiled)(attn, extra_options)
        return attn


def _added(attn: Tensor, extra: TransformerOptions) -> None:
    q = extra.pop(_QUERY, None)
    if q is None:
        return
    address = _address(extra)
    text = int(extra["img_slice"][0])
    # Image rows of double blocks; all rows of single ones, as the published processor does it.
    first = text if address.kind == DOUBLE else 0
    _add(attn[:, first:], q[:, :, first:], text - first, extra, address)


@dataclass(frozen=True, eq=False)
class BlockPatch:
    """The patch around a double block: XLabs adds to the picture's stream after it.

    Attributes:
        below: what another pack has put around the block, None for the block alone.
    """

    number: int
    below: Callable[[_BlockArgs, Mapping[str, Any]], _BlockArgs] | None

    def __call__(self, args: _BlockArgs, extra: Mapping[str, Any]) -> _BlockArgs:
        """The block, and the image prompts of its query."""
        held = Held()
        options = {**args["transformer_options"], _HELD: held}
        args = {**args, "transformer_options": options}
        out = extra["original_block"](args) if self.below is None else self.below(args, extra)
        # A block that was left out has no query, and there is nothing to add to.
        if held.query is not None:
            if self.below is not None:
                out = {**out, "img": out["img"].clone()}  # nobody knows who else holds it
            (_add_after if compiler() is None else _add_after_uncompiled)(
                out["img"], held, options, BlockAddress(DOUBLE, self.number, after=True)
            )
        return out


def _add_after(img: Tensor, held: Held, extra: TransformerOptions, address: BlockAddress) -> None:
    query, held.query = cast("Tensor", held.query), None
    _add(img, query[:, :, held.text :], 0, extra, address)


def _add(
    out: Tensor, q: Tensor, before: int, extra: TransformerOptions, address: BlockAddress
) -> None:
    added = added_to(extra, q.shape[0], q, address)
    if not added.entries:
        return
    after = rows_after(address, q.shape[2] - before, extra[GRID])
    add(out, Attended(q, before=before, after=after), added, extra)


_kept_uncompiled = cast("Callable[..., None]", torch.compiler.disable(_kept))
_added_uncompiled = cast("Callable[..., None]", torch.compiler.disable(_added))
_add_after_uncompiled = cast("Callable[..., None]", torch.compiler.disable(_add_after))


def _address(extra: TransformerOptions) -> BlockAddress:
    return BlockAddress(str(extra.get("block_type")), int(extra.get("block_index", -1)))


def patched(
    options: TransformerOptions, slots: Iterable[BlockAddress], heard: Heard
) -> TransformerOptions:
    """Options of a call with the patches first in line, around what is there; a new dict.

    They are the same in every call, whoever is heard in it: torch.compile would take a change of
    the options for another model.
    """
    patches, replaced = options.get("patches", {}), options.get("patches_replace", {})
    blocks = dict(replaced.get("dit", {}))
    for slot in slots:
        if slot.after:
            key = (_BLOCKS[slot.kind], slot.number)
            blocks[key] = BlockPatch(slot.number, blocks.get(key))
    patches = {
        **patches,
        "attn1_patch": [QueryPatch(heard), *patches.get("attn1_patch", ())],
        "attn1_output_patch": [OutputPatch(), *patches.get("attn1_output_patch", ())],
    }
    return {**options, "patches": patches, "patches_replace": {**replaced, "dit": blocks}}
