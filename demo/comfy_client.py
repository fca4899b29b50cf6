"""Queues a workflow on a ComfyUI server and follows it to its pictures."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from prompts import Json, to_prompt

Progress = Callable[[str], None]
Pictures = dict[str, list[Json]]
INTERRUPTED = "the run was interrupted from the editor"


class RunFailed(Exception):
    """The server refused the workflow or a node failed, in the server's words."""


async def run_workflow(address: str, workflow: Json, progress: Progress) -> Pictures:
    """Run a workflow as the editor saves it; see `run_prompt`.

    Raises:
        WorkflowError: the server lacks a node.
    """
    async with _connected(address) as session:
        async with session.get("/object_info") as reply:
            prompt = to_prompt(workflow, await reply.json())
        return await _queue(session, prompt, {"workflow": workflow}, progress)


async def run_prompt(address: str, prompt: Json, progress: Progress) -> Pictures:
    """Run an API prompt; the records (filename, subfolder, type) of the pictures of each node.

    Raises:
        RunFailed: the server refused the prompt, a node failed or the server is gone.
    """
    async with _connected(address) as session:
        return await _queue(session, prompt, {}, progress)


@asynccontextmanager
async def _connected(address: str) -> AsyncGenerator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30)
    try:
        async with aiohttp.ClientSession(address, timeout=timeout) as session:
            yield session
    except aiohttp.ClientError as error:
        raise RunFailed(f"the server stopped answering ({error})") from error


async def _queue(
    session: aiohttp.ClientSession, prompt: Json, kept: Json, progress: Progress
) -> Pictures:
    client = uuid.uuid4().hex
    async with session.ws_connect(f"/ws?clientId={client}", max_msg_size=0) as socket:
        body = {"prompt": prompt, "client_id": client, "extra_data": {"extra_pnginfo": kept}}
        async with session.post("/prompt", json=body) as reply:
            answer = await reply.json()
        if reply.status != 200:
            raise RunFailed(refusal(answer, prompt))
        return await _follow(socket, answer["prompt_id"], prompt, progress)


async def _follow(
    socket: aiohttp.ClientWebSocketResponse[bool],
    prompt_id: str,
    prompt: Json,
    progress: Progress,
) -> Pictures:
    pictures: Pictures = {}
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue
        event = json.loads(message.data)
        kind, data = event["type"], event["data"]
        if data.get("prompt_id") != prompt_id:
            continue
        if kind == "executing" and data.get("node"):
            progress(_title(prompt, data["node"]))
        elif kind == "progress":
            title = _title(prompt, data["node"])
            progress(f"{title}: step {data['value']} of {data['max']}")
        elif kind == "executed":
            pictures[data["node"]] = (data.get("output") or {}).get("images", [])
        elif kind == "execution_success":
            return pictures
        elif kind in ("execution_error", "execution_interrupted"):
            raise RunFailed(failure(data, prompt))
    raise RunFailed("the server closed the connection before the picture was ready")


def refusal(answer: Json, prompt: Json) -> str:
    """Why the server did not take a prompt: one line for it, one for each faulty input."""
    error = answer.get("error") or {}
    lines = [_sentence(error) if isinstance(error, dict) else str(error)]
    for node, report in (answer.get("node_errors") or {}).items():
        lines += [f"{_title(prompt, node)}: {_sentence(fault)}" for fault in report["errors"]]
    return "\n".join(lines)


def failure(data: Json, prompt: Json) -> str:
    """Which node failed, and its message."""
    message = data.get("exception_message") or INTERRUPTED
    return f"{_title(prompt, data.get('node_id'))}: {message.strip().removesuffix('.')}"


def _title(prompt: Json, node: Any) -> str:
    """Title of a node; parts of a subgraph have ids like "3:1" that the prompt may lack."""
    return prompt.get(str(node), {}).get("_meta", {}).get("title", f"node {node}")


def _sentence(error: Json) -> str:
    details = error.get("details")
    return f"{error.get('message', 'unknown error')}{f' ({details})' if details else ''}"
