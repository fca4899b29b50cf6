"""What the editor asks for before anything runs: files, what is missing, what weights mean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web

from ...ip_models.adapter.spec import require_supported
from ...ip_models.errors import IPAdapterError
from ...ip_models.weights.editor_data import Question, drawn_schedule, drawn_weights
from .doctor import survey
from .doctor.compatibility import Combination, drawn_family, problems
from .files import folders
from .model.adapter import read_file_spec
from .model.backbones.layers import VOCABULARY
from .server import running


def register(moving: Callable[[Question], object]) -> None:
    """Add GET /ipadapter/about?file=NAME and others; nothing where there is no server.

    Args:
        moving: answers what the editor asks before it turns old nodes into new ones.
    """
    if (instance := running()) is not None:
        instance.routes.get("/ipadapter/about")(_about)
        instance.routes.post("/ipadapter/weights")(_answering(_drawn_weights))
        instance.routes.post("/ipadapter/schedule")(_answering(drawn_schedule))
        instance.routes.post("/ipadapter/moving")(_answering(moving))
        instance.routes.get("/ipadapter/doctor")(_doctor)
        instance.routes.get("/ipadapter/check")(_check)
        instance.routes.get("/ipadapter/family")(_family)


def _drawn_weights(question: Question) -> object:
    return drawn_weights(question, VOCABULARY)


async def _about(request: web.Request) -> web.Response:
    # Off the event loop: an old .bin may take a moment to open.
    text = await asyncio.to_thread(describe, request.query.get("file", ""))
    return web.json_response({"text": [text]})


def _answering(
    answer: Callable[[Question], object],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that is sent the values of a node's widgets by name, as JSON."""

    def read_and_answer(body: bytes) -> str | None:
        try:
            question = json.loads(body)
        except (ValueError, RecursionError):
            return None
        known = isinstance(question, dict)
        return json.dumps(answer(cast("Question", question))) if known else None

    async def handle(request: web.Request) -> web.Response:
        # Off the event loop: a user may type or paste anything.
        text = await asyncio.to_thread(read_and_answer, await request.read())
        if text is None:
            needed = "the values of a node's widgets by name are needed, as JSON"
            return web.json_response({"error": needed}, status=400)
        return web.json_response(text=text)

    return handle


async def _doctor(request: web.Request) -> web.Response:
    """?log=1 writes the report to the log as well."""
    logged = request.query.get("log", "") in ("1", "true")
    return web.json_response({"text": await asyncio.to_thread(survey.report, logged=logged)})


async def _check(request: web.Request) -> web.Response:
    """?adapter=NAME&encoder=NAME&checkpoint=NAME and so on, see `Combination`."""
    given = Combination.read(request.query)
    return web.json_response({"text": await asyncio.to_thread(problems, given)})


async def _family(request: web.Request) -> web.Response:
    """?adapter=NAME&checkpoint=NAME&unet=NAME, see `drawn_family`."""
    given = Combination.read(request.query)
    return web.json_response({"family": await asyncio.to_thread(drawn_family, given)})


def describe(name: str) -> str:
    """What an adapter file was recognised as, or the sentence that says why it was not."""
    try:
        spec = read_file_spec(folders.resolve(folders.ADAPTERS, name))
        require_supported(spec, name)
        return spec.describe()
    except (IPAdapterError, OSError) as error:
        return str(error)
