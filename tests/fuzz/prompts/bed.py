"""The host in this process: its server object, its validation, its queue, its executor.

Nothing listens and nothing runs by itself, so that thousands of prompts a minute go the whole way
from the text of a request to the history, each watched.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import logging
import resource
import shutil
import time
import traceback
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from conftest import ROOT
from torch import Tensor

from . import objects

PACK = "ip-adapter-pack"
_HEADROOM = {"lru": 0, "ram": 2.0, "ram_inactive": 8.0}  # GB, as the host's worker has it


@dataclass(frozen=True)
class Outcome:
    """What became of a prompt.

    Attributes:
        kind: "ran", "refused" before it was queued, "failed" while it ran, or "ended" the worker.
        error: the full name of the exception's class, and where it was raised.
        words: what the user reads.
        answer: characters of all that the host answers and keeps in its history.
        seconds: of processor time.
        growth: MB of memory at the highest point above what there was before.
        digest: of the latent that it has made, if it has.
    """

    kind: str
    error: str = ""
    words: str = ""
    answer: int = 0
    seconds: float = 0.0
    growth: float = 0.0
    digest: str = ""


class Bed:
    """One host with the pack, models and a few nodes of the tests."""

    def __init__(self) -> None:
        import execution
        import folder_paths
        import server

        self.base = Path(folder_paths.base_path)
        for folder in ("custom_nodes", "input", "output", "temp"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        _write_files(self.base)
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.server = server.PromptServer(self.loop)
        # By its name: a checker takes it for the pack's folder of that name.
        nodes: Any = importlib.import_module("nodes")
        before = set(nodes.NODE_CLASS_MAPPINGS)
        folders = (ROOT, ROOT / "tests/kit/server/tiny_nodes", Path(__file__).parent / "fuzz_nodes")
        for source in folders:
            self._install(nodes, source)
        self.classes: dict[str, Any] = {
            name: kind
            for name, kind in nodes.NODE_CLASS_MAPPINGS.items()
            if name not in before and not name.startswith(("Fuzz", "IPADemo"))
        }
        self.execution = execution
        self.queue = execution.PromptQueue(self.server)
        self.executor = execution.PromptExecutor(self.server, cache_args=dict(_HEADROOM))
        logging.disable(logging.CRITICAL)

    def _install(self, nodes: Any, source: Path) -> None:
        place = self.base / "custom_nodes" / (PACK if source == ROOT else source.name)
        place.symlink_to(source, target_is_directory=True)
        loading = nodes.load_custom_node(str(place), module_parent="custom_nodes")
        assert self.loop.run_until_complete(loading), source

    def run(self, text: str) -> Outcome:
        """Send a prompt, as its JSON, and wait for its end."""
        _forget_peak()
        for name in [name for name in objects.TABLE if name.startswith("taken")]:
            del objects.TABLE[name]
        before, start = _memory("VmRSS"), time.process_time()
        try:
            outcome = self._send(json.loads(text))
        except Exception as error:  # noqa: BLE001  what would end the thread of the host's queue
            outcome = Outcome("ended", _where(error), str(error)[:2000])
        seconds, growth = time.process_time() - start, _memory("VmHWM") - before
        return replace(outcome, seconds=seconds, growth=growth, digest=_digest())

    def _send(self, prompt: Any) -> Outcome:
        sent = self.server.trigger_on_prompt({"prompt": prompt})["prompt"]
        if replacing := getattr(self.server, "node_replace_manager", None):
            replacing.apply_replacements(sent)
        name = str(uuid.uuid4())
        valid = self.loop.run_until_complete(self.execution.validate_prompt(name, sent, None))
        answer = json.dumps(valid[1:], default=repr)
        raised = _raised(valid[3])
        if not valid[0]:
            return Outcome("refused", raised, "", len(answer))
        self.queue.put((0, name, sent, {}, valid[2], {}))
        item, number = self.queue.get()
        self.executor.execute(item[2], name, {}, item[4])
        history, messages = self.executor.history_result, self.executor.status_messages
        done = self.execution.PromptQueue.ExecutionStatus(
            "success" if self.executor.success else "error", self.executor.success, messages
        )
        self.queue.task_done(number, history, status=done)
        size = len(answer) + len(json.dumps([history, messages], default=repr))
        self.queue.wipe_history()
        for kind, told in messages:
            if kind == "execution_error":
                raised = f"{told['exception_type']} at {_last(told['traceback'])}"
                return Outcome("failed", raised, told["exception_message"].rstrip("\n"), size)
        return Outcome("ran", raised, "", size)

    def clean(self) -> None:
        """Without what prompts have saved."""
        for folder in ("output", "temp"):
            shutil.rmtree(self.base / folder, ignore_errors=True)
            (self.base / folder).mkdir()


def _write_files(base: Path) -> None:
    """Models of every kind that the nodes know, pictures and saved embeds."""
    from soak import bed as soak_bed

    soak_bed.write(base)
    shutil.copy(ROOT / "demo" / "reference.jpg", base / "input" / "reference.jpg")


def _raised(errors: Any) -> str:
    """What the pack's own checks have raised while the host validated, if they have."""
    found = [
        f"{error['extra_info']['exception_type']} at {_last(error['extra_info']['traceback'])}"
        for node in errors.values()
        for error in node["errors"]
        if error["type"].startswith("exception_during")
    ]
    return next((one for one in found if PACK in one), "")


def _last(frames: list[str]) -> str:
    """The line of the pack that was run last, else the last of all."""
    ours = [frame for frame in frames if PACK in frame]
    return (ours or frames or [""])[-1].strip().split("\n")[0].replace(str(ROOT), "")


def _where(error: BaseException) -> str:
    frames = traceback.format_tb(error.__traceback__)
    return f"{type(error).__module__}.{type(error).__name__} at {_last(frames)}"


def _digest() -> str:
    """Of the latent that was taken last."""
    latent = objects.TABLE.get("taken0")
    samples = latent.get("samples") if isinstance(latent, dict) else None
    if not isinstance(samples, Tensor) or samples.layout != torch.strided or samples.is_meta:
        return ""
    return hashlib.sha256(samples.float().numpy().tobytes()).hexdigest()


def _memory(name: str) -> float:
    """MB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # the highest point of all prompts then, which says less
        resource.getrusage(resource.RUSAGE_SELF)
