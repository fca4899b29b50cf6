"""A node that keeps what it should give back, for the test that the watch sees it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import ComfyExtension, io

KEPT: list[Any] = []
STOP = threading.Event()


class Leak(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPASoakLeak",
            inputs=[io.String.Input("what"), io.Int.Input("number")],
            outputs=[io.String.Output()],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, what: str, number: int) -> io.NodeOutput:
        if what == "memory":
            KEPT.append(os.urandom(2**20))
        elif what == "descriptors":
            KEPT.append(os.open(os.devnull, os.O_RDONLY))
        elif what == "threads":
            KEPT.append(threading.Thread(target=STOP.wait, daemon=True))
            KEPT[-1].start()
        elif what == "files":
            (Path(folder_paths.get_temp_directory()) / f"kept {number}").touch()
        elif what == "picture":
            KEPT.append(number)
        return io.NodeOutput(str(len(KEPT)))


class Changing(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPASoakChanging",
            inputs=[],
            outputs=[io.Int.Output()],
            not_idempotent=True,
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(len(KEPT))


class LeakExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [Leak, Changing]


async def comfy_entrypoint() -> LeakExtension:
    return LeakExtension()
