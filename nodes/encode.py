"""Nodes that prepare and encode reference pictures."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..ip_models.image import Fit
from ..ip_models.report import describe
from .host import vision
from .host.vision import Reference, Unconditional
from .sockets import CATEGORY, Embeds


class EncodeImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAEncodeImage",
            display_name="Encode Image (IP-Adapter)",
            category=CATEGORY,
            description="Encodes reference images. The embeds serve every adapter made for this "
            "encoder; a batch of images is several references heard together.",
            search_aliases=["ipadapter", "IPAdapterEncoder", "clip vision encode", "image prompt"],
            inputs=[
                io.ClipVision.Input("clip_vision", tooltip="The encoder the adapter asks for."),
                io.Image.Input("image", tooltip="One reference, or a batch of several."),
                io.Image.Input(
                    "negative_image",
                    optional=True,
                    tooltip="What to stay away from. Without it the negative prompt hears what the "
                    "adapter was trained with.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White is the part of the image to look at; the rest is hidden.",
                ),
                io.Combo.Input(
                    "fit",
                    options=[fit.value for fit in Fit],
                    default=Fit.CROP_CENTRE.value,
                    optional=True,
                    tooltip="How an image that is not square becomes square: crop keeps the middle "
                    "or one side, pad adds a border, squash distorts.",
                ),
                io.Combo.Input(
                    "unconditional",
                    options=[choice.value for choice in Unconditional],
                    default=Unconditional.ZERO_PIXELS.value,
                    optional=True,
                    advanced=True,
                    tooltip="What plus and full face adapters hear in the negative prompt: zero "
                    "pixels as they were trained, or a black image as ComfyUI_IPAdapter_plus "
                    "does. Not used with a negative image.",
                ),
            ],
            outputs=[Embeds.Output("embeds", tooltip="For Apply IP-Adapter or Merge Embeds.")],
        )

    @classmethod
    def execute(
        cls,
        clip_vision: Any,
        image: Any,
        negative_image: Any = None,
        mask: Any = None,
        fit: str = Fit.CROP_CENTRE.value,
        unconditional: str = Unconditional.ZERO_PIXELS.value,
    ) -> io.NodeOutput:
        reference = Reference(
            images=image,
            fit=Fit(fit),
            mask=mask,
            negative=negative_image,
            unconditional=Unconditional(unconditional),
        )
        features = vision.encode(clip_vision, reference)
        return io.NodeOutput(features, ui=ui.PreviewText(describe(features)))


NODES: list[type[io.ComfyNode]] = [EncodeImage]
