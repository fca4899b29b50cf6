"""Nodes that load adapters and image encoders."""

from __future__ import annotations

import os
from enum import Enum
from typing import Any

from comfy_api.latest import io, ui

from ..ip_models.adapter.published import Choice
from ..ip_models.adapter.spec import Kind, require_supported
from .host.combined.find import AUTO, find_pair, is_auto
from .host.doctor.queued import attempted, read_at_once, refused, searched
from .host.encoder.load import load_encoder
from .host.encoder.view import describe_encoder, describe_memory
from .host.files import folders
from .host.model import start
from .host.model.adapter import LoadedAdapter, load, read_file_spec
from .host.node_text import node_text
from .sockets import CATEGORY, RESENT, Adapter, Node


class FaceVersion(str, Enum):
    """Which FaceID plus a file is; SD1.5 has two that differ by name only."""

    AUTO = "auto"
    V1 = "v1"
    V2 = "v2"

    @property
    def shortcut(self) -> bool | None:
        """Whether the identity's own tokens are kept; None to go by the file name."""
        return {FaceVersion.V1: False, FaceVersion.V2: True}.get(self)


class LoadAdapter(Node):
    own_checks = ("adapter_file",)

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPALoadAdapter",
            display_name="Load IP-Adapter",
            category=f"{CATEGORY}/loaders",
            **RESENT,
            description="Loads an IP-Adapter file and shows what it was recognised as: base model, "
            "kind, tokens and the image encoder it needs. The name of the file does not matter.",
            search_aliases=[
                "ipadapter",
                "ip adapter",
                "image prompt",
                "IPAdapter Model Loader",
                "IPAdapter Unified Loader Community",
            ],
            inputs=[
                io.Combo.Input(
                    "adapter_file",
                    options=folders.files(folders.ADAPTERS),
                    tooltip="A file from models/ipadapter. Press R to read the folder again.",
                ),
                io.Combo.Input(
                    "face_version",
                    options=[version.value for version in FaceVersion],
                    default=FaceVersion.AUTO.value,
                    optional=True,
                    advanced=True,
                    tooltip="FaceID plus of SD1.5 comes as v1 and v2, which look the same. auto "
                    "goes by v2 in the file name.",
                ),
            ],
            outputs=[Adapter.Output("adapter", tooltip="The adapter, for Apply IP-Adapter.")],
        )

    @classmethod
    async def validate_inputs(cls, adapter_file: str | None = None) -> bool | str:
        found = _find(folders.ADAPTERS, adapter_file)
        if found is not True or adapter_file is None:
            return found
        return await read_at_once(lambda: _read(adapter_file))

    @classmethod
    def fingerprint_inputs(cls, adapter_file: str, **_: object) -> str:
        return folders.fingerprint(folders.ADAPTERS, adapter_file)

    @classmethod
    def execute(
        cls, adapter_file: str, face_version: str = FaceVersion.AUTO.value
    ) -> io.NodeOutput:
        adapter = load(folders.resolve(folders.ADAPTERS, adapter_file))
        adapter = adapter.as_version(FaceVersion(face_version).shortcut)
        return io.NodeOutput(adapter, ui=node_text(_about(adapter), adapter.spec.details()))


