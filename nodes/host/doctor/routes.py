"""What the editor asks for before anything runs: files, what is missing, what presets do."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from ....ip_models.adapter.spec import require_supported
from ....ip_models.errors import IPAdapterError
from ....ip_models.weights import outline
from ..files import folders
from ..model.adapter import read_file_spec
from . import survey
from .compatibility import Combination, problems


def register() -> None:
    """Add GET /ipadapter/about?file=NAME and others; nothing where there is no server."""
    # The host has imported its server before it loads packs; importing it ourselves would start
    # half a server where there is none.
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    instance = getattr(server, "instance", None)
    if instance is not None:
        instance.routes.get("/ipadapter/about")(_about)
        instance.routes.get("/ipadapter/presets")(_presets)
        instance.routes.get("/ipadapter/doctor")(_doctor)
        instance.routes.get("/ipadapter/check")(_check)


async def _about(request: web.Request) -> web.Response:
    # Off the event loop: an old .bin may take a moment to open.
    text = await asyncio.to_thread(describe, request.query.get("file", ""))
    return web.json_response({"text": [text]})


async def _presets(request: web.Request) -> web.Response:
    """?composition=1&boost=1 gives the factors of every preset, and the parts they are for."""
    try:
        knobs = [float(request.query.get(knob, 1)) for knob in ("composition", "boost")]
        presets = outline.presets_heard(*knobs)
    except (IPAdapterError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=400)
    families = {
        family: {"side": outline.side(family), "parts": outline.parts(family)}
        for family in outline.FAMILIES
    }
    return web.json_response({"families": families, "presets": presets})


async def _doctor(request: web.Request) -> web.Response:
    """?log=1 writes the report to the log as well."""
    logged = request.query.get("log", "") in ("1", "true")
    return web.json_response({"text": await asyncio.to_thread(survey.report, logged=logged)})


async def _check(request: web.Request) -> web.Response:
    """?adapter=NAME&encoder=NAME&checkpoint=NAME and so on, see `Combination`."""
    given = Combination.read(request.query)
    return web.json_response({"text": await asyncio.to_thread(problems, given)})


def describe(name: str) -> str:
    """What an adapter file was recognised as, or the sentence that says why it was not."""
    try:
        spec = read_file_spec(folders.resolve(folders.ADAPTERS, name))
        require_supported(spec, name)
        return spec.describe()
    except (IPAdapterError, OSError) as error:
        return str(error)
