"""Nodes between this pack's own sockets and those of ComfyUI_IPAdapter_plus."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ...ip_models.adapter.spec import Feature
from ...ip_models.references.features import FaceFeatures, Features, Regions
from ...ip_models.references.report import describe
from ..sockets import CATEGORY, RESENT, Adapter, Embeds, FaceModels, Node, face_models_input
from .objects.faces import as_insightface
from .objects.pipeline import adapter_of, joined
from .objects.rows import features_of, rows_of

OldAdapter = io.Custom("IPADAPTER")
OldEmbeds = io.Custom("EMBEDS")
_FEATURES = (Feature.POOLED, Feature.PENULTIMATE)


class ConvertAdapter(Node):
    own_checks = ("adapter",)

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAConvertAdapter",
            display_name="Convert IP-Adapter",
            category=f"{CATEGORY}/loaders",
            **RESENT,
            description="Lets nodes of this pack and those of ComfyUI_IPAdapter_plus use one "
            "adapter: connect either sort, both come out. The weights are not loaded twice.",
            search_aliases=["IPADAPTER", "IP_ADAPTER", "ipadapter pipeline", "convert ipadapter"],
            inputs=[
                io.MultiType.Input(
                    "adapter",
                    types=[Adapter, OldAdapter],
                    tooltip="From Load IP-Adapter, or from IPAdapter Unified Loader or IPAdapter "
                    "Model Loader.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="The image encoder that goes with it. Without one, that of the "
                    "IPADAPTER, if it brings one.",
                ),
                face_models_input(
                    optional=True,
                    tooltip="The face models that go with a FaceID adapter. Without them, those "
                    "of the IPADAPTER, if it brings some.",
                ),
            ],
            outputs=[
                Adapter.Output("adapter", tooltip="For Apply IP-Adapter."),
                OldAdapter.Output("ipadapter", tooltip="For the nodes of ComfyUI_IPAdapter_plus."),
                io.ClipVision.Output("clip_vision", tooltip="For Encode Image and Encode Face."),
                FaceModels.Output("face_models", tooltip="For Encode Face."),
            ],
        )

    @classmethod
    def execute(
        cls, adapter: Any, clip_vision: Any = None, face_models: Any = None
    ) -> io.NodeOutput:
        loaded = adapter_of(adapter)
        faces = None if face_models is None else as_insightface(face_models)
        pipeline = joined(adapter, clip_vision, faces)
        encoder, found = pipeline["clipvision"]["model"], pipeline["insightface"]["model"]
        text = f"{loaded.name}\n{loaded.spec.describe()}"
        return io.NodeOutput(loaded, pipeline, encoder, found, ui=ui.PreviewText(text))


class ConvertEmbeds(Node):
    own_checks = ("embeds", "neg_embed")

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAConvertEmbeds",
            display_name="Convert Embeds (IP-Adapter)",
            category=f"{CATEGORY}/embeds",
            **RESENT,
            description="Lets nodes of this pack and those of ComfyUI_IPAdapter_plus use the same "
            "encoded pictures: connect either sort, both come out.",
            search_aliases=[
                "ipadapter",
                "EMBEDS",
                "IPA_EMBEDS",
                "pos_embed",
                "neg_embed",
                "convert embeds",
            ],
            inputs=[
                io.MultiType.Input(
                    "embeds",
                    types=[Embeds, OldEmbeds],
                    tooltip="From Encode Image or Load Embeds, or pos_embed of IPAdapter Encoder.",
                ),
                OldEmbeds.Input(
                    "neg_embed",
                    optional=True,
                    tooltip="neg_embed of the same IPAdapter Encoder. Embeds of this pack bring "
                    "their own.",
                ),
                io.Combo.Input(
                    "feature",
                    options=[feature.value for feature in _FEATURES],
                    default=Feature.POOLED.value,
                    optional=True,
                    tooltip="Which of the features of Encode Image go to pos_embed and neg_embed: "
                    "pooled for standard adapters, penultimate for plus, full face and "
                    "composition. Load IP-Adapter shows what an adapter needs.",
                ),
            ],
            outputs=[
                Embeds.Output("embeds", tooltip="For Apply IP-Adapter or Merge Embeds."),
                OldEmbeds.Output("pos_embed", tooltip="For IPAdapter Embeds and its relatives."),
                OldEmbeds.Output("neg_embed", tooltip="For neg_embed of the same node."),
            ],
        )

    @classmethod
    def execute(
        cls, embeds: Any, neg_embed: Any = None, feature: str = Feature.POOLED.value
    ) -> io.NodeOutput:
        if isinstance(embeds, Features | Regions):
            positive, negative = rows_of(embeds, Feature(feature))
        else:
            embeds = features_of(embeds, neg_embed)
            positive, negative = _rows(embeds)
        return io.NodeOutput(embeds, positive, negative, ui=ui.PreviewText(describe(embeds)))


def _rows(embeds: Features) -> tuple[Tensor, Tensor]:
    """The rows of features that were made of them."""
    if isinstance(embeds, FaceFeatures):
        return embeds.identity, embeds.identity * 0
    pooled = embeds.pooled is not None
    return rows_of(embeds, Feature.POOLED if pooled else Feature.PENULTIMATE)


NODES: list[type[io.ComfyNode]] = [ConvertAdapter, ConvertEmbeds]
