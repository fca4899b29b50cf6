"""What the user chose in the editor's settings, or whoever runs the server in its environment."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, cast

import folder_paths

from ...ip_models import json_text, limits

AS_SHIPPED, CORRECTED, OFF = "as shipped", "corrected", "off"
_OLD_NODES = "IPAdapter.OldNodes"
_VARIABLE = "IPADAPTER_OLD_NODES"
_USER = "default"  # the one whose settings a server without --multi-user keeps
_FILE = "comfy.settings.json"


def old_nodes() -> str:
    """How the nodes of ComfyUI_IPAdapter_plus behave here: `AS_SHIPPED`, `CORRECTED` or `OFF`."""
    chosen = forced_old_nodes() or _settings().get(_OLD_NODES)
    return chosen if chosen in (CORRECTED, OFF) else AS_SHIPPED


def forced_old_nodes() -> str:
    """What the environment says of them, whatever the user chose; empty if it says nothing."""
    return os.environ.get(_VARIABLE, "").strip().lower()


def _settings() -> dict[str, Any]:
    path = os.path.join(folder_paths.get_user_directory(), _USER, _FILE)
    try:
        return _read(path, os.stat(path).st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=1)
def _read(path: str, _time: int) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            held: object = json_text.read(file.read(limits.HEADER_BYTES + 1))
    except ValueError:
        return {}
    return cast("dict[str, Any]", held) if isinstance(held, dict) else {}
