"""Nodes that save embeds and load them again."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_models.errors import BadInput, MissingModel
from ..ip_models.inputs import require
from ..ip_models.references import ipadpt
from ..ip_models.references.features import Features, Regions, inputs
from ..ip_models.references.report import describe, details
from .host.checks import by_number
from .host.doctor.queued import refused
from .host.embeds import store
from .host.embeds.load import LoadOptions, load
from .host.embeds.store import FileFormat, IfExists
from .host.files import folders
from .host.model.adapter import ANY_ENCODER, LoadedAdapter
from .host.node_text import node_text
from .sockets import CATEGORY, RESENT, Adapter, Embeds, Node

_MOST, _MOST_ENTRIES = 50, 49
_NONE = "none"


class SaveEmbeds(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPASaveEmbeds",
            display_name="Save Embeds (IP-Adapter)",
            category=f"{CATEGORY}/embeds",
            description="Writes embeds into models/ipadapter_embeds, where Load Embeds lists them "
            "at once. With the file neither the picture nor the encoder is needed any more.",
            search_aliases=["ipadpt", "IPAdapter Save Embeds"],
            is_output_node=True,
            inputs=[
                io.Autogrow.Input(
                    "embeds",
                    template=io.Autogrow.TemplatePrefix(
                        Embeds.Input(
                            "embeds", tooltip="What to save; an .ipadpt takes several, one each."
                        ),
                        prefix="embeds",
                        min=1,
                        max=_MOST,
                    ),
                ),
                io.Autogrow.Input(
                    "adapters",
                    template=io.Autogrow.TemplatePrefix(
                        Adapter.Input(
                            "adapter",
                            tooltip="For ipadpt: the adapter that will read the embeds of the "
                            "same number. For safetensors it only checks that they fit.",
                        ),
                        prefix="adapter",
                        min=0,
                        max=_MOST,
                    ),
                ),
                io.String.Input(
                    "name",
                    default="reference",
                    tooltip="Name of the file in models/ipadapter_embeds. A slash makes a folder, "
                    "e.g. people/anna.",
                ),
                io.Combo.Input(
                    "file_format",
                    options=[choice.value for choice in FileFormat],
                    default=FileFormat.SAFETENSORS.value,
                    tooltip="safetensors: everything, with masks, scales and faces, for every "
                    "adapter of the encoder. ipadpt: what diffusers takes as "
                    "ip_adapter_image_embeds, for the connected adapters alone.",
                ),
                io.Combo.Input(
                    "if_exists",
                    options=[choice.value for choice in IfExists],
                    default=IfExists.KEEP_BOTH.value,
                    tooltip="When the name is taken. keep both: a number is added, unless a file "
                    "holds the very same. replace: the old file is lost. stop: nothing is written.",
                ),
            ],
            outputs=[],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> float:
        # Looks each time, for the file may have been deleted, and a host that remembers the node
        # does not tell a client the name (ComfyUI 0.17). What is there already is not written.
        return float("nan")

    @classmethod
    def execute(
        cls,
        embeds: dict[str, Features | Regions],
        adapters: dict[str, LoadedAdapter] | None = None,
        name: str = "reference",
        file_format: str = FileFormat.SAFETENSORS.value,
        if_exists: str = IfExists.KEEP_BOTH.value,
    ) -> io.NodeOutput:
        parts, readers = by_number(embeds, "embeds"), by_number(adapters, "adapter")
        if not parts:
            raise BadInput("no embeds are connected", "saving needs them", "Connect embeds")
        kind, on_clash = FileFormat(file_format), IfExists(if_exists)
        if kind is FileFormat.IPADPT:
            data = store.as_ipadpt(entries(parts, readers))
        else:
            data = store.as_safetensors(only(parts, readers))
        listed = store.save(data, name, kind, on_clash)
        text = "\n".join([listed, *map(describe, parts.values())])
        return io.NodeOutput(ui={**ui.PreviewText(text).as_dict(), "ipadapter_embeds": [listed]})


def only(
    parts: dict[int, Features | Regions], readers: dict[int, LoadedAdapter]
) -> Features | Regions:
    """The one input that a file of the pack's own format holds, suitable for all adapters.

    Raises:
        BadInput: there are several.
        WrongEncoder: an adapter cannot read it.
    """
    embeds, *more = parts.values()
    if more:
        raise BadInput(
            f"{len(parts)} embeds are connected",
            "a safetensors file holds one",
            "Join them by Merge Embeds or Regions first, or save each by itself",
        )
    regions = isinstance(embeds, Regions)
    references = [region.features for region in embeds.regions] if regions else [embeds]
    for reader in readers.values():
        for features in references:
            inputs(features, reader.spec, reader.name, ANY_ENCODER)
    return embeds


def entries(
    parts: dict[int, Features | Regions], readers: dict[int, LoadedAdapter]
) -> list[Tensor]:
    """The tensors of an .ipadpt in the order of the numbers.

    Raises:
        BadInput: an adapter has no embeds, or diffusers takes them in another way.
        WrongEncoder: an adapter cannot read its embeds.
    """
    shared = next(iter(parts.values())) if len(parts) == 1 and readers else None
    rows: list[Tensor] = []
    for number in sorted(readers if shared is not None else {*readers, *parts}):
        embeds, reader = parts.get(number, shared), readers.get(number)
        if embeds is None:
            raise BadInput(
                f"adapter{number} is connected and embeds{number} is not",
                "each adapter reads the embeds of its number, or all of them the only ones",
                f"Connect embeds{number}, or take the adapter away",
            )
        if isinstance(embeds, Regions):
            raise BadInput(
                "the embeds are regions, whose masks diffusers takes beside the embeds",
                "an .ipadpt holds no masks and scales",
                "Save with file_format safetensors, which keeps them",
            )
        spec, name = (reader.spec, reader.name) if reader else (None, "")
        rows.append(ipadpt.write(embeds, spec, name, ANY_ENCODER))
    return rows


class LoadEmbeds(Node):
    own_checks = ("embeds_file", "negative_file")

    @classmethod
    def define_schema(cls) -> io.Schema:
        files = folders.files(folders.EMBEDS)
        return io.Schema(
            node_id="IPALoadEmbeds",
            display_name="Load Embeds (IP-Adapter)",
            category=f"{CATEGORY}/embeds",
            **RESENT,
            description="Loads embeds that were saved here, by diffusers or by "
            "ComfyUI_IPAdapter_plus (.ipadpt). Neither the picture nor the encoder is needed.",
            search_aliases=["ipadpt", "IPAdapter Load Embeds"],
            inputs=[
                io.Combo.Input(
                    "embeds_file",
                    options=files,
                    tooltip="A file from models/ipadapter_embeds. Press R to read the folder "
                    "again.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="Not needed. If it is connected it has to be the encoder the file was "
                    "made with, and it fills in what a file of ComfyUI_IPAdapter_plus lacks.",
                ),
                io.Combo.Input(
                    "negative_file",
                    options=[_NONE, *files],
                    default=_NONE,
                    optional=True,
                    tooltip="ComfyUI_IPAdapter_plus saves negative embeds as a file of their own: "
                    "choose it here.",
                ),
                io.Int.Input(
                    "entry",
                    default=0,
                    min=0,
                    max=_MOST_ENTRIES,
                    optional=True,
                    advanced=True,
                    tooltip="Which adapter of an .ipadpt that diffusers saved for several, "
                    "counted from 0.",
                ),
            ],
            outputs=[Embeds.Output("embeds", tooltip="For Apply IP-Adapter or Merge Embeds.")],
        )

    @classmethod
    def validate_inputs(
        cls, embeds_file: str | None = None, negative_file: str | None = None
    ) -> bool | str:
        for name, file in (("embeds_file", embeds_file), ("negative_file", negative_file)):
            if _is_none(file):  # a link is known only when the prompt runs
                continue
            try:
                find(name, file)
            except (BadInput, MissingModel) as error:
                return refused(error)
        return True

    @classmethod
    def fingerprint_inputs(
        cls, embeds_file: str | None = None, negative_file: str | None = None, **_: object
    ) -> str:
        names = (embeds_file, negative_file)
        known = [name for name in names if isinstance(name, str) and name != _NONE]
        return "|".join(folders.fingerprint(folders.EMBEDS, name) for name in known)

    @classmethod
    def execute(
        cls,
        embeds_file: str,
        clip_vision: Any = None,
        negative_file: str | None = None,
        entry: int | None = None,
    ) -> io.NodeOutput:
        find("embeds_file", embeds_file)
        negative = None if _is_none(negative_file) else negative_file
        if negative is not None:
            find("negative_file", negative)
        loaded = load(LoadOptions(embeds_file, entry or 0, negative, clip_vision))
        return io.NodeOutput(loaded.embeds, ui=node_text(loaded.text, details(loaded.embeds)))


def find(name: str, file: object) -> str:
    """Path of the file of the folder that an input names.

    Raises:
        BadInput: it is no name.
        MissingModel: there is no such file.
    """
    require(name, file, str, "the list of files")
    return folders.resolve(folders.EMBEDS, file)


def _is_none(file: object) -> bool:
    return file is None or (isinstance(file, str) and file == _NONE)


NODES: list[type[io.ComfyNode]] = [SaveEmbeds, LoadEmbeds]
