"""The host's table of nodes, into which packs of its first API write."""

from __future__ import annotations

from typing import Any

import nodes as host


def names() -> list[str]:
    """The names of all nodes of the host and of all packs, at present."""
    return list(host.NODE_CLASS_MAPPINGS)


def owner_of(name: str) -> Any:
    """The class that has a name at present, None if it is free."""
    return host.NODE_CLASS_MAPPINGS.get(name)


def enter(name: str, node: Any, title: str, pack: str) -> None:
    """Give a name to a class of this pack.

    Args:
        pack: name of its folder, which the host would find out only for what it enters itself.
    """
    node.RELATIVE_PYTHON_MODULE = f"custom_nodes.{pack}"
    host.NODE_CLASS_MAPPINGS[name] = node
    host.NODE_DISPLAY_NAME_MAPPINGS[name] = title
