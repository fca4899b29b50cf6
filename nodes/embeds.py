"""Nodes that make and combine embeds."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_models.combine import Combine, combine
from ..ip_models.errors import BadInput
from ..ip_models.features import FaceFeatures, Features, Region, Regions
from ..ip_models.image import Fit
from ..ip_models.masks import require_mask
from ..ip_models.number_list import parse_numbers
from .host import vision
from .host.apply import require
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


class RegionsOfEmbeds(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPARegions",
            display_name="Regions (IP-Adapter)",
            category=CATEGORY,
            description="Gives each reference a part of the picture of its own. Each is heard by "
            "itself, so that two full masks are twice as loud as one.",
            search_aliases=["ipadapter", "regional", "IPAdapterRegionalConditioning", "masks"],
            inputs=[
                io.Autogrow.Input(
                    "embeds",
                    template=io.Autogrow.TemplatePrefix(
                        Embeds.Input(
                            "embeds", tooltip="A reference, or several that share a part."
                        ),
                        prefix="embeds",
                        min=1,
                        max=_MOST_EMBEDS,
                    ),
                ),
                io.Autogrow.Input(
                    "masks",
                    template=io.Autogrow.TemplatePrefix(
                        io.Mask.Input(
                            "mask", tooltip="White is the part for embeds of the same number."
                        ),
                        prefix="mask",
                        min=0,
                        max=_MOST_EMBEDS,
                    ),
                ),
                io.String.Input(
                    "scales",
                    default="",
                    optional=True,
                    tooltip="A scale for each reference, in order and separated by commas, e.g. "
                    "0.7, 0.3, multiplied with that of Apply IP-Adapter. What is left out counts "
                    "1.",
                ),
            ],
            outputs=[Embeds.Output("embeds", tooltip="For Apply IP-Adapter.")],
        )

    @classmethod
    def execute(
        cls, embeds: dict[str, Any], masks: dict[str, Any] | None = None, scales: str = ""
    ) -> io.NodeOutput:
        regions = pair_regions(embeds, {} if masks is None else masks, scales)
        return io.NodeOutput(regions, ui=ui.PreviewText(_about_regions(regions)))


def pair_regions(embeds: dict[str, Any], masks: dict[str, Any], scales: str) -> Regions:
    """Embeds and masks of the same number, in order.

    Raises:
        BadInput: a mask has no embeds, embeds are regions already, or the scales are wrong.
    """
    references = _by_number(embeds, "embeds")
    planes = _by_number(masks, "mask")
    if not references:
        raise BadInput("no embeds are connected", "regions need one or more", "Connect embeds")
    for number in planes:
        if number not in references:
            raise BadInput(
                f"mask{number} is connected and embeds{number} is not",
                "each mask belongs to the embeds of its number",
                f"Connect embeds{number}, or take the mask away",
            )
    if any(isinstance(features, Regions) for features in references.values()):
        raise BadInput(
            "the output of another Regions node is connected",
            "plain embeds are needed",
            "Connect all references to one Regions node",
        )
    for number, plane in planes.items():
        require(f"mask{number}", plane, Tensor, "a MASK")
        require_mask(plane, f"mask{number}")
    for number, features in references.items():
        require(f"embeds{number}", features, Features, "Encode Image or Encode Face")
    loudness = parse_weights(scales, len(references), "scales")
    return Regions(
        tuple(
            Region(references[number], planes.get(number), scale)
            for number, scale in zip(references, loudness, strict=True)
        )
    )


def _by_number(inputs: dict[str, Any], prefix: str) -> dict[int, Any]:
    """Connected inputs of an Autogrow by the number in their name."""
    if not isinstance(inputs, dict):
        raise BadInput(
            f"{prefix} is one link",
            f"inputs called {prefix}0, {prefix}1 and so on are needed",
            f"Write the link as {prefix}0",
        )
    numbers = {int(name.removeprefix(prefix)): value for name, value in inputs.items()}
    return {number: numbers[number] for number in sorted(numbers) if numbers[number] is not None}


def _about_regions(regions: Regions) -> str:
    lines = [
        f"{region.features.count} reference(s), scale {region.scale:g}, "
        + ("whole picture" if region.mask is None else f"mask {tuple(region.mask.shape)}")
        for region in regions.regions
    ]
    return "\n".join(lines)


def parse_weights(text: str, count: int, name: str = "weights") -> list[float]:
    """Numbers separated by commas, filled up with 1.

    Raises:
        BadInput: something is not a number, or there are more numbers than inputs.
    """
    numbers = parse_numbers(text, name)
    if len(numbers) > count:
        raise BadInput(
            f"{name} is {text!r} for {count} connected embeds",
            "not more than one number for each input is needed",
            "Take numbers away, or connect more embeds",
        )
    return numbers + [1.0] * (count - len(numbers))


def _about(features: Features) -> str:
    count = features.count
    plural = "" if count == 1 else "s"
    if isinstance(features, FaceFeatures):
        seen = f", {features.crops.source}" if features.crops else ""
        return f"{count} face{plural}, {features.source}{seen}"
    return f"{count} reference{plural}, {features.source}, {features.penultimate.shape[1]} tokens"


NODES: list[type[io.ComfyNode]] = [EncodeImage, MergeEmbeds, RegionsOfEmbeds]
