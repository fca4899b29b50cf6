"""The table as the editor asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...host.node_table import names, owner_of
from ...host.settings import forced_old_nodes
from .rules import OUTPUTS, OWN_PACK, PACKS, RENAMES, widgets


def table(is_ours: Callable[[object], bool]) -> dict[str, Any]:
    """The rules for the nodes that are this pack's at present.

    Args:
        is_ours: whether a name is a node of this pack at present.
    """
    ours = [name for name in names() if is_ours(name)]
    return {
        "pack": OWN_PACK,
        "packs": PACKS,
        "renames": [rule for rule in RENAMES if rule["old"] in ours and rule["new"] in ours],
        "outputs": {name: types for name, types in OUTPUTS.items() if name in ours},
        "widgets": {name: widgets(name, owner_of(name)) for name in ours},
        "forced": forced_old_nodes(),
    }
