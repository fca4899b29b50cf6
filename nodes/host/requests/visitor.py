"""Who asks: under which name this server was called, and whether from the machine itself."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from aiohttp import web
from comfy.cli_args import args

from ....ip_models.errors import RefusedRequest

_FORBIDDEN = 403
_PLAIN, _SECURE = 80, 443
_LOOPBACK = "localhost"
# By these a proxy says that somebody else asks.
_FORWARDED = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
)


def require_known_host(request: web.Request) -> None:
    """Refuse what was sent to this machine under a name that is none of it.

    A page of the internet whose name leads to this machine for a moment (DNS rebinding) is of the
    same origin to a browser, so the host, which compares Host and Origin, lets it through. As
    there, only what arrives by a loopback address is looked at, and nothing where the host was
    told to answer other origins.

    Raises:
        RefusedRequest: the name is foreign, and no proxy has brought it.
    """
    sent = request.headers.get("Host")
    here = _address(request, "sockname")
    if args.enable_cors_header or sent is None or here is None or not here.is_loopback:
        return
    place, port = _split(sent)
    if not _is_own(place) and not _through_proxy(request, port):
        raise RefusedRequest(
            f"the request is for {sent}",
            "a request to this machine is answered under localhost, an address or its own name",
            "Open ComfyUI under one of these, or let the proxy send X-Forwarded-For",
            status=_FORBIDDEN,
        )


def is_this_machine(request: web.Request) -> bool:
    """Whether the request comes from the machine that runs the server, through no proxy."""
    peer, here = _address(request, "peername"), _address(request, "sockname")
    if peer is None or any(name in request.headers for name in _FORWARDED):
        return False
    # A proxy that says nothing of itself may still hand on the name that it was called by.
    own = _is_own(_split(request.headers.get("Host", _LOOPBACK))[0])
    return own and (peer.is_loopback or peer == here)


def _through_proxy(request: web.Request, port: int | None) -> bool:
    """Whether a proxy on this machine has handed on what was sent to a name of its own."""
    headers: Mapping[str, str] = request.headers
    # Browsers say this of what they send encrypted or to this machine by its own name, and no page
    # can say it: a page that leads here by a name of its own is neither.
    if "Sec-Fetch-Site" in headers:
        return True
    # A browser that was led here directly names the port it has connected to, and pages cannot
    # change that. What a page can add are the headers below.
    own = request.transport.get_extra_info("sockname")[1] if request.transport else None
    default = _SECURE if request.secure else _PLAIN
    return (port or default) != own and any(name in headers for name in (*_FORWARDED, "Referer"))


def _split(host: str) -> tuple[str, int | None]:
    """Name and port of a Host header; no name where it is none."""
    try:
        parts: SplitResult = urlsplit(f"//{host}")
        return (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return "", None


def _is_own(name: str) -> bool:
    """Whether a name can be this machine's only: nobody else can lead an address anywhere."""
    machine = socket.gethostname().lower()
    own = (_LOOPBACK, machine, machine.split(".")[0], f"{machine}.local")
    return name in own or name.endswith(f".{_LOOPBACK}") or _parsed(name) is not None


def _address(request: web.Request, end: str) -> Any:
    """The address of one end of the connection, None where it has none."""
    known = request.transport.get_extra_info(end) if request.transport is not None else None
    return _parsed(known[0]) if isinstance(known, tuple) and known else None


def _parsed(text: object) -> Any:
    try:
        address = ipaddress.ip_address(str(text).split("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
