"""The names of these packs in the host's table of nodes, where no other pack has them."""

from __future__ import annotations

from ..host.node_table import enter, owner_of
from ..host.settings import OFF, old_nodes
from . import apply, loaders, sampler
from .widgets import PackNode

_TABLES = (loaders.TABLE, apply.TABLE, sampler.TABLE)
NODES: dict[str, type[PackNode]] = {
    name: node for table in _TABLES for name, node in table.nodes.items()
}
TITLES: dict[str, str] = {name: title for table in _TABLES for name, title in table.titles.items()}


def register(pack: str) -> None:
    """Enter the nodes, unless the settings leave old ones out.

    Args:
        pack: name of this pack's folder.
    """
    if old_nodes() == OFF:
        return
    for name, node in NODES.items():
        if owner_of(name) is None:
            enter(name, node, TITLES[name], pack)
