"""A real ComfyUI server with the pack in it, and the few HTTP calls the tests make."""

from __future__ import annotations

import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import unused_port
from conftest import HOST, ROOT
from kit.server.fork import Fork
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from pack.demo.comfy_server import Server, server_command

Prompt = dict[str, dict[str, Any]]
LIMIT = 600
NODES = ROOT / "tests" / "kit" / "server"


def base_with_adapter(folders: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A server's own folder, and one of models beside it with tiny.safetensors for SD1.5."""
    base = folders.mktemp("comfy base")
    models = base / "shared models"
    (models / "ipadapter").mkdir(parents=True)
    write_tiny_adapter(models / "ipadapter" / "tiny.safetensors")
    return base, models


class Client:
    """Queues prompts and waits for what becomes of them."""

    def __init__(self, server: Server, base: Path) -> None:
        self.address, self.base = server.address, base

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=60) as reply:
            return json.load(reply)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def queue(self, prompt: Prompt) -> str:
        status, answer = self.post("/prompt", {"prompt": prompt})
        assert status == 200, answer
        return answer["prompt_id"]

    def wait(self, prompt_id: str) -> dict[str, Any]:
        """The finished prompt's history entry."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history and history[prompt_id]["status"].get("completed") is not None:
                return history[prompt_id]
            time.sleep(0.1)
        raise TimeoutError(f"prompt {prompt_id} did not finish within {LIMIT} s")

    def run(self, prompt: Prompt) -> dict[str, Any]:
        return self.wait(self.queue(prompt))

    def picture(self, prompt: Prompt, node: str = "save") -> bytes:
        """Pixels of the picture a prompt saves."""
        from PIL import Image

        with Image.open(self.saved(prompt)[node][0]) as image:
            assert image.format == "PNG"
            return image.convert("RGB").tobytes()

    def saved(self, prompt: Prompt) -> dict[str, list[Path]]:
        """Pictures and videos that a prompt saves, by node; those without any are left out."""
        entry = self.run(prompt)
        assert entry["status"]["status_str"] == "success", failure(entry)
        files = {
            node: [
                self.base / "output" / file["subfolder"] / file["filename"]
                for file in output.get("images", [])
                if file["type"] == "output"
            ]
            for node, output in entry["outputs"].items()
        }
        return {node: paths for node, paths in files.items() if paths}


def failure(entry: dict[str, Any]) -> str:
    """Message of the node that failed."""
    for kind, data in entry["status"]["messages"]:
        if kind == "execution_error":
            return f"{data['exception_type']}: {data['exception_message'].strip()}"
    return "no error"


def said_of(client: Client, prompt: Prompt) -> str:
    """Type and sentence, before the run where that can be known, else of the run."""
    status, answer = client.post("/prompt", {"prompt": prompt})
    if status == 400:
        (node_errors,) = answer["node_errors"].values()
        (error,) = node_errors["errors"]
        return error["details"].partition(" - ")[2]
    entry = client.wait(answer["prompt_id"])
    assert entry["status"]["status_str"] == "error"
    return failure(entry)


class ForkedServer(Server):
    """The demo's server, started faster."""

    def __init__(self, command: list[str], folder: Path, port: int) -> None:
        self.port = port
        self.address = f"http://127.0.0.1:{port}"
        self.log = folder / "server.log"
        self.process: Any = Fork(command, folder, self.log, (ROOT, HOST))


@contextmanager
def running(
    base: Path,
    models: Path,
    *options: str,
    packs: Sequence[Path] = (ROOT,),
    later: Sequence[Path] = (),
) -> Iterator[Client]:
    """Start a server on a free port with its files in `base` and models in `models`.

    It has one thread, as the tests beside it: two that wait for each other in a busy loop, on cores
    that others want, take ten times as long.

    Args:
        packs: what is installed beside the nodes of the tests.
        later: packs that the host loads after all others.
    """
    for folder in ("custom_nodes", "later_nodes", "input", "output"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    own = (NODES / "tiny_nodes", NODES / "live_nodes", ROOT / "demo" / "toy_nodes")
    for folder, sources in (("custom_nodes", (*packs, *own)), ("later_nodes", later)):
        for source in sources:
            name = "ip-adapter-pack" if source == ROOT else source.name
            (base / folder / name).symlink_to(source, target_is_directory=True)
    shutil.copy(ROOT / "demo" / "reference.jpg", base / "input" / "reference.jpg")
    folders = {name: name for name in ("checkpoints", "clip_vision", "ipadapter")}
    config = base / "models.yaml"
    more = {"base_path": str(base), "custom_nodes": "later_nodes"}
    config.write_text(json.dumps({"tests": {"base_path": str(models), **folders}, "more": more}))
    port = unused_port()
    command = server_command(HOST, base, config, port, cpu=True)
    assert command[0] == sys.executable
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        start = ForkedServer if sys.platform == "linux" else Server  # others fork less safely
        started = start([*command, *options], base, port)
    with started as server:
        server.wait_until_ready()
        yield Client(server, base)
