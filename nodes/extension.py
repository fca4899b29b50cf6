"""What a user sees: the list of nodes, and the folders they read."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import ComfyExtension, io

from . import apply, doctor, embeds, encode, faces, load, masks, prepare, stored, weights
from .flux_packs import register as flux_packs
from .host import routes
from .host.files import folders
from .plus import cross
from .plus import register as old_names
from .plus.steps import moving

_PACK = Path(__file__).parents[1].name


class IPAdapterExtension(ComfyExtension):
    async def on_load(self) -> None:
        folders.register()
        routes.register(moving.answers)
        old_names.register(_PACK)
        flux_packs.register(_PACK)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        readers = (load, prepare, encode, faces, embeds, stored)
        modules = (*readers, weights, masks, apply, doctor, cross)
        return [node for module in modules for node in module.NODES]
