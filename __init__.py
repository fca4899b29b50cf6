"""IP-Adapter for ComfyUI: prompt Stable Diffusion with pictures."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    # Imported here so that pytest, which imports the root package, needs no ComfyUI.
    from .nodes import IPAdapterExtension

    return IPAdapterExtension()
