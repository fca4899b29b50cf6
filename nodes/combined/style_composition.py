"""The node that takes the style of one picture and the layout of another."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ...ip_models.adapter.published import Choice
from ..host.checks import Numbers
from ..host.combined import find
from ..host.combined.reference import describe, encode_for
from ..host.combined.style import KINDS, require_known_blocks
from ..host.model.apply import Settings, apply
from ..sockets import CATEGORY, RESENT, scale_input, window_inputs
from .inputs import FindingNode, kind_input, mask_input, weights_of

STYLE, COMPOSITION = "style transfer", "composition"  # presets of Block Weights


class StyleComposition(FindingNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAStyleComposition",
            display_name="IPAdapter Style + Composition",
            category=CATEGORY,
            **RESENT,
            description="Takes the style of one picture and the layout of another, each with a "
            "scale. Finds the adapter and the image encoder for this MODEL in your folders, and "
            "says which it took.",
            search_aliases=[
                "ipadapter style",
                "style transfer",
                "composition",
                "layout",
                "InstantStyle",
                "IPAdapter Style & Composition SDXL",
                "SDXL IPAdapter Style & Batch Composition",
            ],
            inputs=[
                io.Model.Input("model", tooltip="SD1.5, SD2, SDXL or Kolors."),
                io.Image.Input("style_image", tooltip="Colours, strokes and mood come from here."),
                io.Image.Input("composition_image", tooltip="Where things are comes from here."),
                _scale("style_scale", "style"),
                _scale("composition_scale", "layout"),
                *window_inputs(),
                kind_input(KINDS, optional=True),
                mask_input("attn_mask"),
            ],
            outputs=[io.Model.Output("model", tooltip="The MODEL that hears both pictures.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        style_image: Tensor,
        composition_image: Tensor,
        style_scale: float | tuple[float, ...],
        composition_scale: float | tuple[float, ...],
        start_percent: float,
        end_percent: float,
        kind: str = Choice.STANDARD.value,
        attn_mask: Tensor | None = None,
    ) -> io.NodeOutput:
        require_known_blocks(model)
        found = find.find(model, Choice(kind))
        style, composition = (encode_for(found, one) for one in (style_image, composition_image))
        for encoded, scale, preset in (
            (style, style_scale, STYLE),
            (composition, composition_scale, COMPOSITION),
        ):
            settings = Settings(scale, start_percent, end_percent, attn_mask, weights_of(preset))
            model = apply(model, found.pair.adapter, encoded.features, settings)
        return io.NodeOutput(
            model, ui=ui.PreviewText(describe(found, style, composition, mask=attn_mask))
        )


def _scale(name: str, what: str) -> Numbers:
    like = scale_input()
    return Numbers(
        name,
        default=like.default,
        min=like.min,
        max=like.max,
        step=like.step,
        tooltip=f"How much the {what} counts. 0 turns it off, 1 is what the adapter was trained "
        "with.",
    )


NODES: list[type[io.ComfyNode]] = [StyleComposition]
