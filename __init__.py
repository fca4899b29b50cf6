"""IP-Adapter for ComfyUI: prompt Stable Diffusion with pictures."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes.extension import IPAdapterExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> IPAdapterExtension:
    # Imported here so that pytest, which imports the root package, needs no ComfyUI.
    from .nodes.extension import IPAdapterExtension

    folder = Path(__file__).parent.name
    if not re.fullmatch(r"[A-Za-z0-9._-]+", folder):
        logging.getLogger(__name__).warning(
            "The folder of this pack is named %r; ComfyUI cannot serve its editor and its examples "
            "from there. Rename it to Latin letters, digits, - _ and ., e.g. ip-adapter-nodes.",
            folder,
        )
    return IPAdapterExtension()
