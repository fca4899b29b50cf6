"""Nodes that load face models, read faces and give them to InstantID's ControlNet."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_models.faces.detect import FaceChoice
from ..ip_models.references.features import Features, Regions
from .host.doctor.queued import read_at_once
from .host.face import packs
from .host.face.encode import OnNoFace, Photos, encode_faces, views
from .host.face.engine import EngineChoice, load_engine
from .host.face.key_points import key_point_pictures
from .host.model.adapter import LoadedAdapter
from .host.model.face_tokens import face_tokens, give
from .sockets import CATEGORY, RESENT, Adapter, Embeds, FaceModels, Node, face_models_input

_MOST_PIXELS = 16384  # of a side


class LoadFaceModels(Node):
    own_checks = ("pack",)

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPALoadFaceModels",
            display_name="Load Face Models (IP-Adapter)",
            category=f"{CATEGORY}/loaders",
            **RESENT,
            description="Loads the face detector and recogniser of a pack in models/insightface. "
            "Nothing has to be installed for it and nothing is downloaded. InsightFace's packs are "
            "for non-commercial research only.",
            search_aliases=[
                "insightface",
                "IPAdapter FaceID",
                "IPAdapter FaceID Kolors",
                "IPAdapter FaceID Batch",
                "IPAdapter Unified Loader FaceID",
                "IPAdapter InsightFace Loader",
            ],
            inputs=[
                io.Combo.Input(
                    "pack",
                    options=packs.names(),
                    tooltip="A folder in models/insightface: buffalo_l for FaceID adapters of "
                    "SD1.5 and SDXL, antelopev2 for Kolors and InstantID.",
                ),
                io.Combo.Input(
                    "engine",
                    options=[choice.value for choice in EngineChoice],
                    default=EngineChoice.AUTO.value,
                    optional=True,
                    tooltip="What runs the models. auto and torch: this pack, on the device and in "
                    "the memory of ComfyUI. insightface: the package of that name, where it is "
                    "installed.",
                ),
            ],
            outputs=[FaceModels.Output("face_models", tooltip="For Encode Face.")],
        )

    @classmethod
    async def validate_inputs(cls, pack: str | None = None) -> bool | str:
        # What comes by a link is not known yet.
        return pack is None or await read_at_once(lambda: packs.find(pack))

    @classmethod
    def fingerprint_inputs(cls, pack: str, engine: str | None = EngineChoice.AUTO.value) -> str:
        return f"{packs.fingerprint(pack)}{engine}"  # None if it comes by a link

    @classmethod
    def execute(cls, pack: str, engine: str = EngineChoice.AUTO.value) -> io.NodeOutput:
        loaded = load_engine(packs.find(pack), EngineChoice(engine))
        return io.NodeOutput(loaded, ui=ui.PreviewText(loaded.describe()))


class EncodeFace(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAEncodeFace",
            display_name="Encode Face (IP-Adapter)",
            category=f"{CATEGORY}/embeds",
            **RESENT,
            description="Finds a face in each photo and reads whose it is, for FaceID adapters. "
            "Several photos of one person are heard together.",
            search_aliases=[
                "FaceID",
                "face",
                "portrait",
                "IPAdapter FaceID",
                "IPAdapter FaceID Kolors",
                "IPAdapter FaceID Batch",
            ],
            inputs=[
                face_models_input(
                    tooltip="From Load Face Models, or from the InsightFace loader of another "
                    "pack.",
                ),
                io.Image.Input("image", tooltip="One photo, or a batch of photos of one person."),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="Only for FaceID plus, which also looks at the face: ViT-H, or the "
                    "336 pixel ViT-L for Kolors.",
                ),
                io.Combo.Input(
                    "face",
                    options=[choice.value for choice in FaceChoice],
                    default=FaceChoice.LARGEST.value,
                    optional=True,
                    tooltip="Which face, where a photo shows several. best score is what "
                    "ComfyUI_IPAdapter_plus takes.",
                ),
                io.Combo.Input(
                    "on_no_face",
                    options=[choice.value for choice in OnNoFace],
                    default=OnNoFace.ERROR.value,
                    optional=True,
                    tooltip="What to do about a photo without a face. error: stop. skip: leave it "
                    "out, and stop if none is left. pass: leave it out, and if none is left leave "
                    "the MODEL as it is.",
                ),
                io.Int.Input(
                    "face_index",
                    default=0,
                    min=0,
                    max=99,
                    optional=True,
                    tooltip="Used with left to right: 0 is the face furthest left.",
                ),
                io.Boolean.Input(
                    "preview",
                    default=False,
                    optional=True,
                    tooltip="Shows on the node what the networks see: each face upright as the "
                    "recogniser gets it and, with clip_vision, as that gets it; 64 each at most.",
                ),
            ],
            outputs=[
                Embeds.Output("embeds", tooltip="For Apply IP-Adapter or Merge Embeds."),
                io.Image.Output("crops", tooltip="The faces as the encoder sees them."),
                io.Boolean.Output("found", tooltip="Whether any photo shows a face."),
            ],
        )

    @classmethod
    def execute(
        cls,
        face_models: Any,
        image: Tensor,
        clip_vision: Any = None,
        face: str = FaceChoice.LARGEST.value,
        on_no_face: str = OnNoFace.ERROR.value,
        face_index: int = 0,
        preview: bool = False,
    ) -> io.NodeOutput:
        photos = Photos(image, FaceChoice(face), face_index, OnNoFace(on_no_face))
        read = encode_faces(face_models, photos, clip_vision)
        count = read.features.count
        text = f"{count} of {len(image)} photos with a face"
        shown: list[Any] = []
        for pictures in views(read, clip_vision) if preview else ():
            shown += ui.PreviewImage(pictures, cls=cls).values
        images = {"images": shown, "animated": (False,)} if shown else {}
        words = ui.PreviewText(text).as_dict()
        return io.NodeOutput(read.features, read.crops, count > 0, ui={**images, **words})


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
                "ipadapter",
                "ip adapter",
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


NODES: list[type[io.ComfyNode]] = [LoadFaceModels, EncodeFace, InstantIDConditioning]
