"""Nodes that combine embeds."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_models.errors import BadInput
from ..ip_models.inputs import parse_numbers, shown
from ..ip_models.references.combine import Combine, combine, warning
from ..ip_models.references.features import Features, Region, Regions
from ..ip_models.references.report import describe, details
from .host.checks import by_number
from .host.doctor.queued import written_numbers
from .host.node_text import node_text
from .sockets import CATEGORY, RESENT, Embeds, Node

_MOST_EMBEDS = 50


class MergeEmbeds(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAMergeEmbeds",
            display_name="Merge Embeds",
            category=f"{CATEGORY}/embeds",
            **RESENT,
            description="Joins references of one encoder: concat hears all of them at once, the "
            "other methods mix them into a single reference.",
            search_aliases=[
                "merge ipadapter embeds",
                "ip adapter",
                "combine embeds",
                "IPAdapter Advanced",
                "IPAdapter Combine Embeds",
            ],
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
                    "first image minus the mean of all others. average: their mean. norm average: "
                    "their mean after each value is divided by its size over all references. max, "
                    "min: the largest or smallest of each value. Regions can only be joined by "
                    "concat, and keep their masks.",
                ),
                io.String.Input(
                    "weights",
                    default="",
                    optional=True,
                    tooltip="A weight for each input, in order and separated by commas, e.g. "
                    "1, 0.5, -0.3. What is left out counts 1; a negative weight turns the features "
                    "of its input around. FaceID hears no size of a face, so there a weight counts "
                    "in a mix only.",
                ),
            ],
            outputs=[Embeds.Output("embeds", tooltip="For Apply IP-Adapter or Merge Embeds.")],
        )

    @classmethod
    def validate_inputs(cls, weights: Any = None, embeds: Any = None) -> bool | str:
        # The host gives what is connected to an Autogrow as well.
        return written_numbers("weights", weights)

    @classmethod
    def execute(
        cls, embeds: dict[str, Features | Regions], method: str, weights: str = ""
    ) -> io.NodeOutput:
        parts = list(by_number(embeds, "embeds").values())
        merged = combine(parts, parse_weights(weights, len(parts)), Combine(method))
        said = "\n".join(filter(None, (describe(merged), warning(parts))))
        return io.NodeOutput(merged, ui=node_text(said, details(merged)))


class RegionsOfEmbeds(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPARegions",
            display_name="Regions (IP-Adapter)",
            category=f"{CATEGORY}/embeds",
            **RESENT,
            description="Gives each reference a part of the picture of its own. Each is heard by "
            "itself, so that two full masks are twice as loud as one.",
            search_aliases=[
                "regional",
                "masks",
                "IPAdapter Tiled",
                "IPAdapterTiled",
                "IPAdapter Tiled Batch",
                "IPAdapter from Params",
                "IPAdapter Regional Conditioning",
                "IPAdapter Combine Params",
            ],
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
    def validate_inputs(
        cls, scales: Any = None, embeds: Any = None, masks: Any = None
    ) -> bool | str:
        # The host gives what is connected to an Autogrow as well.
        return written_numbers("scales", scales)

    @classmethod
    def execute(
        cls,
        embeds: dict[str, Features],
        masks: dict[str, Tensor] | None = None,
        scales: str = "",
    ) -> io.NodeOutput:
        regions = pair_regions(embeds, {} if masks is None else masks, scales)
        return io.NodeOutput(regions, ui=node_text(describe(regions), details(regions)))


def pair_regions(embeds: dict[str, Features], masks: dict[str, Tensor], scales: str) -> Regions:
    """Embeds and masks of the same number, in order.

    Raises:
        BadInput: a mask has no embeds, embeds are regions already, or the scales are wrong.
    """
    references = by_number(embeds, "embeds")
    planes = by_number(masks, "mask")
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
    numbers = parse_weights(scales, len(references), "scales")
    return Regions(
        tuple(
            Region(features, planes.get(number), scale)
            for (number, features), scale in zip(references.items(), numbers, strict=True)
        )
    )


def parse_weights(text: str, count: int, name: str = "weights") -> list[float]:
    """Numbers separated by commas, filled up with 1.

    Raises:
        BadInput: something is not a number, or there are more numbers than inputs.
    """
    numbers = parse_numbers(text, name)
    if len(numbers) > count:
        raise BadInput(
            f"{name} is {shown(text)} for {count} connected embeds",
            "not more than one number for each input is needed",
            "Take numbers away, or connect more embeds",
        )
    return numbers + [1.0] * (count - len(numbers))


NODES: list[type[io.ComfyNode]] = [MergeEmbeds, RegionsOfEmbeds]
