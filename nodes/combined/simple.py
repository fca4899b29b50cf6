"""The node to begin with: a MODEL and a picture, and no other node for it."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ...ip_models.adapter.published import Choice
from ..host.combined import find
from ..host.combined.reference import describe, encode_for
from ..host.model.apply import Settings, apply
from ..sockets import CATEGORY, RESENT, scale_input, window_inputs
from .inputs import MODELS, FindingNode, kind_input, mask_input, preset_input, weights_of


class Simple(FindingNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPASimple",
            display_name="IPAdapter Simple",
            category=CATEGORY,
            **RESENT,
            description="The node to begin with: makes a MODEL hear a picture. Finds the adapter, "
            "the image encoder and, for FaceID, the face models for this MODEL in your folders, "
            "and says which it took.",
            search_aliases=[
                "ipadapter",
                "ip adapter",
                "image prompt",
                "reference",
                "reference image",
                "style",
                "face",
                "character",
                "likeness",
            ],
            inputs=[
                io.Model.Input("model", tooltip=MODELS),
                io.Image.Input(
                    "image", tooltip="The reference, or a batch of several that are heard together."
                ),
                kind_input(),
                scale_input(),
                preset_input(),
                *window_inputs(),
                mask_input("attn_mask"),
            ],
            outputs=[io.Model.Output("model", tooltip="The MODEL that hears the picture.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        image: Tensor,
        kind: str,
        scale: float | tuple[float, ...],
        preset: str,
        start_percent: float,
        end_percent: float,
        attn_mask: Tensor | None = None,
    ) -> io.NodeOutput:
        found = find.find(model, Choice(kind))
        encoded = encode_for(found, image)
        settings = Settings(scale, start_percent, end_percent, attn_mask, weights_of(preset))
        heard = apply(model, found.pair.adapter, encoded.features, settings)
        return io.NodeOutput(heard, ui=ui.PreviewText(describe(found, encoded, mask=attn_mask)))


NODES: list[type[io.ComfyNode]] = [Simple]
