"""Old names in the host's table of nodes, where no other pack has them.

The host writes each pack into one table and the last one wins. Only free names are taken, so that
ComfyUI_IPAdapter_plus keeps its own whether it is loaded before this pack or after it.
"""

from __future__ import annotations

import logging

from ..host.node_table import enter, owner_of
from ..host.server import READING, before_validation, serve
from ..host.settings import OFF, old_nodes
from . import apply_kinds, apply_others, embeds, loaders, params, pictures, version1, weights
from .migrate.prompts import repair
from .migrate.rules import FORK
from .migrate.served import table
from .steps.profile import Version
from .widgets import OldNode

log = logging.getLogger("ipadapter")

_MODULES = (apply_kinds, apply_others, embeds, loaders, params, pictures, weights, version1)
NODES: dict[str, type[OldNode]] = {
    name: one for module in _MODULES for name, one in module.NODES.items()
}
TITLES: dict[str, str] = {name: text for module in _MODULES for name, text in module.TITLES.items()}


def register(pack: str) -> None:
    """Enter the nodes, unless the settings leave them out.

    Args:
        pack: name of this pack's folder.
    """
    # Both ask whose a name is when they are needed: packs that come later may take it.
    before_validation(lambda sent: repair(sent, is_ours))
    serve("/ipadapter/old_nodes", lambda _: table(is_ours), READING)
    if old_nodes() == OFF:
        return
    foreign = [name for name in NODES if owner_of(name) is not None]
    for name, node in {**NODES, **_of_fork()}.items():
        if owner_of(name) is None:
            title = TITLES.get(name) or f"{TITLES[name.removesuffix(FORK)]} {FORK}"
            enter(name, node, title, pack)
    if foreign:
        log.info(
            "%d of the %d names of ComfyUI_IPAdapter_plus are that pack's own, the rest is here",
            len(foreign),
            len(NODES),
        )


def is_ours(name: object) -> bool:
    """Whether a node of this name is one of these at present."""
    node = owner_of(name) if isinstance(name, str) else None
    return isinstance(node, type) and issubclass(node, OldNode)


def _of_fork() -> dict[str, type[OldNode]]:
    """The same for workflows of the fork; hidden from the search, which has each node once."""
    return {
        name + FORK: type(name + FORK, (node,), {"DEPRECATED": True})
        for name, node in NODES.items()
        if node.VERSION is Version.TWO
    }
