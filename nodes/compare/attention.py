"""Nodes that show where in the picture a reference is heard."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ...ip_models.attention_maps.view import AttentionView
from ..host.compare.attention import Brightness, Wanted, attention_maps, select, view
from ..sockets import CATEGORY, Attention, Node

_LAST_STEP = 10000  # as KSampler (Advanced) has it
_MOST_REFERENCES = 1000
_ALIASES = ["ipadapter", "ip-adapter", "attention map", "heat map", "heatmap", "where"]


class ViewAttention(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAAttentionView",
            display_name="Attention View (IP-Adapter)",
            category=f"{CATEGORY}/compare",
            description="Notes during sampling where in the picture each reference is heard; the "
            "picture stays the same. Put it between the last Apply and the sampler, and show it "
            "with Attention Map.",
            search_aliases=_ALIASES,
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="From Apply IP-Adapter, or from the last of several.",
                ),
                io.Int.Input(
                    "start_at_step",
                    default=0,
                    min=0,
                    max=_LAST_STEP,
                    optional=True,
                    tooltip="The first step that is looked at, counted from 0 in each run, as "
                    "KSampler (Advanced) does.",
                ),
                io.Int.Input(
                    "end_at_step",
                    default=_LAST_STEP,
                    min=1,
                    max=_LAST_STEP,
                    optional=True,
                    tooltip="The first step that is no longer looked at.",
                ),
                io.String.Input(
                    "blocks",
                    default="",
                    optional=True,
                    tooltip="Which layers are looked at, as Block Weights writes them, like 4-6:1: "
                    "those that are not 0. Empty for all.",
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="For the sampler."),
                Attention.Output("attention", tooltip="For Attention Map."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        start_at_step: int = 0,
        end_at_step: int = _LAST_STEP,
        blocks: str = "",
    ) -> io.NodeOutput:
        last = end_at_step if end_at_step < _LAST_STEP else None
        return io.NodeOutput(*view(model, select(model, blocks, start_at_step, last)))


class AttentionMap(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAAttentionMap",
            display_name="Attention Map (IP-Adapter)",
            category=f"{CATEGORY}/compare",
            description="Shows where in the picture each reference is heard: the share that its "
            "attention has in what the layers give, as a map of colours and as a mask.",
            search_aliases=_ALIASES,
            is_output_node=True,
            inputs=[
                Attention.Input("attention", tooltip="From Attention View."),
                io.Latent.Input(
                    "latent",
                    tooltip="As it comes out of the sampler that has the MODEL of Attention View.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The decoded picture, to lay the map over.",
                ),
                io.Int.Input(
                    "reference",
                    default=0,
                    min=0,
                    max=_MOST_REFERENCES,
                    optional=True,
                    tooltip="Which reference: 1 is that of the first Apply, or its first region. "
                    "Several pictures of one Encode are one reference. 0 shows all of them.",
                ),
                io.Combo.Input(
                    "brightness",
                    options=[one.value for one in Brightness],
                    default=Brightness.STRONGEST.value,
                    optional=True,
                    tooltip="strongest is white: the place where the most is heard, of all maps "
                    "shown. weakest is black: the same, and small differences are seen too. share "
                    "as it is: white would be an output of the reference alone, to compare runs.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image",
                    tooltip="From dark (nothing) to light. One for each reference and picture: "
                    "first all pictures with reference 1.",
                ),
                io.Mask.Output("mask", tooltip="The same as masks."),
            ],
        )

    @classmethod
    def execute(
        cls,
        attention: AttentionView,
        latent: Any,
        image: Tensor | None = None,
        reference: int = 0,
        brightness: str = Brightness.STRONGEST.value,
    ) -> io.NodeOutput:
        wanted = Wanted(image, reference, Brightness(brightness))
        pictures, masks, text = attention_maps(attention, latent, wanted)
        shown = ui.PreviewImage(pictures, cls=cls).as_dict()
        both = {**shown, **ui.PreviewText(text).as_dict()}
        return io.NodeOutput(pictures, masks, ui=both)


NODES: list[type[io.ComfyNode]] = [ViewAttention, AttentionMap]
