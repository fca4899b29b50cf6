"""One ComfyUI server, spoken to as a program does: files up, a graph through, pictures back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from ..work import FarmError, Graph, Lost
from .answers import UNFETCHED, Failed, outputs, refusal, require_saver

CONNECT_SECONDS = 10
ANSWER_SECONDS = 120  # of a request; a large picture over a slow line takes its time
QUIET_SECONDS = 20  # without a word from the server until it is asked
WRITTEN_SECONDS = 0.002  # between two looks whether an end that was told is in the history
PATIENCE_SECONDS = 30  # for which a server may be away before its row goes to another
AWAY = (500, 502, 503, 504)
EMBEDS_FOLDER = "ipadapter_embeds"  # in the input folder, where Load Embeds looks too
NODE = "IPALoadEmbeds"
CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)
LISTEN_SECONDS = 0.001
ENDINGS = ("execution_success", "execution_error", "execution_interrupted")


class Client:
    """A connection to a server.

    Args:
        address: as "http://gpu1:8188".
    """

    def __init__(self, address: str) -> None:
        self.address = (address if "://" in address else f"http://{address}").rstrip("/")
        self._id = uuid.uuid4().hex
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse[bool] | None = None
        self._there: set[str] = set()  # files that the server has from us
        self.running = ""  # what we wait for

    async def connect(self) -> None:
        """Find the server.

        Raises:
            FarmError: it lacks this pack.
            Lost: it does not answer, or is no ComfyUI.
        """
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout)
        with self._losing():
            # Who is not there is told at once.
            found = await self._json("GET", "/system_stats", again=False)
            if not isinstance(found, dict) or "system" not in found:
                raise Lost(f"{self.address} does not answer as a ComfyUI server")
            if not await self._json("GET", f"/object_info/{NODE}"):
                raise FarmError(
                    f"the ComfyUI at {self.address} has no node {NODE}, and a worker needs this "
                    "pack there. Install it on that server, or leave the server out"
                )
            await self._listen()

    async def require_saver(self, kinds: Iterable[str]) -> None:
        """Make sure that pictures come out of a graph of such nodes.

        Raises:
            JobError: none of them saves any.
        """
        described: dict[str, Any] = {}
        with self._losing():
            for kind in kinds:
                path = f"/object_info/{quote(kind, safe='')}"
                status, content = await self._ask("GET", path, again=False)
                described |= json.loads(content) if status == 200 else {}
        require_saver(kinds, described)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def require_same(self) -> None:
        """Make sure that the server still has what we sent it.

        Raises:
            Lost: it was started again since.
        """
        assert self._socket is not None
        while True:  # what it told since we last listened
            try:
                message = await asyncio.wait_for(self._socket.receive(), LISTEN_SECONDS)
            except asyncio.TimeoutError:
                return
            if message.type in CLOSED:
                raise Lost(f"{self.address} was started again, or closed the connection")

    async def withdraw(self) -> None:
        """Take what we wait for out of the queue, or end it."""
        if self.running:
            with contextlib.suppress(aiohttp.ClientError, asyncio.TimeoutError, OSError, Lost):
                await self._ask("POST", "/queue", json={"delete": [self.running]})
                await self._ask("POST", "/interrupt", json={"prompt_id": self.running})

    def has(self, name: str) -> bool:
        """Whether the server has a file of that name from us."""
        return name in self._there

    async def upload(self, name: str, content: bytes, **fields: str) -> None:
        """Put a file where the server's nodes find it, once.

        Args:
            name: that no other content has.
            fields: `type` and `subfolder` as `POST /upload/image` takes them.
        """
        if self.has(name):
            return
        form = aiohttp.FormData()
        form.add_field("image", content, filename=name, content_type="application/octet-stream")
        for key, value in {"overwrite": "true", **fields}.items():
            form.add_field(key, value)
        with self._losing():
            status, _ = await self._ask("POST", "/upload/image", data=form)
        if status != 200:
            megabytes = len(content) / 2**20
            raise Failed(
                "farm.Upload",
                f"{self.address} does not take a file of {megabytes:.1f} MB ({status}), and its "
                "nodes need it. Start it with a larger --max-upload-size, or shrink the picture",
            )
        self._there.add(name)

    async def run(self, graph: Graph) -> dict[str, Any]:
        """Queue a graph; what its nodes gave.

        Raises:
            Failed: the server refused it or a node failed.
            Lost: the server is gone, or forgot it.
        """
        self.running = str(uuid.uuid4())  # ours, so that it is found though the answer is lost
        try:
            with self._losing():
                await self._queue(graph)
                entry = await self._wait()
        finally:
            self.running = ""
        return outputs(entry)

    async def fetch(self, path: str, where: Mapping[str, str]) -> bytes:
        """The bytes of a file on the server.

        Raises:
            Failed: there is none.
        """
        with self._losing():
            status, content = await self._ask("GET", path, params=where)
        if status != 200:
            name = where.get("filename") or where.get("file")
            raise Failed(UNFETCHED, f"{name} was made and cannot be fetched ({status})")
        return content

    # Requests

    async def _queue(self, graph: Graph) -> None:
        body = {"prompt": graph, "client_id": self._id, "prompt_id": self.running}
        for second in _patience():
            try:
                status, content = await self._ask("POST", "/prompt", again=False, json=body)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
                # It may have arrived; twice in the queue it would be made twice.
                await asyncio.sleep(second)
                if await self._entry() is not None or await self._is_queued():
                    return
                continue
            if status == 200:
                return
            if status not in AWAY:
                raise refusal(json.loads(content), graph)
            await asyncio.sleep(second)
        raise Lost(f"{self.address} takes no prompts")

    async def _wait(self) -> dict[str, Any]:
        """The history of what was queued, when it has ended."""
        ended = False
        while True:
            event = "" if ended else await self._event()
            ended = ended or event in ENDINGS
            if event and not ended:
                continue
            entry = await self._entry()
            if entry is not None:
                return entry
            if not await self._is_queued():
                break
            # An end is told before it is in the history, and nothing more may come.
            await asyncio.sleep(WRITTEN_SECONDS)
        entry = await self._entry()  # it may have ended between the two questions
        if entry is None:
            raise Lost(f"{self.address} was started again, or forgot a prompt")
        return entry

    async def _event(self) -> str:
        """What the server tells next of our prompt; empty where it was quiet for long."""
        assert self._socket is not None
        try:
            message = await asyncio.wait_for(self._socket.receive(), QUIET_SECONDS)
        except asyncio.TimeoutError:
            return ""
        if message.type in CLOSED:
            await self._listen()
            return ""
        if message.type is aiohttp.WSMsgType.ERROR:
            raise aiohttp.ClientConnectionError(str(message.data))
        if message.type is not aiohttp.WSMsgType.TEXT:
            return "preview"
        told = json.loads(message.data)
        data = told.get("data")
        ours = isinstance(data, dict) and data.get("prompt_id") == self.running
        return str(told.get("type")) if ours else "other"

    async def _listen(self) -> None:
        assert self._session is not None
        url = f"{self.address}/ws?clientId={self._id}"
        for second in _patience():
            try:
                self._socket = await self._session.ws_connect(url, max_msg_size=0)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
                await asyncio.sleep(second)
            else:
                return
        raise Lost(f"{self.address} does not answer")

    async def _entry(self) -> dict[str, Any] | None:
        found = await self._json("GET", f"/history/{self.running}")
        entry = found.get(self.running) if isinstance(found, dict) else None
        return entry if isinstance(entry, dict) else None

    async def _is_queued(self) -> bool:
        found = await self._json("GET", "/queue")
        queued = [*found.get("queue_running", ()), *found.get("queue_pending", ())]
        return any(item[1] == self.running for item in queued)

    async def _json(self, method: str, path: str, again: bool = True) -> Any:
        status, content = await self._ask(method, path, again)
        if status != 200:
            raise Lost(f"{self.address} answers {status} to {path}")
        return json.loads(content)

    async def _ask(
        self, method: str, path: str, again: bool = True, **what: Any
    ) -> tuple[int, bytes]:
        """Status and content of an answer; a server that is away for a moment is asked again."""
        assert self._session is not None
        for second in _patience():
            try:
                async with self._session.request(method, self.address + path, **what) as reply:
                    content = await reply.read()
                    if reply.status not in AWAY or not again:
                        return reply.status, content
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
                if not again or isinstance(what.get("data"), aiohttp.FormData):  # sent once only
                    raise
            await asyncio.sleep(second)
        raise Lost(f"{self.address} does not answer")

    @contextlib.contextmanager
    def _losing(self) -> Generator[None]:
        """What a connection can end with, as a worker that is lost."""
        try:
            yield
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            raise Lost(f"{self.address} does not answer ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None) or 0  # of names that are not found it is negative
    known = os.strerror(number) if number > 0 else str(error)
    return known[:200] or type(error).__name__


def _patience() -> Iterator[float]:
    """Seconds to wait between tries, as long as a server may be away."""
    waited, second = 0.0, 0.2
    while waited < PATIENCE_SECONDS:
        yield second
        waited, second = waited + second, min(2 * second, 5)
