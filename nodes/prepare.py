"""Nodes that make pictures ready for an encoder."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_models.pictures.noise import LARGEST_SEED, MOST_BLUR, SIDE, Noise, Recipe
from ..ip_models.pictures.prepare import Framing, Ground
from .host.pictures.prepare import MOST_NOISE, MOST_SIZE, PrepareOptions, make_noise, prepare_images
from .sockets import CATEGORY, RESENT, Node, face_models_input

_GREY = "#808080"


class PrepareImage(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAPrepareImage",
            display_name="Prepare Image (IP-Adapter)",
            category=f"{CATEGORY}/image",
            **RESENT,
            description="Makes images square the way you want and shows exactly what the encoder "
            "will see. Encode Image changes no pixel of the result.",
            search_aliases=["crop", "pad", "sharpen", "Prep Image For ClipVision"],
            inputs=[
                io.Image.Input("image", tooltip="One reference, or a batch of several."),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="The encoder the image is for: its input size and its mean colour are "
                    "used. Without it those of most encoders.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White is the part of the image to look at; the rest is hidden behind "
                    "pad_colour if pad_with is colour, else behind the mean colour. A hidden face "
                    "is not found.",
                ),
                face_models_input(
                    optional=True,
                    tooltip="Only for crop face: from Load Face Models, or from the InsightFace "
                    "loader of another pack.",
                ),
                io.Combo.Input(
                    "fit",
                    options=[framing.value for framing in Framing],
                    default=Framing.CROP_CENTRE.value,
                    optional=True,
                    tooltip="crop: the largest square, in the middle, at one side, or around the "
                    "largest face. pad: the whole image with bars. squash: the whole image, "
                    "distorted. long side: the shape is kept and the longer side becomes size; "
                    "meant for tiles, because Encode Image still makes it square.",
                ),
                io.Combo.Input(
                    "pad_with",
                    options=[ground.value for ground in Ground],
                    default=Ground.MEAN.value,
                    optional=True,
                    tooltip="What the bars of pad show. mean colour: what says least to the "
                    "encoder. edge: the border of the image continued. colour: pad_colour. blur: "
                    "the image itself, enlarged and blurred.",
                ),
                io.String.Input(
                    "pad_colour",
                    default=_GREY,
                    optional=True,
                    tooltip="Used with pad_with colour: #808080, or an English name such as grey.",
                ),
                io.Float.Input(
                    "sharpening",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="Contrast adaptive sharpening of the result. 0 leaves it as it is, 1 "
                    "is the strongest; low values show already.",
                ),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=MOST_SIZE,
                    optional=True,
                    tooltip="Side of the result in pixels. 0 takes the input size of clip_vision, "
                    "or 224 without it.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="What the encoder sees; for Encode Image."),
                io.Mask.Output(
                    "mask", tooltip="The mask, cut and resized with the image; white without one."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        clip_vision: Any = None,
        mask: Tensor | None = None,
        face_models: Any = None,
        fit: str = Framing.CROP_CENTRE.value,
        pad_with: str = Ground.MEAN.value,
        pad_colour: str = _GREY,
        sharpening: float = 0.0,
        size: int = 0,
    ) -> io.NodeOutput:
        options = PrepareOptions(
            framing=Framing(fit),
            ground=Ground(pad_with),
            colour=pad_colour,
            sharpening=sharpening,
            size=size,
        )
        made = prepare_images(image, options, clip_vision, mask, face_models)
        shown = ui.PreviewImage(made.images, cls=cls).as_dict()
        text = ui.PreviewText(made.text).as_dict()
        return io.NodeOutput(made.images, made.masks, ui={**shown, **text})


class NoiseImage(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPANoiseImage",
            display_name="Noise Image (IP-Adapter)",
            category=f"{CATEGORY}/image",
            **RESENT,
            description="Noise, or an image with noise in it, for negative_image of Encode Image: "
            "the picture stays away from mush and grain, or from the image.",
            search_aliases=["IPAdapterNoise", "negative image", "IPAdapter Noise"],
            inputs=[
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="What the noise goes into; without it, black. Put Prepare Image before "
                    "it if the image is large: fine noise is lost when the encoder shrinks it.",
                ),
                io.Combo.Input(
                    "noise",
                    options=[noise.value for noise in Noise],
                    default=Noise.DISSOLVE.value,
                    optional=True,
                    tooltip="fade: mixed with noise. dissolve: some values replaced by noise. "
                    "gaussian: noise added. shuffle: points moved about, upside down and mirrored, "
                    "with noise added.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="0 is the image alone (turned and bent with shuffle), 1 the most "
                    "noise: with fade and dissolve nothing of the image is left.",
                ),
                io.Int.Input(
                    "blur",
                    default=0,
                    min=0,
                    max=MOST_BLUR,
                    optional=True,
                    tooltip="How far each pixel of the result is blurred, in pixels to each side; "
                    "half of what ComfyUI_IPAdapter_plus calls blur. 0 is none.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=True,
                    optional=True,
                    tooltip="Another seed, another noise of the same kind.",
                ),
                io.Int.Input(
                    "size",
                    default=SIDE,
                    min=16,
                    max=MOST_NOISE,
                    optional=True,
                    tooltip="Side in pixels where no image is connected. 224 is what most encoders "
                    "see.",
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="For negative_image of Encode Image.")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor | None = None,
        noise: str = Noise.DISSOLVE.value,
        strength: float = 1.0,
        blur: int = 0,
        seed: int = 0,
        size: int = SIDE,
    ) -> io.NodeOutput:
        recipe = Recipe(Noise(noise), strength, blur, seed)
        made = make_noise(image, size, recipe)
        return io.NodeOutput(made, ui=ui.PreviewImage(made, cls=cls))


NODES: list[type[io.ComfyNode]] = [PrepareImage, NoiseImage]
