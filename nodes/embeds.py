"""Nodes that make and combine embeds."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..ip_models.errors import BadInput
from ..ip_models.features import Combine, ImageFeatures, combine
from ..ip_models.image import Fit
from .host import vision
from .host.vision import Reference, Unconditional
from .sockets import CATEGORY, Embeds

_MOST_EMBEDS = 50


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
        return io.NodeOutput(features, ui=ui.PreviewText(_about(features)))


class MergeEmbeds(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAMergeEmbeds",
            display_name="Merge Embeds",
            category=CATEGORY,
            description="Joins references of one encoder: concat hears all of them at once, the "
            "other methods mix them into a single reference.",
            search_aliases=["ipadapter", "IPAdapterCombineEmbeds", "combine embeds"],
            inputs=[
                io.Autogrow.Input(
                    "embeds",
                    template=io.Autogrow.TemplatePrefix(
                        Embeds.Input("embeds", tooltip="Embeds of the same encoder."),
                        prefix="embeds",
                        min=1,
                        max=_MOST_EMBEDS,
                    ),
                ),
                io.Combo.Input(
                    "method",
                    options=[method.value for method in Combine],
                    default=Combine.CONCAT.value,
                    tooltip="concat: all references side by side. add: their sum. subtract: the "
                    "first minus the mean of the others. average: their mean. norm average: their "
                    "mean after each value is divided by its size over all references.",
                ),
                io.String.Input(
                    "weights",
                    default="",
                    optional=True,
                    tooltip="A weight for each input, in order and separated by commas, e.g. "
                    "1, 0.5. What is left out counts 1.",
                ),
            ],
            outputs=[Embeds.Output("embeds", tooltip="For Apply IP-Adapter or Merge Embeds.")],
        )

    @classmethod
    def execute(cls, embeds: dict[str, Any], method: str, weights: str = "") -> io.NodeOutput:
        parts = [part for part in embeds.values() if part is not None]
        merged = combine(parts, parse_weights(weights, len(parts)), Combine(method))
        return io.NodeOutput(merged, ui=ui.PreviewText(_about(merged)))


def parse_weights(text: str, count: int) -> list[float]:
    """Numbers separated by commas, filled up with 1.

    Raises:
        BadInput: something is not a number, or there are more numbers than inputs.
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    try:
        numbers = [float(word) for word in words]
        finite = all(abs(number) < 1e6 for number in numbers)
    except ValueError:
        numbers, finite = [], False
    if not finite or len(numbers) > count:
        raise BadInput(
            f"weights is {text!r} for {count} connected embeds",
            "one number for each input, separated by commas, is needed",
            "Write for example 1, 0.5, or leave it empty",
        )
    return numbers + [1.0] * (count - len(numbers))


def _about(features: ImageFeatures) -> str:
    count = features.count
    plural = "" if count == 1 else "s"
    return f"{count} reference{plural}, {features.source}, {features.penultimate.shape[1]} tokens"


NODES: list[type[io.ComfyNode]] = [EncodeImage, MergeEmbeds]
