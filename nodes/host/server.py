"""The host's server, where there is one: paths of it, and prompts before it checks them."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from aiohttp import web

from ...ip_models import limits
from ...ip_models.errors import IPAdapterError, RefusedRequest
from .requests import content, visitor
from .requests.pool import Pool
from .requests.shown_paths import shortened

Given = Mapping[str, Any]
Run = TypeVar("Run", bound=Callable[..., Any])
READING = Pool(limits.READING_THREADS)
"""For what looks into files."""
THINKING = Pool(limits.THINKING_THREADS)
"""For what does not, so that an editor is drawn while the others wait for a disk."""


def running() -> Any:
    """The server that loads this pack, None where there is none."""
    # The host has imported its server before it loads packs; importing it ourselves would start
    # half a server where there is none.
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def serve(path: str, answer: Callable[[Given], object], pool: Pool, method: str = "GET") -> None:
    """Answer requests for a path as JSON; nothing where there is no server.

    Args:
        answer: is given the query of a GET, the JSON object that was sent with a POST.
        pool: whose threads do it.
    """

    async def handle(request: web.Request) -> web.Response:
        try:
            visitor.require_known_host(request)
            sent = await content.received(request)
            local = visitor.is_this_machine(request)
            text = await pool.answer(lambda: _answered(answer, sent, local))
        except RefusedRequest as refusal:
            return web.json_response({"error": str(refusal)}, status=refusal.status)
        return web.json_response(text=text)

    if (server := running()) is not None:
        server.routes.route(method, path)(handle)


def serve_file(path: str, find: Callable[[Given], str], pool: Pool) -> None:
    """Answer requests for a path with a file; nothing where there is no server.

    Args:
        find: is given the query, and gives the file's path or raises an error of this pack.
        pool: whose threads look for it.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            visitor.require_known_host(request)
            sent = await content.received(request)
            found = await pool.answer(lambda: find(sent if isinstance(sent, Mapping) else {}))
        except RefusedRequest as refusal:
            return web.json_response({"error": str(refusal)}, status=refusal.status)
        except IPAdapterError as error:
            said = {"error": str(error)}
            local = visitor.is_this_machine(request)
            return web.json_response(said if local else shortened(said), status=404)
        # A browser that is led here shows nothing of it.
        headers = {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
        return web.FileResponse(found, headers=headers)

    if (server := running()) is not None:
        server.routes.route("GET", path)(handle)


def _answered(answer: Callable[[Given], object], sent: Given | bytes, local: bool) -> str:
    found = answer(content.question(sent) if isinstance(sent, bytes) else sent)
    return json.dumps(found if local else shortened(found))


def before_validation(handler: Callable[[Any], Any]) -> None:
    """Let a function see what is sent to the queue, and change it, before anybody checks it."""
    if (server := running()) is not None:
        server.add_on_prompt_handler(handler)


def told(error: IPAdapterError) -> list[dict[str, Any]]:
    """What the editor offers to do about an error."""
    return [asdict(mend) for mend in error.mends]


def tell(error: IPAdapterError, client: object) -> None:
    """Let an editor know what it can do about an error; all of them where it is not known which."""
    if error.mends and (server := running()) is not None:
        content = {"text": str(error), "mends": told(error)}
        server.send_sync("ipadapter.mends", content, client)


def telling(run: Run) -> Run:
    """Let the editor know what it can do about an error that ends the run of a node.

    The host hands on the sentence alone, by which the editor finds it again.
    """

    @functools.wraps(run)
    def method(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except IPAdapterError as error:
            tell(error, getattr(running(), "client_id", None))
            raise

    return method  # type: ignore[return-value]
