"""What the rows of a layer's query are, where another pack has changed the batch of the layer."""

from __future__ import annotations

from collections.abc import Sequence

from .....ip_models.attention.call import CondChunk
from .....ip_models.attention.keyvalue import COND, UNCOND
from .....ip_models.attention.stack import ActivePrompts
from .....ip_models.errors import WrongBatch
from ...protocols import TransformerOptions

_LIST, _LISTS = "cond_or_uncond", "couple"
_ADVICE = "Take out the node that changes the batch of this layer, or the references"


def of_layer(
    active: ActivePrompts, rows: int, options: TransformerOptions, layer: str, whole: bool = True
) -> ActivePrompts:
    """The image prompts for the rows of one layer.

    Packs that give each region a prompt of its own repeat the positive chunks in the layer and say
    so in its options, in a list that names a chunk of the call as often as it is there:
    `cond_or_uncond` itself (tooling nodes of krita-ai-diffusion) or one whose name ends in
    "couple" (ComfyUI-ppm, prompt-control, SwarmUI).

    Args:
        active: those of the call.
        rows: of the layer's query.
        options: of the layer.
        layer: its name, for the message.
        whole: whether the rows are all there are, not a part that a patch around ours hands on.

    Raises:
        WrongBatch: the rows are not those of the call, and nothing explains them.
    """
    call = active.call
    for announced in _announced(options):
        chunks = _chunks(call.chunks, active.places or [], announced)
        if chunks is not None and len(chunks) * len(call.frames) == rows:
            return active.with_chunks(chunks)
    if whole and active.uniform:  # every row is the same one
        return active.with_chunks(call.chunks[:1])
    count = len(active.places or [0])
    tiles = len(call.chunks) // count
    if tiles > 1:
        why = f" in {tiles} tiles), and regions of prompts inside tiles cannot be told apart"
    else:
        why = "), and its options do not say which are the positive ones"
    raise WrongBatch(
        f"the query of {layer} has {rows} rows",
        f"the call has {active.batch} ({count} conditionings of {len(call.frames)} pictures{why}",
        _ADVICE,
    )


def no_grid(layer: str, queries: int, grid: tuple[int, int]) -> WrongBatch:
    """What to say where a mask cannot be laid over the queries of a layer."""
    return WrongBatch(
        f"the query of {layer} is {queries} long and its grid {grid[1]} x {grid[0]}",
        "a mask needs the grid that the queries stand on",
        "Take out the node that merges or drops queries, or the mask",
    )


def no_query(layer: str) -> WrongBatch:
    """What to say where another pack works out a layer in a way that shows no query of it."""
    return WrongBatch(
        f"another node runs {layer} by a forward of its own, which does not ask its to_q for the "
        "query of what goes into its to_out",
        "the references attend by that query",
        "Take out that node, or the references",
    )


def other_keys(layer: str, rows: int, keys: int) -> WrongBatch:
    """What to say where a sampler hands a layer a text for more rows than there are queries."""
    return WrongBatch(
        f"another node gives {layer} a text of {keys} rows for {rows} rows of the picture",
        "this layer can only pair as many",
        "Take out the node that adds rows to the text, or the references",
    )


def _announced(options: TransformerOptions) -> list[list[int]]:
    """What the options of a layer say about its rows, the most particular first."""
    lists = [value for key, value in options.items() if key.endswith(_LISTS)]
    lists.append(options.get(_LIST))
    return [list(one) for one in lists if isinstance(one, list | tuple) and one]


def _chunks(
    chunks: Sequence[CondChunk], places: Sequence[int], announced: Sequence[int]
) -> tuple[CondChunk, ...] | None:
    """The chunk of the call behind each entry of such a list, None if they do not fit together.

    A chunk of uncond is there once, each other one as often as all others.
    """
    others = sum(place != UNCOND for place in places)
    repeats, left = 1, len(announced) - (len(places) - others)
    if len(chunks) != len(places):  # tiles of a picture, each with all of them
        return None
    if others:
        repeats, left = divmod(left, others)
    if left or repeats < 1:
        return None
    counts = [1 if place == UNCOND else repeats for place in places]
    expected = [
        UNCOND if place == UNCOND else COND
        for place, count in zip(places, counts, strict=True)
        for _ in range(count)
    ]
    if [UNCOND if place == UNCOND else COND for place in announced] != expected:
        return None
    return tuple(chunk for chunk, count in zip(chunks, counts, strict=True) for _ in range(count))
