"""The node that prepares what InstantID's ControlNet hears and sees."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_models.faces.detect import FaceChoice
from ..ip_models.references.features import Features, Regions
from .host.face.encode import OnNoFace, Photos
from .host.face.key_points import key_point_pictures
from .host.model.adapter import LoadedAdapter
from .host.model.face_tokens import face_tokens, give
from .sockets import CATEGORY, Adapter, Embeds, Node, face_models_input

_MOST_PIXELS = 16384  # of a side


class InstantIDConditioning(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAInstantIDConditioning",
            display_name="InstantID Conditioning (IP-Adapter)",
            category=CATEGORY,
            description="The ControlNet's half of InstantID: both prompts with the face in them, "
            "and the picture of where eyes, nose and mouth are to be. Connect all three to Apply "
            "ControlNet with InstantID's ControlNet; the MODEL gets the face by Apply IP-Adapter.",
            search_aliases=[
                "InstantID",
                "IdentityNet",
                "Apply InstantID",
                "Apply InstantID Advanced",
                "InstantID Apply ControlNet",
                "Face Keypoints Preprocessor",
            ],
            inputs=[
                Adapter.Input(
                    "adapter", tooltip="InstantID's ip-adapter.bin, from Load IP-Adapter."
                ),
                Embeds.Input(
                    "embeds",
                    tooltip="Whose face, from Encode Face with antelopev2: the same as for Apply "
                    "IP-Adapter.",
                ),
                io.Conditioning.Input("positive", tooltip="The prompt."),
                io.Conditioning.Input("negative", tooltip="The negative prompt."),
                face_models_input(tooltip="What finds the face in image, from Load Face Models."),
                io.Image.Input(
                    "image",
                    tooltip="A photo with a face where the new one is to be, looking the same "
                    "way: that of the person, or of anybody else.",
                ),
                io.Combo.Input(
                    "face",
                    options=[choice.value for choice in FaceChoice],
                    default=FaceChoice.LARGEST.value,
                    optional=True,
                    tooltip="Which face, where image shows several.",
                ),
                io.Int.Input(
                    "face_index",
                    default=0,
                    min=0,
                    max=99,
                    optional=True,
                    tooltip="Used with left to right: 0 is the face furthest left.",
                ),
                *(_side(name) for name in ("width", "height")),
            ],
            outputs=[
                io.Conditioning.Output("positive", tooltip="For Apply ControlNet."),
                io.Conditioning.Output("negative", tooltip="For Apply ControlNet."),
                io.Image.Output(
                    "key_points", tooltip="The image for Apply ControlNet: five points on black."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        adapter: LoadedAdapter,
        embeds: Features | Regions,
        positive: Any,
        negative: Any,
        face_models: Any,
        image: Tensor,
        face: str = FaceChoice.LARGEST.value,
        face_index: int = 0,
        width: int = 0,
        height: int = 0,
    ) -> io.NodeOutput:
        tokens, empty = face_tokens(adapter, embeds)
        heard = give("positive", positive, tokens), give("negative", negative, empty)
        # Encode Face may pass on that there is no face; then none is needed here either.
        none = not isinstance(embeds, Regions) and embeds.count == 0
        missing = OnNoFace.PASS if none else OnNoFace.ERROR
        photos = Photos(image, FaceChoice(face), face_index, missing)
        return io.NodeOutput(*heard, key_point_pictures(face_models, photos, width, height))


def _side(name: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=0,
        min=0,
        max=_MOST_PIXELS,
        step=8,
        optional=True,
        tooltip=f"The {name} of the picture that is made, so that the points are drawn as thick "
        "as InstantID was trained with; the middle of image is used. 0: as image.",
    )


NODES: list[type[io.ComfyNode]] = [InstantIDConditioning]
