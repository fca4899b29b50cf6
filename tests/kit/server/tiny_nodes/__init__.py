"""Loader nodes that need no files: random models for the tests only."""

from __future__ import annotations

from functools import cache
from typing import Any

from comfy_api.latest import ComfyExtension, io

RANDOM_WEIGHTS = "random weights (demo)"
RANDOM_SDXL = "random weights, SDXL (demo)"


class DemoCheckpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADemoCheckpoint",
            display_name="Demo Checkpoint (random weights)",
            category="ipadapter/demo",
            description="Tiny random stand-in for a checkpoint of Stable Diffusion 1.5 or SDXL.",
            inputs=[io.Combo.Input("ckpt_name", options=[RANDOM_WEIGHTS, RANDOM_SDXL])],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, ckpt_name: str) -> io.NodeOutput:
        return io.NodeOutput(*checkpoint(ckpt_name))


@cache
def checkpoint(name: str) -> tuple[Any, Any, Any]:
    """MODEL, CLIP and VAE, made once for a server that is told to remember nothing."""
    from .models import tiny_clip, tiny_sdxl_clip, tiny_sdxl_unet, tiny_unet, tiny_vae

    if name == RANDOM_SDXL:
        return tiny_sdxl_unet(), tiny_sdxl_clip(), tiny_vae()
    return tiny_unet(), tiny_clip(), tiny_vae()


class DemoCLIPVision(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADemoCLIPVision",
            display_name="Demo CLIP Vision (random weights)",
            category="ipadapter/demo",
            description="Tiny random stand-in for the ViT-H image encoder.",
            inputs=[io.Combo.Input("clip_name", options=[RANDOM_WEIGHTS])],
            outputs=[io.ClipVision.Output()],
        )

    @classmethod
    def execute(cls, clip_name: str) -> io.NodeOutput:
        from .models import tiny_clip_vision

        return io.NodeOutput(tiny_clip_vision())


class DemoControlNet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADemoControlNet",
            display_name="Demo ControlNet (random weights)",
            category="ipadapter/demo",
            description="Tiny random stand-in for a ControlNet of Stable Diffusion 1.5 or SDXL.",
            inputs=[io.Combo.Input("control_net_name", options=[RANDOM_WEIGHTS, RANDOM_SDXL])],
            outputs=[io.ControlNet.Output()],
        )

    @classmethod
    def execute(cls, control_net_name: str) -> io.NodeOutput:
        from .models import SDXL_CONFIG, UNET_CONFIG, tiny_control_net

        sdxl = control_net_name == RANDOM_SDXL
        return io.NodeOutput(tiny_control_net(config=SDXL_CONFIG if sdxl else UNET_CONFIG))


class DemoExtension(ComfyExtension):
    async def on_load(self) -> None:
        from . import placeholders

        placeholders.install()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [DemoCheckpoint, DemoCLIPVision, DemoControlNet]


async def comfy_entrypoint() -> DemoExtension:
    return DemoExtension()
