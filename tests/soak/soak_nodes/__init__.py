"""What a server tells of itself while it is watched, and memory that gives out when asked to."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

import psutil
import torch
from aiohttp import web
from comfy_api.latest import ComfyExtension, io
from server import PromptServer
from torch import nn


class MemoryOut(io.ComfyNode):
    """Passes its inputs on; a module of one of them fails once, as on a card that is full."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPASoakMemoryOut",
            inputs=[
                io.Model.Input("model", optional=True),
                io.ClipVision.Input("clip_vision", optional=True),
                io.Int.Input("calls", default=0, tooltip="of norms, before one fails"),
            ],
            outputs=[io.Model.Output(), io.ClipVision.Output()],
            not_idempotent=True,
        )

    @classmethod
    def execute(cls, model: Any = None, clip_vision: Any = None, calls: int = 0) -> io.NodeOutput:
        if model is not None:
            _fail_once(model.model.diffusion_model, calls)
        if clip_vision is not None:
            _fail_once(clip_vision.model, calls)
        return io.NodeOutput(model, clip_vision)


def _fail_once(module: nn.Module, calls: int) -> None:
    """In the middle of a run: in a layer, so that all that is above it has to unwind."""
    left = calls

    def fail(*_: Any) -> None:
        nonlocal left
        if left == 0:
            for hook in hooks:
                hook.remove()
            raise torch.OutOfMemoryError("Allocation on device")
        left -= 1

    layers = (part for part in module.modules() if isinstance(part, nn.LayerNorm))
    hooks = [layer.register_forward_pre_hook(fail) for layer in layers]


class SoakExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [MemoryOut]


async def comfy_entrypoint() -> SoakExtension:
    PromptServer.instance.routes.get("/soak/figures")(_figures)
    return SoakExtension()


async def _figures(_request: web.Request) -> web.Response:
    """What the process holds once all that nobody holds is given back to the system."""
    # Twice: what the first round finalises may free more.
    gc.collect()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    process = psutil.Process()
    files = process.num_handles() if sys.platform == "win32" else process.num_fds()
    resident = process.memory_info().rss
    told = {
        "memory": _held(resident) / 2**20,
        "descriptors": files,
        "threads": process.num_threads(),
        "resident": resident / 2**20,
    }
    return web.json_response(told)


class _Malloc(ctypes.Structure):
    """What glibc's mallinfo2 gives."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _held(resident: int) -> int:
    """Bytes that somebody holds, to the byte; where malloc does not tell, what is resident.

    What is resident goes up and down by megabytes with the holes that a passing peak leaves.
    """
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if ask is None:
        return resident
    ask.restype = _Malloc
    told = ask()
    return told.uordblks + told.hblkhd
