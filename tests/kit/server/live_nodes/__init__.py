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


class TinyHunyuanVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="IPATestHunyuanVideo", inputs=[], outputs=[io.Model.Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(tiny_hunyuan_video())


def tiny_hunyuan_video() -> Any:
    """A MODEL that no adapter is for, though its blocks are named as those of Flux."""
    config: dict[str, Any] = dict(
        image_model="hunyuan_video",
        in_channels=16,
        out_channels=16,
        vec_in_dim=768,
        context_in_dim=64,
        hidden_size=128,
        mlp_ratio=4.0,
        num_heads=1,
        depth=1,
        depth_single_blocks=1,
        axes_dim=[16, 56, 56],
        theta=256,
        patch_size=[1, 2, 2],
        qkv_bias=True,
        guidance_embed=True,
        byt5=False,
        meanflow=False,
        use_cond_type_embedding=False,
        vision_in_dim=None,
        meanflow_sum=False,
    )
    video = comfy.supported_models.HunyuanVideo(config)
    video.unet_config = config
    video.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(video.get_model({}, "", device="cpu"), cpu, cpu)


class TestExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [BadTensor, TinyHunyuanVideo]


async def comfy_entrypoint() -> TestExtension:
    return TestExtension()
