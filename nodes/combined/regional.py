"""The node of a region: its picture and its prompts, heard inside its mask."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ...ip_models.adapter.published import Choice
from ..host.combined import find
from ..host.combined.reference import describe, encode_for
from ..host.combined.region import joined, masked
from ..host.model.apply import Settings, apply
from ..host.model.bind import binding_of, mark
from ..sockets import CATEGORY, RESENT, scale_input, window_inputs
from .inputs import EVEN, MODELS, FindingNode, kind_input, preset_input, weights_of


class Regional(FindingNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPARegional",
            display_name="IPAdapter Regional",
            category=CATEGORY,
            **RESENT,
            description="One region: its prompts hear its picture, inside its mask. Chain one for "
            "each region and connect all three outputs of the last to the sampler. Finds adapter "
            "and encoder in your folders, and says which it took.",
            search_aliases=[
                "ipadapter regional",
                "region",
                "area",
                "mask",
                "IPAdapter Regional Conditioning",
                "IPAdapter from Params",
            ],
            inputs=[
                io.Model.Input("model", tooltip=f"Of the region before, or the first: {MODELS}"),
                io.Image.Input("image", tooltip="The reference of this region, or several."),
                io.Conditioning.Input("positive", tooltip="What is to be seen in this region."),
                io.Conditioning.Input("negative", tooltip="What is not to be seen in it."),
                kind_input(),
                scale_input(),
                *window_inputs(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White is the region: prompts and picture count there. Left empty, "
                    "the region is the whole picture.",
                ),
                preset_input(optional=True),
                _more("positive"),
                _more("negative"),
            ],
            outputs=[
                io.Model.Output("model", tooltip="For the next region, or the sampler."),
                *(
                    io.Conditioning.Output(
                        name,
                        tooltip=f"For more_{name} of the next region, or {name} of the sampler.",
                    )
                    for name in ("positive", "negative")
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        image: Tensor,
        positive: Any,
        negative: Any,
        kind: str,
        scale: float | tuple[float, ...],
        start_percent: float,
        end_percent: float,
        mask: Tensor | None = None,
        preset: str = EVEN,
        more_positive: Any = None,
        more_negative: Any = None,
    ) -> io.NodeOutput:
        found = find.find(model, Choice(kind))
        encoded = encode_for(found, image)
        binding = binding_of(cls.hidden, found.pair.adapter.name, encoded.features)
        weights = weights_of(preset)
        settings = Settings(scale, start_percent, end_percent, mask, weights, binding=binding)
        heard = apply(model, found.pair.adapter, encoded.features, settings)
        prompts = (
            joined(before, masked(mark(own, binding, name), mask))
            for name, own, before in (
                ("positive", positive, more_positive),
                ("negative", negative, more_negative),
            )
        )
        return io.NodeOutput(
            heard, *prompts, ui=ui.PreviewText(describe(found, encoded, mask=mask))
        )


def _more(name: str) -> io.Conditioning.Input:
    return io.Conditioning.Input(
        f"more_{name}",
        optional=True,
        tooltip=f"The {name} output of the region before, or a {name} prompt for the whole "
        "picture.",
    )


NODES: list[type[io.ComfyNode]] = [Regional]
