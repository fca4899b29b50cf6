"""Nodes that put references on a MODEL and take them off again."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..ip_models.weights import EVERYWHERE
from .host import install
from .host.apply import Settings, apply
from .sockets import CATEGORY, Adapter, Embeds, Weights, percent_input, scale_input


class ApplyIPAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAApply",
            display_name="Apply IP-Adapter",
            category=CATEGORY,
            description="Makes a MODEL hear reference images. Apply several in a row for several "
            "adapters; the MODEL that comes in is never changed.",
            search_aliases=["ipadapter", "ip adapter", "IPAdapterAdvanced", "image prompt"],
            inputs=[
                io.Model.Input("model", tooltip="SD1.5, SD2 or SDXL."),
                Adapter.Input("adapter", tooltip="From Load IP-Adapter."),
                Embeds.Input("embeds", tooltip="From Encode Image or Merge Embeds."),
                scale_input(),
                percent_input("start_percent", 0.0, "the reference begins to be heard"),
                percent_input("end_percent", 1.0, "the reference stops to be heard"),
                io.Mask.Input(
                    "attn_mask",
                    optional=True,
                    tooltip="White is the part of the picture that hears the reference. Any size; "
                    "it is stretched over the picture and greys count in part.",
                ),
                Weights.Input(
                    "block_weights",
                    optional=True,
                    tooltip="A factor for each block of the model.",
                ),
            ],
            outputs=[io.Model.Output("model", tooltip="The MODEL that hears the references.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        adapter: Any,
        embeds: Any,
        scale: float,
        start_percent: float,
        end_percent: float,
        attn_mask: Any = None,
        block_weights: Any = None,
    ) -> io.NodeOutput:
        settings = Settings(
            scale, start_percent, end_percent, attn_mask, block_weights or EVERYWHERE
        )
        return io.NodeOutput(apply(model, adapter, embeds, settings))


class RemoveIPAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPARemove",
            display_name="Remove IP-Adapter",
            category=CATEGORY,
            description="Takes all references off a MODEL; patches of other packs stay.",
            search_aliases=["ipadapter", "ip adapter"],
            inputs=[io.Model.Input("model", tooltip="A MODEL with or without references.")],
            outputs=[io.Model.Output("model", tooltip="The MODEL without references.")],
        )

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        return io.NodeOutput(install.remove(model))


NODES: list[type[io.ComfyNode]] = [ApplyIPAdapter, RemoveIPAdapter]
