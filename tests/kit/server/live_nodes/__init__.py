"""Nodes that only the tests' server has: they make what no well-behaved node would."""

from __future__ import annotations

from typing import Any

import comfy.model_patcher
import comfy.supported_models
import torch
from comfy_api.latest import ComfyExtension, io


class BadTensor(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPATestTensor",
            inputs=[io.String.Input("shape"), io.Float.Input("value", min=-1e30, max=1e30)],
            outputs=[io.Image.Output(), io.Mask.Output()],
        )

    @classmethod
    def execute(cls, shape: str, value: float) -> io.NodeOutput:
        made = torch.full([int(size) for size in shape.split("x")], value)
        if value < -1e20:
            made = made * float("nan")
        return io.NodeOutput(made, made)


class TinyFlux(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="IPATestFlux", inputs=[], outputs=[io.Model.Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(tiny_flux())


def tiny_flux() -> Any:
    """A MODEL of a family that has no cross-attention."""
    config: dict[str, Any] = dict(
        image_model="flux",
        in_channels=16,
        out_channels=16,
        vec_in_dim=32,
        context_in_dim=64,
        hidden_size=64,
        mlp_ratio=2.0,
        num_heads=2,
        depth=1,
        depth_single_blocks=1,
        axes_dim=[8, 12, 12],
        theta=10000,
        patch_size=2,
        qkv_bias=True,
        guidance_embed=True,
        txt_ids_dims=[],
    )
    flux = comfy.supported_models.Flux(config)
    flux.unet_config = config
    flux.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(flux.get_model({}, "", device="cpu"), cpu, cpu)


class TestExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [BadTensor, TinyFlux]


async def comfy_entrypoint() -> TestExtension:
    return TestExtension()
