"""A prompt that was sent to the queue: whether its files go together, before any of them is loaded.

The host shows a node's checks its own widgets only. Which nodes are linked to it is read from the
prompt, which is kept for as long as the host checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, cast

from ....ip_models.adapter.published import Choice
from ....ip_models.errors import RefusedRequest
from ..node_table import owner_of
from ..server import READING
from .compatibility import AUTO, Combination, Source, problems

Prompt = Mapping[str, Any]
_HOST = ("nodes", "comfy_extras")  # whose nodes that take a MODEL give it on as it is built
_MOST_HOPS = 200
_MOST_SOURCES = 100
_ENCODERS = {
    "CLIPVisionLoader": "clip_name",
    "IPALoadEncoder": "encoder_file",
    "IPALoadForModel": "encoder_file",
}
_JOINING = ("IPAMergeEmbeds", "IPARegions")
_sent: ContextVar[Prompt] = ContextVar("the prompt that the host checks")


def remember(sent: Any) -> Any:
    """Keep what was sent for the checks of its nodes, which the host makes in the same task."""
    prompt = sent.get("prompt") if isinstance(sent, dict) else None
    _sent.set(cast("Prompt", prompt) if isinstance(prompt, dict) else {})
    return sent


Read = Callable[[Prompt, str], list[Combination]]


async def refusal(key: object, read: Read) -> bool | str:
    """The sentence that the run of a node would stop with, true where none is known.

    Args:
        key: of the node in the prompt.
        read: the files it will meet, one of the functions below.
    """
    prompt = _sent.get({})
    if not isinstance(key, str) or not isinstance(prompt.get(key), dict):
        return True
    known = read(prompt, key)
    try:
        said = await READING.answer(lambda: [one for each in known for one in problems(each)])
    except RefusedRequest:  # the disk is busy; the run will say it
        return True
    return said[0] if said else True


def applied(prompt: Prompt, key: str) -> list[Combination]:
    """Of a node that puts embeds on a MODEL."""
    adapter, (checkpoint, unet) = (
        _adapter(prompt, _link(prompt, key, "adapter")),
        _base(prompt, key),
    )
    whole = (Combination(adapter, "", checkpoint, unet),)
    made = [
        Combination(adapter, encoder, checkpoint, unet, embeds=source)
        for source, encoder in _sources(prompt, _link(prompt, key, "embeds"))
    ]
    return [one for one in made or whole if one.adapter or one.checkpoint or one.unet]


def searched(prompt: Prompt, key: str) -> list[Combination]:
    """Of a node that looks for files of a kind, and may let them be chosen."""
    checkpoint, unet = _base(prompt, key)
    kind = _text(prompt, key, "kind") or Choice.STANDARD.value
    if not (checkpoint or unet) or kind not in [choice.value for choice in Choice]:
        return []
    adapter = _text(prompt, key, "adapter_file") or AUTO
    encoder = _text(prompt, key, "encoder_file") or AUTO
    return [Combination(adapter, encoder, checkpoint, unet, kind)]


def _adapter(prompt: Prompt, key: str) -> str:
    if _class(prompt, key) not in ("IPALoadAdapter", "IPALoadForModel"):
        return ""
    file = _text(prompt, key, "adapter_file")
    return "" if file == AUTO else file


def _encoder(prompt: Prompt, key: str) -> str:
    file = _text(prompt, key, _ENCODERS.get(_class(prompt, key), ""))
    return "" if file == AUTO else file


def _sources(prompt: Prompt, start: str) -> Iterator[tuple[Source, str]]:
    """What embeds were made of, as far as that is seen, each with its encoder's file."""
    keys = [start]
    for key in keys:
        kind = _class(prompt, key)
        if kind == "IPAEncodeImage":
            yield Source.IMAGE, _encoder(prompt, _link(prompt, key, "clip_vision"))
        elif kind == "IPAEncodeFace":
            eyes = _link(prompt, key, "clip_vision")
            yield (Source.FACE_AND_IMAGE, _encoder(prompt, eyes)) if eyes else (Source.FACE, "")
        elif kind in _JOINING and len(keys) < _MOST_SOURCES:
            names = [name for name in _inputs(prompt, key) if name.startswith("embeds")]
            linked = [_link(prompt, key, name) for name in names]
            keys += [one for one in linked if one and one not in keys]


def _base(prompt: Prompt, key: str) -> tuple[str, str]:
    """The file of the checkpoint or of the UNet that a node's MODEL comes from, "" if not known."""
    for _ in range(_MOST_HOPS):
        key = _link(prompt, key, "model")
        kind = _class(prompt, key)
        if kind in ("CheckpointLoaderSimple", "UNETLoader"):
            return _text(prompt, key, "ckpt_name"), _text(prompt, key, "unet_name")
        module = getattr(owner_of(kind), "RELATIVE_PYTHON_MODULE", "nodes")
        own = kind.startswith("IPA") and not kind.startswith("IPAdapter")
        if not key or not (own or module.split(".")[0] in _HOST):
            break
    return "", ""


def _inputs(prompt: Prompt, key: str) -> Mapping[str, Any]:
    node = prompt.get(key)
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return cast("Mapping[str, Any]", inputs) if isinstance(inputs, dict) else {}


def _class(prompt: Prompt, key: str) -> str:
    node = prompt.get(key)
    kind = node.get("class_type") if isinstance(node, dict) else None
    return kind if isinstance(kind, str) else ""


def _link(prompt: Prompt, key: str, name: str) -> str:
    """The node whose output arrives at an input, "" for none."""
    value = _inputs(prompt, key).get(name)
    pair = value if isinstance(value, list) and len(value) == 2 else [""]
    return pair[0] if isinstance(pair[0], str) else ""


def _text(prompt: Prompt, key: str, name: str) -> str:
    value = _inputs(prompt, key).get(name)
    return value if isinstance(value, str) else ""
