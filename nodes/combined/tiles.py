"""The node that cuts a reference into tiles, each heard where it was."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ...ip_models.pictures.tiles import MOST_OVERLAP
from ...ip_models.references.report import describe, details
from ..host.combined.tiles import MOST_TILES, Cutting, cut_and_encode
from ..host.encoder.view import view
from ..host.node_text import node_text
from ..sockets import CATEGORY, RESENT, Embeds, Node


class Tiles(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPATiles",
            display_name="IPAdapter Tiles",
            category=f"{CATEGORY}/embeds",
            **RESENT,
            description="Cuts a large reference of any shape into tiles. Each is heard in the part "
            "of the picture where it was, with all the detail that the encoder can see.",
            search_aliases=[
                "IPAdapter Tiled",
                "IPAdapterTiled",
                "IPAdapter Tiled Batch",
                "large reference",
                "panorama",
                "regional",
                "split image",
            ],
            inputs=[
                io.ClipVision.Input("clip_vision", tooltip="The encoder the adapter asks for."),
                io.Image.Input(
                    "image",
                    tooltip="The reference, of any shape; a batch of several is cut in the same "
                    "places. Best of the shape of the picture to be made.",
                ),
                io.Int.Input(
                    "tiles",
                    default=0,
                    min=0,
                    max=MOST_TILES,
                    tooltip="Tiles along the short side; the long side gets as many as it needs. 0 "
                    "goes by the shape: two by two of what is nearly a square, one row or column "
                    "of what is not.",
                ),
                io.Float.Input(
                    "overlap",
                    default=0.0,
                    min=0.0,
                    max=MOST_OVERLAP,
                    step=0.05,
                    tooltip="Share of a tile that it has in common with its neighbour. There they "
                    "fade into each other, so that no seam is seen.",
                ),
                io.Image.Input(
                    "negative_image",
                    optional=True,
                    tooltip="What to stay away from, in all tiles.",
                ),
                io.Mask.Input(
                    "attn_mask",
                    optional=True,
                    tooltip="White is the part of the picture to be made that hears the tiles, "
                    "instead of attn_mask of Apply IP-Adapter.",
                ),
                io.Boolean.Input(
                    "preview",
                    default=True,
                    optional=True,
                    tooltip="Shows on the node the tiles as the encoder sees them, 64 at most.",
                ),
            ],
            outputs=[
                Embeds.Output(
                    "embeds",
                    tooltip="A reference for each tile with its mask, for Apply IP-Adapter.",
                ),
                io.Image.Output("tiles", tooltip="The tiles, row by row."),
                io.Mask.Output("masks", tooltip="The place of each tile; where they overlap grey."),
            ],
        )

    @classmethod
    def execute(
        cls,
        clip_vision: Any,
        image: Tensor,
        tiles: int,
        overlap: float,
        negative_image: Tensor | None = None,
        attn_mask: Tensor | None = None,
        preview: bool = True,
    ) -> io.NodeOutput:
        cutting = Cutting(tiles, overlap, negative_image, attn_mask)
        made = cut_and_encode(clip_vision, image, cutting)
        shown = dict[str, Any]()
        if preview:
            images = view(clip_vision, made.reference).images
            shown = ui.PreviewImage(images, cls=cls).as_dict()
        said = node_text(f"{made.text}\n{describe(made.features)}", details(made.features))
        return io.NodeOutput(made.regions, made.pictures, made.masks, ui={**shown, **said})


NODES: list[type[io.ComfyNode]] = [Tiles]
