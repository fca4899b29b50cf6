"""What was sent with a request, bounded before anybody reads it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

from aiohttp import web

from ....ip_models import limits
from ....ip_models.errors import RefusedRequest

_UNREADABLE, _TOO_MUCH, _TOO_SLOW = 400, 413, 408


async def received(request: web.Request) -> Mapping[str, Any] | bytes:
    """The query of a GET, the body of anything else.

    Raises:
        RefusedRequest: there is more than the editor ever sends, or it does not come.
    """
    if request.method != "GET":
        return await _body(request)
    if len(request.query_string) > limits.QUERY:
        raise _too_much("file names without end", f"{limits.QUERY} characters")
    return request.query


async def _body(request: web.Request) -> bytes:
    try:
        return await asyncio.wait_for(_read(request), limits.REQUEST_SECONDS)
    except asyncio.TimeoutError:
        raise RefusedRequest(
            "the question did not arrive",
            f"all of it is needed in {limits.REQUEST_SECONDS} seconds",
            "Send it again",
            status=_TOO_SLOW,
        ) from None


async def _read(request: web.Request) -> bytes:
    most, body = limits.QUESTION_BYTES, bytearray()
    # What is announced as too long is not waited for.
    announced = request.content_length or 0
    while announced <= most and len(body) <= most:
        part = await request.content.readany()
        if not part:
            return bytes(body)
        body += part
    raise _too_much("a text that is too long to be drawn", f"{most} bytes")


def _too_much(what: str, most: str) -> RefusedRequest:
    return RefusedRequest(
        f"the editor asks about {what}",
        f"a question may have {most}",
        "Shorten the text, or the names of the files",
        status=_TOO_MUCH,
    )


def question(body: bytes) -> Mapping[str, Any]:
    """The values of a node's widgets by name.

    Raises:
        RefusedRequest: it is no JSON object, or one of too many parts.
    """
    # Counted before it is read: looking for those that nobody needs any more, Python stops all.
    if body.count(b"[") + body.count(b"{") > limits.QUESTION_PARTS:
        raise _too_much("lists without end", f"{limits.QUESTION_PARTS} lists")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RefusedRequest(
            "the question is no JSON object",
            "the values of a node's widgets by name are needed, as JSON",
            "Send them so",
            status=_UNREADABLE,
        )
    return cast("dict[str, Any]", found)
