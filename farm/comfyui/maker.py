"""Makes pictures with a ComfyUI: one that runs, or one that this starts and ends."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

from ..work import Encoding, FarmError, Graph, Made, Settings, Task
from .answers import UNFETCHED, UNREADABLE, Failed
from .client import EMBEDS_FOLDER, Client
from .pictures import fault
from .png import same_everywhere
from .server import Server

Result = TypeVar("Result")
SAVES = "filename_prefix"


class ComfyMaker:
    """A `work.Maker`.

    Args:
        kinds: classes of the nodes of the job's workflow.

    Raises:
        JobError: none of these nodes saves pictures.
        FarmError: no ComfyUI starts here, or it lacks this pack.
        Lost: the server that was named does not answer.
    """

    def __init__(self, settings: Settings, kinds: Iterable[str] = ()) -> None:
        self.server = None if settings.address else Server(settings)
        address = self.server.address if self.server else settings.address
        self._loop = asyncio.new_event_loop()
        self._client = Client(address)
        own = f"{socket.gethostname()}:{self.server.port}" if self.server else ""
        self.name = own or self._client.address.partition("://")[2]
        try:
            self._do(self._client.connect())
            self._do(self._client.require_saver(kinds))
        except BaseException as error:
            if self.server is not None and isinstance(error, FarmError):
                error.log = self.server.log_text()
            self.close()
            raise

    def encode(self, encoding: Encoding) -> bytes:
        return self._do(self._encode(encoding))

    def make(self, task: Task) -> Made:
        begin = time.monotonic()
        try:
            pictures = self._do(self._make(task))
        except Failed as error:
            return Made((), time.monotonic() - begin, self.name, error.problem, str(error))
        if self.server is not None:
            self.server.sweep()
        return Made(pictures, time.monotonic() - begin, self.name)

    def close(self) -> None:
        """End the server, if it is ours, and what it makes for us, if it is not.

        May be called from another thread while a row is being made.
        """
        if self.server is not None:
            self.server.close()
        elif self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._client.withdraw(), self._loop).result(10)
        if not self._loop.is_running():
            self._do(self._client.close())
            self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._loop.run_until_complete(work)

    async def _encode(self, encoding: Encoding) -> bytes:
        try:
            await self._put(encoding.files)
            outputs = await self._client.run(encoding.graph)
            found = [name for one in outputs.values() for name in one.get("ipadapter_embeds") or ()]
            if not found:
                raise FarmError(
                    f"{self.name} ran the encoder and saved no embeds, and Save Embeds of this "
                    "pack is needed there. Update the IP-Adapter pack on that server"
                )
            return await self._client.fetch("/ipadapter/embeds", {"file": found[0]})
        except Failed as error:
            raise FarmError(str(error), error.problem) from error

    async def _make(self, task: Task) -> tuple[tuple[str, bytes], ...]:
        await self._put(task.files)
        for name, content in task.embeds.items():
            await self._client.upload(name, content, type="input", subfolder=EMBEDS_FOLDER)
        try:
            return await self._paint(_named(task, f"farm/{task.key}"))
        except Failed as error:
            if error.problem != UNFETCHED:
                raise
            # The server remembers the row, and somebody has deleted its picture.
            return await self._paint(_named(task, f"farm/{task.key}-again"))

    async def _paint(self, graph: Graph) -> tuple[tuple[str, bytes], ...]:
        outputs = await self._client.run(graph)
        listed = [one for output in outputs.values() for one in output.get("images") or ()]
        saved = [one for one in listed if isinstance(one, dict) and one.get("type") == "output"]
        if not saved:
            raise Failed(
                "farm.NoPicture",
                "the workflow ran and saved no picture, which is needed. Put a Save Image into it",
            )
        contents = [await self._client.fetch("/view", one) for one in saved]
        endings = [PurePosixPath(one["filename"]).suffix for one in saved]
        return tuple(zip(endings, map(same_everywhere, contents), strict=True))

    async def _put(self, files: Mapping[str, bytes]) -> None:
        await self._client.require_same()
        for name, content in files.items():
            if not self._client.has(name):
                require_whole(name, content)
            await self._client.upload(name, content, type="temp")


def require_whole(name: str, content: bytes) -> None:
    """Refuse a picture of which a part is missing.

    Raises:
        Failed: it is.
    """
    found = fault(name, content)
    if found:
        raise Failed(
            UNREADABLE,
            f"{name} is damaged ({found}), and a whole picture is needed. Get the file again",
        )


def _named(task: Task, prefix: str) -> Graph:
    """The graph, with pictures named by its key: equal rows are equal files, byte for byte."""
    return {
        key: {**node, "inputs": {**node["inputs"], SAVES: prefix}}
        if isinstance(node["inputs"].get(SAVES), str)
        else node
        for key, node in task.graph.items()
    }
