"""Nodes that put references on a MODEL and take them off again."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_models.attention.call import BatchMode
from ..ip_models.attention.keyvalue import KvScaling
from ..ip_models.attention.masks import MaskRule
from ..ip_models.references.features import Features, Regions
from ..ip_models.weights.gains import EVERYWHERE, Weights
from .host.doctor.queued import applied
from .host.model import patches
from .host.model.adapter import LoadedAdapter
from .host.model.apply import Settings, apply
from .host.model.bind import binding_of, mark, require_unused
from .sockets import (
    CATEGORY,
    Adapter,
    Embeds,
    Node,
    face_inputs,
    part_inputs,
    scale_input,
    where_inputs,
    window_inputs,
)

_MODELS = "SD1.5, SD2, SDXL, Kolors, Flux.1, Chroma or SD3.5 Large."


class ApplyIPAdapter(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAApply",
            display_name="Apply IP-Adapter",
            category=CATEGORY,
            description="Makes a MODEL hear reference images. Apply several in a row for several "
            "adapters; the MODEL that comes in is never changed.",
            search_aliases=[
                "ipadapter",
                "ip adapter",
                "image prompt",
                "IPAdapter Advanced",
                "IPAdapter Batch (Adv.)",
                "IPAdapter FaceID",
                "IPAdapter FaceID Kolors",
                "IPAdapter FaceID Batch",
                "IPAdapter Embeds",
                "IPAdapter Embeds Batch",
                "IPAdapter Style & Composition SDXL",
                "SDXL IPAdapter Style & Batch Composition",
                "IPAdapter Mad Scientist",
                "IPAdapterMS",
                "IPAdapter ClipVision Enhancer Batch",
                "IPAdapter Precise Style Transfer",
                "IPAdapterPreciseStyleTransferBatch",
                "IPAdapter Precise Composition",
                "IPAdapter Precise Composition Batch",
            ],
            inputs=[
                io.Model.Input("model", tooltip=_MODELS),
                Adapter.Input("adapter", tooltip="From Load IP-Adapter."),
                Embeds.Input("embeds", tooltip="From Encode Image or Face, Merge or Regions."),
                scale_input(),
                *window_inputs(),
                *where_inputs(),
                *face_inputs(),
                *part_inputs(),
            ],
            outputs=[io.Model.Output("model", tooltip="The MODEL that hears the references.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    async def validate_inputs(cls, adapter: Any = None) -> bool | str:
        return await cls.queued(applied)

    @classmethod
    def execute(
        cls,
        model: Any,
        adapter: LoadedAdapter,
        embeds: Features | Regions,
        scale: float | tuple[float, ...],
        start_percent: float,
        end_percent: float,
        attn_mask: Tensor | None = None,
        block_weights: Weights | None = None,
        batch_mode: str = BatchMode.ALL.value,
        kv_scaling: str = KvScaling.V_ONLY.value,
        mask_rule: str = MaskRule.AREA.value,
        face_structure: float = 1.0,
        face_lora_strength: float = 1.0,
        first_picture: int = 0,
    ) -> io.NodeOutput:
        settings = Settings(
            scale=scale,
            start_percent=start_percent,
            end_percent=end_percent,
            mask=attn_mask,
            weights=EVERYWHERE if block_weights is None else block_weights,
            batch=BatchMode(batch_mode),
            scaling=KvScaling(kv_scaling),
            mask_rule=MaskRule(mask_rule),
            face_structure=face_structure,
            face_lora=face_lora_strength,
            first_picture=first_picture,
        )
        return io.NodeOutput(apply(model, adapter, embeds, settings))


class BindToConditioning(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPABindToConditioning",
            display_name="Bind IP-Adapter to Conditioning",
            category=CATEGORY,
            description="Makes one prompt hear reference images while the other prompts of the "
            "same run do not, for regional prompting. Use the MODEL and the conditioning that come "
            "out together; bind several in a row for several regions.",
            search_aliases=[
                "regional",
                "area",
                "IPAdapter from Params",
                "IPAdapter Regional Conditioning",
                "IPAdapter Combine Params",
            ],
            inputs=[
                io.Model.Input("model", tooltip=_MODELS),
                Adapter.Input("adapter", tooltip="From Load IP-Adapter."),
                Embeds.Input("embeds", tooltip="From Encode Image or Face, Merge or Regions."),
                io.Conditioning.Input(
                    "conditioning",
                    tooltip="The prompt that hears the references. An area or a mask set on it "
                    "holds for the references too.",
                ),
                scale_input(),
                *window_inputs(),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="The negative prompt that goes with it, to hear what the adapter says "
                    "without a reference, as it does with Apply IP-Adapter. Left empty, the "
                    "negative prompt hears nothing of it.",
                ),
                *where_inputs(),
                *face_inputs(),
                *part_inputs(),
            ],
            outputs=[
                io.Model.Output("model", tooltip="For the sampler."),
                io.Conditioning.Output("conditioning", tooltip="The prompt that hears them."),
                io.Conditioning.Output("negative", tooltip="The negative prompt, if connected."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    async def validate_inputs(cls, adapter: Any = None) -> bool | str:
        return await cls.queued(applied)

    @classmethod
    def execute(
        cls,
        model: Any,
        adapter: LoadedAdapter,
        embeds: Features | Regions,
        conditioning: Any,
        scale: float | tuple[float, ...],
        start_percent: float,
        end_percent: float,
        negative: Any = None,
        attn_mask: Tensor | None = None,
        block_weights: Weights | None = None,
        batch_mode: str = BatchMode.ALL.value,
        kv_scaling: str = KvScaling.V_ONLY.value,
        mask_rule: str = MaskRule.AREA.value,
        face_structure: float = 1.0,
        face_lora_strength: float = 1.0,
        first_picture: int = 0,
    ) -> io.NodeOutput:
        if negative is None:
            require_unused(cls.hidden, output=2)
        binding = binding_of(cls.hidden, adapter.name, embeds)
        settings = Settings(
            scale=scale,
            start_percent=start_percent,
            end_percent=end_percent,
            mask=attn_mask,
            weights=EVERYWHERE if block_weights is None else block_weights,
            batch=BatchMode(batch_mode),
            scaling=KvScaling(kv_scaling),
            mask_rule=MaskRule(mask_rule),
            face_structure=face_structure,
            face_lora=face_lora_strength,
            first_picture=first_picture,
            binding=binding,
        )
        bound = apply(model, adapter, embeds, settings)
        other = None if negative is None else mark(negative, binding, "negative")
        return io.NodeOutput(bound, mark(conditioning, binding), other)


class RemoveIPAdapter(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPARemove",
            display_name="Remove IP-Adapter",
            category=CATEGORY,
            description="Takes all references off a MODEL; patches of other packs stay.",
            search_aliases=["remove ipadapter", "reset"],
            inputs=[io.Model.Input("model", tooltip="A MODEL with or without references.")],
            outputs=[io.Model.Output("model", tooltip="The MODEL without references.")],
        )

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        return io.NodeOutput(patches.remove(model))


NODES: list[type[io.ComfyNode]] = [ApplyIPAdapter, BindToConditioning, RemoveIPAdapter]
