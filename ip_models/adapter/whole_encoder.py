"""Which tensors of an image encoder's file are missing, by the names of those that are there.

Layouts of transformers' CLIPVisionModel and SiglipVisionModel (5.0) and of OpenCLIP (2.24).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from ..errors import BrokenFile

_BOTH = ("weight", "bias")
_VISION = "vision_model."
_LAYER = re.compile(r"vision_model\.encoder\.layers\.([0-9]{1,3})\.")
_OPEN_LAYER = re.compile(r"visual\.transformer\.resblocks\.([0-9]{1,3})\.")
_PARTS = (
    *(f"self_attn.{one}_proj" for one in ("k", "v", "q", "out")),
    *("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"),
)
_OPEN_PARTS = ("attn.out_proj", "ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj")
_OPEN_ALONE = ("attn.in_proj_weight", "attn.in_proj_bias")
_PATCHES = f"{_VISION}embeddings.patch_embedding."
_HEAD = f"{_VISION}head."
_HEAD_PARTS = (
    *("probe", "attention.in_proj_weight", "attention.in_proj_bias"),
    *(f"{part}.{half}" for part in ("attention.out_proj", "layernorm") for half in _BOTH),
    *(f"mlp.{part}.{half}" for part in ("fc1", "fc2") for half in _BOTH),
)


def require_whole(shapes: Mapping[str, Any], name: str) -> None:
    """Refuse a file that lacks tensors of its encoder, whose place nothing would fill.

    Raises:
        BrokenFile: with the name of the first that is missing, and how many are.
    """
    needed = list(_open_clip(shapes) if "visual.ln_post.weight" in shapes else _clip(shapes))
    if missing := [key for key in needed if not hasattr(shapes.get(key), "shape")]:
        raise incomplete(name, missing[0], len(missing), len(needed))


def incomplete(name: str, first: str, missing: int, needed: int) -> BrokenFile:
    """The refusal of a file that lacks some of the tensors it needs."""
    return BrokenFile(
        f"{name} lacks {missing} of {needed} tensors, the first of them is {first}",
        "all tensors of an image encoder are needed",
        "Download it again; of a model that is cut into parts, download its whole folder",
    )


def _numbers(shapes: Iterable[str], pattern: re.Pattern[str]) -> range:
    found = (int(match[1]) for key in shapes if (match := pattern.match(key)))
    return range(max(found, default=0) + 1)


def _clip(shapes: Mapping[str, Any]) -> Iterator[str]:
    sigmoid = f"{_PATCHES}bias" in shapes  # SigLIP's: without a class, with a head of its own
    yield f"{_PATCHES}weight"
    yield f"{_VISION}embeddings.position_embedding.weight"
    norms = ["post_layernorm"]
    if not sigmoid:
        yield f"{_VISION}embeddings.class_embedding"
        norms.append("pre_layrnorm")
    elif any(key.startswith(_HEAD) for key in shapes):
        yield from (f"{_HEAD}{part}" for part in _HEAD_PARTS)
    yield from (f"{_VISION}{norm}.{half}" for norm in norms for half in _BOTH)
    for number in _numbers(shapes, _LAYER):
        for part in _PARTS:
            yield from (f"{_VISION}encoder.layers.{number}.{part}.{half}" for half in _BOTH)


def _open_clip(shapes: Mapping[str, Any]) -> Iterator[str]:
    yield from ("visual.class_embedding", "visual.conv1.weight", "visual.positional_embedding")
    yield from (f"visual.{norm}.{half}" for norm in ("ln_pre", "ln_post") for half in _BOTH)
    for number in _numbers(shapes, _OPEN_LAYER):
        parts = (f"{part}.{half}" for part in _OPEN_PARTS for half in _BOTH)
        for part in chain(_OPEN_ALONE, parts):
            yield f"visual.transformer.resblocks.{number}.{part}"
