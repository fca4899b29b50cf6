"""Loader nodes that need no files: random models for the demo and the tests only."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

RANDOM_WEIGHTS = "random weights (demo)"


class DemoCheckpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADemoCheckpoint",
            display_name="Demo Checkpoint (random weights)",
            category="ipadapter/demo",
            description="Tiny random stand-in for a Stable Diffusion 1.5 checkpoint.",
            inputs=[io.Combo.Input("ckpt_name", options=[RANDOM_WEIGHTS])],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, ckpt_name: str) -> io.NodeOutput:
        from .models import tiny_clip, tiny_unet, tiny_vae

        return io.NodeOutput(tiny_unet(), tiny_clip(), tiny_vae())


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


class DemoExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [DemoCheckpoint, DemoCLIPVision]


async def comfy_entrypoint() -> DemoExtension:
    return DemoExtension()
