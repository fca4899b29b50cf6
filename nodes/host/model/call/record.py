"""Which calls of a run are looked at, and what their chunks stand for in the picture."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .....ip_models.attention.call import Call, CondChunk
from .....ip_models.attention.keyvalue import COND
from .....ip_models.attention.record import CallRecord, RunRecord, SeenChunk
from .....ip_models.attention.stack import PromptStack
from .....ip_models.errors import UnknownPlace
from ...protocols import CondLists, TransformerOptions
from .place import Latents, known_pictures, with_crops

RECORD = "ipadapter_record"


def run_record(options: TransformerOptions) -> RunRecord | None:
    """Where a run is noted, None if nobody looks at it."""
    record = options.get(RECORD)
    return record if isinstance(record, RunRecord) else None


def call_record(
    record: RunRecord,
    stack: PromptStack,
    call: Call,
    latents: Latents,
    options: TransformerOptions,
    conds: CondLists,
) -> CallRecord | None:
    """Where a call is noted, None if nobody looks at it.

    A run goes on where it is not known what a call is for; it is then not shown.

    Args:
        call: with its chunks in their places, where the image prompts depend on that.
        conds: the conditionings of the step.
    """
    frames = call.within or call.frames
    if not known_pictures(frames, latents.step, options):
        record.lost = UnknownPlace(
            f"the model was called with {len(frames)} pictures of the batch, and which they are "
            "is not known",
            "an attention map needs to know that",
            "Take out the node that divides the batch",
        )
        return None
    try:
        placed = call.chunks
        if not stack.needs_place:
            placed = with_crops(call.chunks, frames, latents, options)
    except UnknownPlace as error:
        record.lost = UnknownPlace(
            error.found,
            "an attention map needs to know which part of the picture this is",
            "Use Tiled Diffusion for tiles, or sample in one piece",
        )
        return None
    values = _values(options, conds, len(call.chunks))
    chunks = tuple(_seen(chunk, own) for chunk, own in zip(placed, values, strict=True))
    return record.call(stack.prompts, call, chunks, call.step)


def _seen(chunk: CondChunk, values: dict[str, Any]) -> SeenChunk:
    """A chunk and how much the host lets its conditioning count."""
    mask, strength = values.get("mask"), float(values.get("strength", 1.0))
    if not isinstance(mask, Tensor) or mask.ndim != 3:
        return SeenChunk(chunk.cond_or_uncond == COND, chunk.crop, None, strength)
    strength *= float(values.get("mask_strength", 1.0))
    return SeenChunk(chunk.cond_or_uncond == COND, chunk.crop, mask, strength)


def _values(options: TransformerOptions, conds: CondLists, chunks: int) -> list[dict[str, Any]]:
    """The conditioning of each chunk, by its place and uuid; empty where it is not known."""
    places, ids = options.get("cond_or_uncond") or (0,), options.get("uuids") or ()
    known = {
        (place, one.get("uuid")): dict(one)
        for place, some in enumerate(conds)
        for one in some or ()
    }
    if len(ids) != len(places):
        return [{}] * chunks
    each = [known.get((place, uuid), {}) for place, uuid in zip(places, ids, strict=True)]
    return each * (chunks // len(each))
