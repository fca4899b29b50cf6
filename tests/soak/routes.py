"""What editors ask beside the queue, politely and otherwise, one at a time and many at once."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import quote, urlsplit

from soak.bed import TINY
from soak.passing import Acts
from soak.session import Session

ASKED = ("/ipadapter/doctor", "/ipadapter/old_nodes", f"/ipadapter/about?file={TINY}")
CHECKED = (
    f"/ipadapter/check?adapter={TINY}&checkpoint=tiny_sd15.safetensors",
    f"/ipadapter/family?adapter={TINY}",
    "/ipadapter/check?adapter=../../etc/passwd",
    "/ipadapter/family",
)
POSTED: tuple[tuple[str, bytes], ...] = (
    ("weights", json.dumps({"preset": "custom", "weights": "0:1, 3:0.5"}).encode()),
    ("weights", json.dumps({"preset": "custom", "weights": "1," * 5000}).encode()),
    ("schedule", json.dumps({"over": "steps", "start": 1.0, "end": 0.0}).encode()),
    ("schedule", json.dumps({"values": "-" * 50_000}).encode()),
    ("moving", json.dumps({"type": "IPAdapterApply", "values": [1]}).encode()),
    *((path, body) for path in ("weights", "moving") for body in (b"", b"[" * 50_000, b"\xff{")),
)
AT_ONCE, THREADS, SECONDS = 40, 8, 60


def acts(hostile: Iterable[str]) -> Acts:
    """All of them by name; none is a prompt."""
    about = tuple(f"/ipadapter/about?file={quote(name)}" for name in hostile)
    for path in (*ASKED, *CHECKED, *about):
        yield path, partial(_ask, "GET", path, None)
    for name, body in POSTED:
        yield f"/ipadapter/{name}", partial(_ask, "POST", f"/ipadapter/{name}", body)
    yield "many at once", many_at_once


def _ask(method: str, path: str, body: bytes | None, session: Session) -> None:
    """Any answer of the server's is one, but not that something is wrong with it."""
    status = status_of(session.client.address, method, path, body)
    if status == 500:
        session.fault(path, f"the server answers {status}")


def many_at_once(session: Session) -> None:
    ask = partial(status_of, session.client.address, "GET")
    with ThreadPoolExecutor(THREADS) as pool:
        found = set(pool.map(ask, ASKED * (AT_ONCE // len(ASKED))))
    if not found <= {200, 503}:
        session.fault("many at once", f"the server answers {found}")


def status_of(address: str, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=SECONDS)
    try:
        connection.request(method, path, body)
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()