class LoadForModel(Node):
    own_checks = ("adapter_file", "encoder_file")

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPALoadForModel",
            display_name="Load IP-Adapter for Model",
            category=f"{CATEGORY}/loaders",
            **RESENT,
            description="Finds, by content, the adapter of the wanted kind that fits the MODEL and "
            "the image encoder that fits the adapter, and loads both. For FaceID without plus no "
            "encoder is needed and none comes out.",
            search_aliases=[
                "ipadapter",
                "unified loader",
                "IPAdapter Unified Loader",
                "IPAdapter Unified Loader FaceID",
                "IPAdapter Unified Loader Community",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The MODEL the adapter is meant for."),
                io.Combo.Input(
                    "kind",
                    options=[choice.value for choice in Choice],
                    default=Choice.STANDARD.value,
                    tooltip="What the reference gives: standard its gist, light less of it, plus "
                    "its details, plus face and full face a face, composition its layout. ViT-G "
                    "is the standard adapter for the ViT-bigG encoder. FaceID and portrait hear "
                    "whose face it is and need no encoder, FaceID plus hears its looks too. These "
                    "are for UNets. Flux.1 and Chroma have XLabs (4 tokens, for CFG above 1), "
                    "XLabs v2 (16 tokens) and InstantX (128 tokens, of SigLIP), SD3.5 Large has "
                    "InstantX.",
                ),
                io.Combo.Input(
                    "adapter_file",
                    options=[AUTO, *folders.files(folders.ADAPTERS)],
                    default=AUTO,
                    optional=True,
                    tooltip="Overrides the search, for files of the same shape and another "
                    "training; kind is not used then.",
                ),
                io.Combo.Input(
                    "encoder_file",
                    options=[AUTO, *_encoder_names()],
                    default=AUTO,
                    optional=True,
                    tooltip="Overrides the search for the image encoder, e.g. for a finetune.",
                ),
            ],
            outputs=[
                Adapter.Output("adapter", tooltip="The adapter, for Apply IP-Adapter."),
                io.ClipVision.Output("clip_vision", tooltip="The encoder, for Encode Image."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    async def validate_inputs(
        cls,
        kind: str = Choice.STANDARD.value,
        adapter_file: str | None = AUTO,
        encoder_file: str | None = AUTO,
    ) -> bool | str:
        for folder, name in ((folders.ADAPTERS, adapter_file), (folders.ENCODERS, encoder_file)):
            problem = True if is_auto(name) else _find(folder, name)
            if problem is not True:
                return problem
        if adapter_file is not None and not is_auto(adapter_file):
            problem = await read_at_once(lambda: _read(adapter_file))
            if problem is not True:
                return problem
        return await cls.queued(searched, kind=kind)

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> str:
        return folders.fingerprint(folders.ADAPTERS) + folders.fingerprint(folders.ENCODERS)

    @classmethod
    def execute(
        cls, model: Any, kind: str, adapter_file: str = AUTO, encoder_file: str = AUTO
    ) -> io.NodeOutput:
        pair = find_pair(model, Choice(kind), adapter_file, encoder_file)
        text, details = _about(pair.adapter), pair.adapter.spec.details()
        if pair.encoder is not None:
            text += f"\nencoder: {pair.encoder_file}, {describe_memory(pair.encoder)}"
        return io.NodeOutput(pair.adapter, pair.encoder, ui=node_text(text, details))


class LoadEncoder(Node):
    own_checks = ("encoder_file",)

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPALoadEncoder",
            display_name="Load Image Encoder (IP-Adapter)",
            category=f"{CATEGORY}/loaders",
            **RESENT,
            description="Loads an image encoder and shows its size and features. A file is read by "
            "ComfyUI, with SigLIP's pooled feature; the folder of a CLIP or SigLIP from Hugging "
            "Face goes through transformers, for other input sizes.",
            search_aliases=[
                "ipadapter image encoder",
                "clip vision loader",
                "CLIPVisionLoader",
                "siglip",
            ],
            inputs=[
                io.Combo.Input(
                    "encoder_file",
                    options=_encoder_names(),
                    tooltip="A file from models/clip_vision, or a folder in it with config.json "
                    "and .safetensors weights. Press R to read the folders again.",
                ),
            ],
            outputs=[
                io.ClipVision.Output(
                    "clip_vision", tooltip="The encoder, for Encode Image and others."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, encoder_file: str | None = None) -> bool | str:
        return _find(folders.ENCODERS, encoder_file)

    @classmethod
    def fingerprint_inputs(cls, encoder_file: str) -> str:
        return folders.fingerprint(folders.ENCODERS, encoder_file)

    @classmethod
    def execute(cls, encoder_file: str) -> io.NodeOutput:
        encoder = load_encoder(folders.resolve(folders.ENCODERS, encoder_file))
        text = f"{encoder_file}\n{describe_encoder(encoder)}"
        return io.NodeOutput(encoder, ui=ui.PreviewText(text))


def _encoder_names() -> list[str]:
    return sorted([*folders.model_folders(folders.ENCODERS), *folders.files(folders.ENCODERS)])


def _about(adapter: LoadedAdapter) -> str:
    version = ""
    if adapter.spec.kind is Kind.FACEID_PLUS:
        version = f", version {2 if adapter.shortcut else 1}"
    return f"{adapter.name}\n{adapter.spec.describe()}{version}\n{adapter.describe_size()}"


def _find(folder: str, name: object) -> bool | str:
    if name is None:  # comes by a link and is known only when the prompt runs, or is missing
        return True
    if not folders.files(folder) and not folders.model_folders(folder):
        return refused(start.nothing_there(folder))
    return attempted(lambda: folders.resolve(folder, name))


def _read(adapter_file: str) -> None:
    """Refuse an adapter file that loading it would refuse, by its header.

    Raises:
        BrokenFile, UnknownAdapter, UnsupportedAdapter, MissingModel: it cannot be used.
    """
    path = folders.resolve(folders.ADAPTERS, adapter_file)
    require_supported(read_file_spec(path), os.path.basename(path))


NODES: list[type[io.ComfyNode]] = [LoadAdapter, LoadForModel, LoadEncoder]
