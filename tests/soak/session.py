"""A server under watch: prompts with what should become of them, and what came of them instead."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.server import live
from kit.server.live import Client, Prompt
from soak import figures
from soak.figures import Figures

PAUSE, LIMIT = 0.01, 120
LONGEST = 500
OURS = "ipadapter."


class Session:
    """Runs prompts one after the other and keeps a list of all that went otherwise.

    Attributes:
        prompts: number of prompts so far.
        ends: how many prompts came to which end.
        faults: sentences about what should not have happened.
    """

    def __init__(self, client: Client, seed: int) -> None:
        self.client, self.base = client, client.base
        self.random = random.Random(seed)
        self.prompts = 0
        self.ends: Counter[str] = Counter()
        self.faults: list[str] = []

    def fault(self, name: str, what: str) -> None:
        self.faults.append(f"prompt {self.prompts}, {name}: {what}")

    def succeed(self, name: str, prompt: Prompt) -> dict[str, Any]:
        """Run a prompt that has to succeed; its outputs by node."""
        entry = self._run(name, prompt)
        if entry and entry["status"]["status_str"] != "success":
            self.fault(name, live.failure(entry))
        return entry["outputs"] if entry else {}

    def picture(self, name: str, prompt: Prompt) -> bytes:
        """The files of the pictures that a prompt saves."""
        sent = self._send(name, prompt)
        entry = self._wait(sent) if sent else {"outputs": {}}
        found = b"".join(
            path.read_bytes() for path in self._files(entry["outputs"]) if path.is_file()
        )
        if not found:
            self.fault(name, f"no picture: {live.failure(entry) if sent else 'refused'}")
        self._remove(entry["outputs"])
        return found

    def fail(self, name: str, prompt: Prompt, words: Sequence[str]) -> None:
        """Run a prompt that has to end with a sentence of ours in which words stand."""
        entry = self._run(name, prompt)
        if not entry:
            return
        said = live.failure(entry)
        if entry["status"]["status_str"] != "error":
            self.fault(name, "should have failed")
        elif missing := [word for word in words if word not in said]:
            self.fault(name, f"{missing} not in {said!r}")
        elif len(said.split(": ", 1)[1]) > LONGEST:
            self.fault(name, f"a message of {len(said)} characters")

    def answer(self, name: str, prompt: Prompt) -> None:
        """Run a prompt that may succeed or end with any sentence of ours."""
        entry = self._run(name, prompt)
        if entry and entry["status"]["status_str"] != "success" and OURS not in live.failure(entry):
            self.fault(name, f"no sentence of ours: {live.failure(entry)}")

    def refuse(self, name: str, prompt: Prompt, words: str) -> None:
        """Post a prompt that has to be refused before it runs."""
        self.prompts += 1
        status, answer = self.client.post("/prompt", {"prompt": prompt})
        self.ends["refused"] += 1
        if status != 400 or words not in str(answer):
            self.fault(name, f"{status} {str(answer)[:300]}")

    def interrupt(self, name: str, prompt: Prompt, after: float) -> None:
        """Interrupt a prompt that has been running for some seconds."""
        sent = self._send(name, prompt)
        if sent is None:
            return
        while not self.client.get("/queue")["queue_running"]:
            time.sleep(PAUSE)
        time.sleep(after)
        self.client.post("/interrupt", {})
        entry = self._wait(sent)
        if "execution_interrupted" not in (kind for kind, _ in entry["status"]["messages"]):
            self.fault(name, f"was not interrupted: {live.failure(entry)}")
        self._remove(entry["outputs"])

    def figures(self) -> Figures:
        # The host keeps the ten thousand last prompts with all they were told.
        self.client.post("/history", {"clear": True})
        return figures.read(self.prompts, self.client.get("/soak/figures"), self.base)

    def _run(self, name: str, prompt: Prompt) -> dict[str, Any]:
        sent = self._send(name, prompt)
        if sent is None:
            return {}
        entry = self._wait(sent)
        self._remove(entry["outputs"])
        return entry

    def _send(self, name: str, prompt: Prompt) -> str | None:
        self.prompts += 1
        status, answer = self.client.post("/prompt", {"prompt": prompt})
        if status != 200 or answer.get("node_errors"):
            self.fault(name, f"{status} {str(answer)[:500]}")
            return None
        return answer["prompt_id"]

    def _wait(self, prompt_id: str) -> dict[str, Any]:
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            entry = self.client.get(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry["status"].get("completed") is not None:
                self.ends[self._end(entry)] += 1
                return entry
            time.sleep(PAUSE)
        raise TimeoutError(f"prompt {self.prompts} did not end within {LIMIT} s")

    @staticmethod
    def _end(entry: dict[str, Any]) -> str:
        kinds = [kind for kind, _ in entry["status"]["messages"]]
        if "execution_interrupted" in kinds:
            return "interrupted"
        return "made" if entry["status"]["status_str"] == "success" else "failed"

    def _files(self, outputs: dict[str, Any]) -> list[Path]:
        listed = [
            file
            for output in outputs.values()
            for value in output.values()
            for file in value
            if isinstance(file, dict) and "filename" in file
        ]
        return [self.base / f["type"] / f["subfolder"] / f["filename"] for f in listed]

    def _remove(self, outputs: dict[str, Any]) -> None:
        """Remove what a prompt was asked to save; all else that lies about counts as growth."""
        for path in self._files(outputs):
            path.unlink(missing_ok=True)
