"""The node that shows a mask on the query grid of each layer."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_models.attention.masks import MaskRule
from .host.pictures.mask_view import LEAST_SIDE, MOST_SIDE, Canvas, view_mask
from .sockets import CATEGORY, Node


def _side_input(name: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=512,
        min=LEAST_SIDE,
        max=MOST_SIDE,
        step=8,
        optional=True,
        tooltip=f"{name.capitalize()} of the picture to be made, in pixels. Not used with a "
        "latent.",
    )


class PreviewMask(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAPreviewMask",
            display_name="Preview Mask (IP-Adapter)",
            category=f"{CATEGORY}/image",
            description="Shows how much of the reference each part of the picture will hear: the "
            "mask on the grid of each layer, as attention uses it. Says where a small mask is "
            "almost lost. Works alone.",
            search_aliases=["ipadapter", "attn_mask", "attention mask", "mask preview"],
            is_output_node=True,
            inputs=[
                io.Mask.Input(
                    "mask",
                    tooltip="What goes to attn_mask of Apply IP-Adapter, or to Regions. Several "
                    "masks: one sheet for each, 16 at most.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="The MODEL whose layers are to hear it. Without one, those of SD1.5.",
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="What goes to the sampler, for the size of the picture. Without one, "
                    "width and height.",
                ),
                _side_input("width"),
                _side_input("height"),
                io.Combo.Input(
                    "mask_rule",
                    options=[rule.value for rule in MaskRule],
                    default=MaskRule.AREA.value,
                    optional=True,
                    advanced=True,
                    tooltip="As on Apply IP-Adapter. area: each cell takes the mean of its part of "
                    "the mask. diffusers: black and white only, resized as diffusers does. "
                    "bilinear and bicubic: as ComfyUI_IPAdapter_plus does.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image",
                    tooltip="A sheet for each mask: the mask itself, then the grids from fine to "
                    "coarse, each with its width and height in cells. White hears all, black "
                    "nothing.",
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        mask: Tensor,
        model: Any = None,
        latent: Any = None,
        width: int = 512,
        height: int = 512,
        mask_rule: str = MaskRule.AREA.value,
    ) -> io.NodeOutput:
        sheets, text = view_mask(mask, MaskRule(mask_rule), Canvas(model, latent, width, height))
        shown = ui.PreviewImage(sheets, cls=cls).as_dict()
        return io.NodeOutput(sheets, ui={**shown, **ui.PreviewText(text).as_dict()})


NODES: list[type[io.ComfyNode]] = [PreviewMask]
