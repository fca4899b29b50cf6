"""Nodes that prepare and encode reference pictures."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_models.pictures.fit import Fit
from ..ip_models.pictures.tiles import MOST_OVERLAP, MOST_TILES, TileMerge, Tiling
from ..ip_models.references.report import describe, details
from .host.encoder.encode import MOST_BATCH, Reference, Unconditional, encode, remarks
from .host.encoder.size import MOST_SIZE
from .host.encoder.view import view
from .host.node_text import node_text
from .sockets import CATEGORY, RESENT, Embeds, Node


class EncodeImage(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAEncodeImage",
            display_name="Encode Image (IP-Adapter)",
            category=f"{CATEGORY}/embeds",
            **RESENT,
            description="Encodes reference images. The embeds serve every adapter made for this "
            "encoder; a batch of images is several references heard together.",
            search_aliases=[
                "ipadapter",
                "clip vision encode",
                "image prompt",
                "IPAdapter Advanced",
                "IPAdapter Batch (Adv.)",
                "IPAdapter Tiled",
                "IPAdapterTiled",
                "IPAdapter Tiled Batch",
                "IPAdapter ClipVision Enhancer",
                "IPAdapter ClipVision Enhancer Batch",
                "IPAdapter Encoder",
            ],
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
                    "or one side, pad adds a border, squash distorts. ComfyUI's crop resizes as "
                    "its CLIP Vision Encode does.",
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
                io.Int.Input(
                    "tiles",
                    default=1,
                    min=1,
                    max=MOST_TILES,
                    optional=True,
                    tooltip="Looks closer: the image is also cut into this many tiles along each "
                    "side, each at the encoder's full resolution. 1 is the whole image alone; 2 "
                    "encodes 4 tiles more, 4 encodes 16.",
                ),
                io.Float.Input(
                    "tile_overlap",
                    default=0.0,
                    min=0.0,
                    max=MOST_OVERLAP,
                    step=0.05,
                    optional=True,
                    advanced=True,
                    tooltip="Share of a tile that it has in common with its neighbour. With more, "
                    "things on the seams are seen whole, and tiles are larger.",
                ),
                io.Combo.Input(
                    "tile_merge",
                    options=[merge.value for merge in TileMerge],
                    default=TileMerge.CONCAT.value,
                    optional=True,
                    advanced=True,
                    tooltip="concat hears whole image and tiles as two references; blend as one "
                    "in between.",
                ),
                io.Float.Input(
                    "tile_ratio",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    advanced=True,
                    tooltip="For blend: how much the whole image counts. 1 is the whole image "
                    "alone, 0 the tiles alone.",
                ),
                io.Int.Input(
                    "batch_size",
                    default=0,
                    min=0,
                    max=MOST_BATCH,
                    optional=True,
                    advanced=True,
                    tooltip="Images or tiles that the encoder gets together; 0 is 8. Less needs "
                    "less memory, more may be faster for long videos.",
                ),
                io.Int.Input(
                    "encoder_size",
                    default=0,
                    min=0,
                    max=MOST_SIZE,
                    step=2,
                    optional=True,
                    advanced=True,
                    tooltip="Side in pixels of what the encoder sees, a multiple of its patches; "
                    "0 is its own. For adapters trained at another size, e.g. 448.",
                ),
                io.Boolean.Input(
                    "preview",
                    default=False,
                    optional=True,
                    tooltip="Shows on the node what the encoder sees, pixel for pixel: the images "
                    "as they are cut and masked, all tiles, the negative image; 64 at most.",
                ),
            ],
            outputs=[Embeds.Output("embeds", tooltip="For Apply IP-Adapter or Merge Embeds.")],
        )

    @classmethod
    def execute(
        cls,
        clip_vision: Any,
        image: Tensor,
        negative_image: Tensor | None = None,
        mask: Tensor | None = None,
        fit: str = Fit.CROP_CENTRE.value,
        unconditional: str = Unconditional.ZERO_PIXELS.value,
        tiles: int = 1,
        tile_overlap: float = 0.0,
        tile_merge: str = TileMerge.CONCAT.value,
        tile_ratio: float = 0.5,
        batch_size: int = 0,
        encoder_size: int = 0,
        preview: bool = False,
    ) -> io.NodeOutput:
        reference = Reference(
            images=image,
            fit=Fit(fit),
            mask=mask,
            negative=negative_image,
            unconditional=Unconditional(unconditional),
            tiling=Tiling(tiles, tile_overlap, TileMerge(tile_merge), tile_ratio),
            batch_size=batch_size,
            size=encoder_size,
        )
        features = encode(clip_vision, reference)
        lines, shown = [describe(features), *remarks(clip_vision, reference)], dict[str, Any]()
        if preview:
            looked = view(clip_vision, reference)
            lines.append(looked.text)
            shown = ui.PreviewImage(looked.images, cls=cls).as_dict()
        text = node_text("\n".join(lines), details(features))
        return io.NodeOutput(features, ui={**shown, **text})


NODES: list[type[io.ComfyNode]] = [EncodeImage]
