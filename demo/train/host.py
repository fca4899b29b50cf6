"""Makes ComfyUI importable for training and measuring; import this before anything of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path
from types import ModuleType

DEMO = Path(os.path.abspath(__file__)).parents[1]
ROOT = DEMO.parent
PACK = "ipadapter_pack"


def open_host() -> None:
    """ComfyUI from $COMFYUI_PATH on the CPU, this pack, and `toy_nodes` as modules."""
    comfyui = os.environ.get("COMFYUI_PATH") or str(Path.home() / "comfy" / "ComfyUI")
    arguments, sys.argv = sys.argv, [sys.argv[0], "--use-pytorch-cross-attention", *_device()]
    sys.path[:0] = [comfyui, str(DEMO)]
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.cli_args

    sys.argv = arguments
    pack = ModuleType(PACK)
    pack.__path__ = [str(ROOT)]
    sys.modules[PACK] = pack


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
