"""Makes ComfyUI and the pack importable in a process of the demo's own."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(os.path.abspath(__file__)).parents[1]
COMFYUI = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "comfy" / "ComfyUI")
_ALIAS = "pack"  # as in the tests, which measure in a process that has the host open


def open_host(*arguments: str) -> None:
    """Start ComfyUI's modules with arguments of its command line; call it before importing any."""
    sys.path.insert(0, str(COMFYUI))
    own, sys.argv = sys.argv, [sys.argv[0], *arguments]
    import comfy.options

    comfy.options.enable_args_parsing()
    importlib.import_module("comfy.cli_args")  # which reads sys.argv
    sys.argv = own
    alias = ModuleType(_ALIAS)
    alias.__path__ = [str(ROOT)]
    sys.modules[_ALIAS] = alias


def pack(name: str) -> Any:
    """A module of this pack, e.g. "nodes.apply"."""
    return importlib.import_module(f"{_ALIAS}.{name}")
