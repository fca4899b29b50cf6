"""Loader nodes that need no files: random models for the tests only."""

from __future__ import annotations

from functools import cache
from typing import Any

from comfy_api.latest import ComfyExtension, io

RANDOM_WEIGHTS = "random weights (demo)"
RANDOM_SDXL = "random weights, SDXL (demo)"
RANDOM_SD3 = "random weights, SD3.5 (demo)"
RANDOM_FLUX = "random weights, Flux (demo)"
VIT_L, SIGLIP = "random ViT-L (demo)", "random SigLIP (demo)"


class DemoCheckpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADemoCheckpoint",
            display_name="Demo Checkpoint (random weights)",
            category="ipadapter/demo",
            description="Tiny random stand-in for a checkpoint of Stable Diffusion 1.5 or SDXL.",
            inputs=[io.Combo.Input("ckpt_name", options=[RANDOM_WEIGHTS, RANDOM_SDXL, RANDOM_SD3])],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, ckpt_name: str) -> io.NodeOutput:
        return io.NodeOutput(*checkpoint(ckpt_name))


@cache
def checkpoint(name: str) -> tuple[Any, Any, Any]:
    """MODEL, CLIP and VAE, made once for a server that is told to remember nothing."""
    from .models import tiny_sdxl_clip, tiny_sdxl_unet, tiny_unet, tiny_vae

    if name == RANDOM_SD3:
        from . import transformers

        return transformers.tiny_sd3(), small_clip(), transformers.tiny_vae()
    if name == RANDOM_SDXL:
        return tiny_sdxl_unet(), tiny_sdxl_clip(), tiny_vae()
    return tiny_unet(), small_clip(), tiny_vae()


@cache
def small_clip() -> Any:
    """One for all that have no text model of their own kind; its words alone are 150 MB."""
    from .models import tiny_clip

    return tiny_clip()


class DemoCLIPVision(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADemoCLIPVision",
            display_name="Demo CLIP Vision (random weights)",
            category="ipadapter/demo",
            description="Tiny random stand-in for the ViT-H image encoder.",
            inputs=[io.Combo.Input("clip_name", options=[RANDOM_WEIGHTS, VIT_L, SIGLIP])],
            outputs=[io.ClipVision.Output()],
        )

    @classmethod
    def execute(cls, clip_name: str) -> io.NodeOutput:
        from .models import tiny_clip_vision, tiny_siglip

        if clip_name == SIGLIP:
            return io.NodeOutput(tiny_siglip())
        return io.NodeOutput(tiny_clip_vision(name="ViT-L" if clip_name == VIT_L else "ViT-H"))


class DemoFlux(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADemoFlux",
            display_name="Demo Flux (random weights)",
            category="ipadapter/demo",
            description="Tiny random stand-in for Flux.1.",
            inputs=[],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(flux()[0])


class DemoFluxText(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADemoFluxText",
            display_name="Demo Text Encoders (random weights)",
            category="ipadapter/demo",
            description="Tiny random stand-in for the two text encoders of Flux.1.",
            inputs=[],
            outputs=[io.Clip.Output()],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(flux()[1])


class DemoFluxVAE(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADemoFluxVAE",
            display_name="Demo VAE of Flux (random weights)",
            category="ipadapter/demo",
            description="Tiny random stand-in for the VAE of Flux.1.",
            inputs=[],
            outputs=[io.Vae.Output()],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(flux()[2])


@cache
def flux() -> tuple[Any, Any, Any]:
    """MODEL, CLIP and VAE, made once for a server that is told to remember nothing."""
    from . import transformers

    return transformers.tiny_flux(), small_clip(), transformers.tiny_vae()


class DemoControlNet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADemoControlNet",
            display_name="Demo ControlNet (random weights)",
            category="ipadapter/demo",
            description="Tiny random stand-in for a ControlNet of Stable Diffusion 1.5 or SDXL.",
            inputs=[
                io.Combo.Input(
                    "control_net_name", options=[RANDOM_WEIGHTS, RANDOM_SDXL, RANDOM_FLUX]
                )
            ],
            outputs=[io.ControlNet.Output()],
        )

    @classmethod
    def execute(cls, control_net_name: str) -> io.NodeOutput:
        from .models import SDXL_CONFIG, UNET_CONFIG, tiny_control_net

        if control_net_name == RANDOM_FLUX:
            from . import transformers

            return io.NodeOutput(transformers.flux_control_net())
        sdxl = control_net_name == RANDOM_SDXL
        return io.NodeOutput(tiny_control_net(config=SDXL_CONFIG if sdxl else UNET_CONFIG))


class DemoExtension(ComfyExtension):
    async def on_load(self) -> None:
        from . import placeholders

        placeholders.install()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        flux_nodes = [DemoFlux, DemoFluxText, DemoFluxVAE]
        return [DemoCheckpoint, DemoCLIPVision, DemoControlNet, *flux_nodes]


async def comfy_entrypoint() -> DemoExtension:
    return DemoExtension()
