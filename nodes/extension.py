"""What a user sees: the list of nodes, and the folders they read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import ComfyExtension, io

from . import apply, doctor, embeds, encode, faces, load, masks, prepare, stored, weights
from .combined import regional, simple, style_composition, tiles
from .compare import attention, sheet, sweep
from .flux_packs import register as flux_packs
from .flux_packs.widgets import PackNode
from .host import routes
from .host.doctor.queued import remember
from .host.files import folders
from .host.node_table import owner_of
from .host.server import before_validation
from .host.unchecked import make_checkable
from .plus import cross
from .plus import register as old_names
from .plus.steps import moving
from .plus.widgets import OldNode
from .sockets import Node

_PACK = Path(__file__).parents[1].name


class IPAdapterExtension(ComfyExtension):
    async def on_load(self) -> None:
        folders.register()
        routes.register(moving.answers)
        old_names.register(_PACK)
        flux_packs.register(_PACK)
        # Last, for old names are others now.
        before_validation(lambda sent: remember(make_checkable(sent, _ours)))

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        readers = (load, prepare, encode, faces, embeds, stored)
        one_task = (*readers, weights, masks, apply, doctor)
        combined = (simple, style_composition, regional, tiles)
        modules = (*combined, *one_task, attention, sweep, sheet, cross)
        return [node for module in modules for node in module.NODES]


def _ours(name: object) -> Any:
    """The class of a name, if it is one of this pack at present."""
    node = owner_of(name) if isinstance(name, str) else None
    ours = isinstance(node, type) and issubclass(node, Node | OldNode | PackNode)
    return node if ours else None
