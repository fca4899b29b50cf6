"""A prompt that was sent to the queue: whether its files go together, before any of them is loaded.

The host shows a node's checks its own widgets only. Which nodes are linked to it is read from the
prompt, which is kept for as long as the host checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, cast

from ....ip_models import limits
from ....ip_models.adapter.published import Choice
from ....ip_models.errors import IPAdapterError, RefusedRequest
from ....ip_models.inputs import parse_numbers, text
from ....ip_models.layer import Layer
from ..files import folders
from ..model.apply import require_window
from ..model.start import nothing_there
from ..node_table import owner_of
from ..server import READING, tell
from .compatibility import AUTO, Combination, Source, base_of, errors

Prompt = Mapping[str, Any]
_HOST = ("nodes", "comfy_extras")  # whose nodes that take a MODEL give it on as it is built
_ENCODERS = {
    "CLIPVisionLoader": "clip_name",
    "IPALoadEncoder": "encoder_file",
    "IPALoadForModel": "encoder_file",
}
_JOINING = ("IPAMergeEmbeds", "IPARegions")
_sent: ContextVar[Prompt] = ContextVar("the prompt that the host checks")
_sender: ContextVar[object] = ContextVar("sender", default=None)


def remember(sent: Any) -> Any:
    """Keep what was sent for the checks of its nodes, which the host makes in the same task."""
    prompt = sent.get("prompt") if isinstance(sent, dict) else None
    _sent.set(cast("Prompt", prompt) if isinstance(prompt, dict) else {})
    _sender.set(sent.get("client_id") if isinstance(sent, dict) else None)
    return sent


def refused(error: IPAdapterError) -> str:
    """What a prompt is refused with: the type of the error, for programs, and its sentence."""
    client = _sender.get()
    if isinstance(client, str):  # a program without a name has no buttons
        tell(error, client)
    return f"{type(error).__module__}.{type(error).__name__}: {error}"


def attempted(check: Callable[[], object]) -> bool | str:
    """What a prompt is refused with if a check of it fails; true for nothing."""
    try:
        check()
    except IPAdapterError as error:
        return refused(error)
    except OSError:  # the run will say it
        pass
    return True


def written_numbers(name: str, value: Any) -> bool | str:
    """Whether a text is a list of numbers; what comes by a link is not known yet."""
    return value is None or attempted(lambda: parse_numbers(text(name, value), name))


async def read_at_once(check: Callable[[], object]) -> bool | str:
    """The same where the check opens files, for which the server does not wait."""
    try:
        return await READING.answer(lambda: attempted(check))
    except RefusedRequest:  # the disk is busy; the run will say it
        return True


def typed(key: object, name: str) -> Any:
    """What was typed into an input of a node, None where it comes by a link or is not there."""
    value = _inputs(_sent.get({}), key).get(name) if isinstance(key, str) else None
    return None if isinstance(value, list) else value


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
    start, end = typed(key, "start_percent"), typed(key, "end_percent")
    finds = read is searched and typed(key, "adapter_file") in (None, AUTO)

    def check() -> None:
        if isinstance(start, int | float) and isinstance(end, int | float):
            require_window(start, end)
        if finds and not folders.files(folders.ADAPTERS):
            raise nothing_there(folders.ADAPTERS)
        if found := [error for each in read(prompt, key) for error in errors(each)]:
            raise found[0]

    return await read_at_once(check)


def base_of_typed(key: object) -> tuple[Layer, ...]:
    """The layers of the base model that a node's MODEL comes from, none if not known."""
    known = searched(_sent.get({}), key) if isinstance(key, str) else []
    bases = [base for one in known if (base := base_of(one)) is not None]
    return bases[0].layers if bases else ()


def applied(prompt: Prompt, key: str) -> list[Combination]:
    """Of a node that puts embeds on a MODEL."""
    adapter = _adapter(prompt, _link(prompt, key, "adapter"))
    checkpoint, unet = _base(prompt, key)
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
        elif kind in _JOINING and len(keys) < limits.CHAIN:
            names = [name for name in _inputs(prompt, key) if name.startswith("embeds")]
            linked = [_link(prompt, key, name) for name in names]
            keys += [one for one in linked if one and one not in keys]


def _base(prompt: Prompt, key: str) -> tuple[str, str]:
    """The file of the checkpoint or of the UNet that a node's MODEL comes from, "" if not known."""
    for _ in range(limits.CHAIN):
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
