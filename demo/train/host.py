"""Makes ComfyUI importable for training and measuring; import this before anything of it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

DEMO = Path(os.path.abspath(__file__)).parents[1]
ROOT = DEMO.parent
_ALIAS = "pack"  # as in the tests, which measure in a process that has the host open


def open_host() -> None:
    """Make ComfyUI from $COMFYUI_PATH and `toy_nodes` importable, on the GPU if there is one."""
    comfyui = os.environ.get("COMFYUI_PATH") or str(Path.home() / "comfy" / "ComfyUI")
    arguments, sys.argv = sys.argv, [sys.argv[0], "--use-pytorch-cross-attention", *_device()]
    sys.path[:0] = [comfyui, str(DEMO)]
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.cli_args

    sys.argv = arguments
    alias = ModuleType(_ALIAS)
    alias.__path__ = [str(ROOT)]
    sys.modules[_ALIAS] = alias


def pack(name: str) -> Any:
    """A module of this pack, e.g. "nodes.apply"."""
    return importlib.import_module(f"{_ALIAS}.{name}")


def keep_memory() -> None:
    """Give no memory back between steps, where the C library can be told so.

    Large tensors are otherwise mapped anew each time. Set from outside ($MALLOC_MMAP_THRESHOLD_),
    this once made batches of 64 seven times as fast; not measured again on a quiet machine.
    """
    trim_threshold, mmap_threshold, never = -1, -3, 2**31 - 1
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, never)
        library.mallopt(trim_threshold, never)


def _device() -> list[str]:
    import torch

    return [] if torch.cuda.is_available() else ["--cpu"]
