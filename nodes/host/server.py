"""The host's server, where there is one: paths of it, and prompts before it checks them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from aiohttp import web


def running() -> Any:
    """The server that loads this pack, None where there is none."""
    # The host has imported its server before it loads packs; importing it ourselves would start
    # half a server where there is none.
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def serve(path: str, answer: Callable[[], object]) -> None:
    """Answer GET of a path with what a function gives, as JSON."""

    async def handle(_request: web.Request) -> web.Response:
        return web.json_response(answer())

    if (server := running()) is not None:
        server.routes.get(path)(handle)


def before_validation(handler: Callable[[Any], Any]) -> None:
    """Let a function see what is sent to the queue, and change it, before anybody checks it."""
    if (server := running()) is not None:
        server.add_on_prompt_handler(handler)
