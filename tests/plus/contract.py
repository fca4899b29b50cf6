"""What clients and packs rely on of an old node, as facts that can be kept: names and numbers."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nodes as host

RECORDED = Path(__file__).parent / "recorded" / "contract.json"
# Ids of version 1, and what ours are called where version 2 took the name for another node.
VERSION_1 = {
    "IPAdapterApply": "IPAdapterApply",
    "IPAdapterApplyFaceID": "IPAdapterApplyFaceID",
    "IPAdapterApplyEncoded": "IPAdapterApplyEncoded",
    "IPAdapterTilesMasked": "IPAdapterTilesMasked",
    "IPAdapterEncoder": "IPAdapterEncoderV1",
    "IPAdapterBatchEmbeds": "IPAdapterBatchEmbeds",
    "InsightFaceLoader": "InsightFaceLoader",
    "PrepImageForInsightFace": "PrepImageForInsightFace",
}
_FILES = ("ipadapter_file", ("IPAdapterLoadEmbeds", "embeds"))
_OF_THIS_HOST = ("name", "python_module")

Facts = dict[str, dict[str, Any]]


@contextmanager
def entered(classes: Mapping[str, Any], titles: Mapping[str, str]) -> Iterator[None]:
    """The classes in the host's table, as its loader of packs puts them there."""
    with (
        patch.dict(host.NODE_CLASS_MAPPINGS, classes),
        patch.dict(host.NODE_DISPLAY_NAME_MAPPINGS, titles),
    ):
        yield


def facts(classes: Mapping[str, Any], titles: Mapping[str, str]) -> Facts:
    """All of each class, as JSON has it."""
    with entered(classes, titles):
        ask = _object_info()
        made = {
            name: {"info": _info(name, ask(name)), "method": method(cls)}
            for name, cls in classes.items()
        }
    return json.loads(json.dumps(made))


def method(cls: Any) -> list[list[Any]]:
    """Names of the method's arguments in their order, each with its default if it has one."""
    parameters = list(inspect.signature(getattr(cls, cls.FUNCTION)).parameters.values())
    return [
        [one.name] if one.default is one.empty else [one.name, one.default]
        for one in parameters[1:]
        if one.kind is not one.VAR_KEYWORD
    ]


def takes_more(cls: Any) -> bool:
    """Whether the method ignores arguments that it does not know."""
    kinds = [one.kind for one in inspect.signature(getattr(cls, cls.FUNCTION)).parameters.values()]
    return inspect.Parameter.VAR_KEYWORD in kinds


def _info(name: str, info: dict[str, Any]) -> dict[str, Any]:
    for group in info["input"].values():
        for key, value in group.items():
            if key in _FILES or (name, key) in _FILES:
                assert isinstance(value[0], list)
                group[key] = ["FILES", *value[1:]]
    return {key: value for key, value in info.items() if key not in _OF_THIS_HOST}


def _object_info() -> Callable[[str], dict[str, Any]]:
    """What the host's own server answers to GET /object_info/NAME."""
    import server

    before = getattr(server.PromptServer, "instance", None)
    loop = asyncio.new_event_loop()
    made = server.PromptServer(loop)
    server.PromptServer.instance = before
    (route,) = (one for one in made.routes if one.path == "/object_info/{node_class}")

    class Request:
        def __init__(self, name: str) -> None:
            self.match_info = {"node_class": name}

    def ask(name: str) -> dict[str, Any]:
        answer = loop.run_until_complete(route.handler(Request(name)))
        return json.loads(answer.body)[name]

    return ask
