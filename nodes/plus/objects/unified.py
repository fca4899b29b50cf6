"""Everything a preset needs for a MODEL: found, loaded once and handed on as a pipeline."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from torch import Tensor

from ....ip_models.adapter.published import Choice, family_of
from ....ip_models.adapter.spec import AdapterSpec, Family
from ....ip_models.errors import Action, BrokenFile, Mend, MissingModel, WrongBase
from ....ip_models.layer import Layer
from ...host.encoder.load import load_encoder, read_encoder
from ...host.files import folders
from ...host.model import search
from ...host.model.adapter import LoadedAdapter
from ...host.model.backbones.layers import attention_layers
from ...host.model.lora import add_lora, read_lora, with_lora
from . import file_rules
from .adapter_dict import VERSION_2, AdapterDict, is_current
from .faces import load_faces
from .file_rules import Preset
from .pipeline import Pipeline, adapter_of

log = logging.getLogger("ipadapter")

LORAS = "loras"
_OTHERWISE = "load a renamed file with IPAdapter Model Loader"


class Wanted(NamedTuple):
    """What a unified loader is asked for.

    Attributes:
        strength: of the LoRA that FaceID adapters come with.
        provider: what insightface runs on.
    """

    preset: str
    strength: float
    provider: str


class LoraFile(NamedTuple):
    """A LoRA that was read."""

    path: str
    tensors: Mapping[str, Tensor]


class Kept(NamedTuple):
    """What a unified loader has loaded, to be used again."""

    pipeline: Pipeline
    lora: LoraFile | None = None


class File(NamedTuple):
    """An adapter's file; by its content if no name was one of the preset's."""

    name: str
    by_content: bool

    @property
    def path(self) -> str:
        """Where it is."""
        return folders.resolve(folders.ADAPTERS, self.name)


def load_all(model: Any, wanted: Wanted, given: Any, kept: Kept) -> tuple[Any, Pipeline, Kept]:
    """The MODEL, with its LoRA if there is one, the pipeline, and what to keep for the next time.

    Args:
        given: a pipeline whose parts are taken over where they are the ones that are needed.

    Raises:
        WrongBase: nothing of this kind is for the MODEL.
        MissingModel: a file that is needed is not there.
        BrokenFile, UnknownAdapter, UnsupportedAdapter: a file cannot be used.
    """
    preset = file_rules.preset_of(wanted.preset)
    layers = attention_layers(model)
    family = _family(model, layers)
    file = adapter_file(preset, family, layers)
    adapter = _adapter(preset, file, [kept.pipeline, given])
    loaded = adapter_of(adapter["model"])
    encoder = _encoder(encoder_file(preset, loaded.spec, file), [kept.pipeline, given])
    faces = _faces(wanted.provider, [kept.pipeline, given]) if preset.faces else None
    lora = kept.lora
    if preset.loras and wanted.strength > 0:
        model, lora = _with_lora(model, loaded, preset, family, wanted.strength, lora)
    pipeline = Pipeline(encoder, adapter, faces or kept.pipeline["insightface"])
    # Handed out as a copy, for other packs write into what they get.
    return model, Pipeline(*(dict(part) for part in pipeline.values())), Kept(pipeline, lora)


def _family(model: Any, layers: tuple[Layer, ...]) -> Family | None:
    """For which of the two families names are looked for; None if it is of neither."""
    family = family_by_name(layers)
    return family if search.is_of_class_sdxl(model) is (family is Family.SDXL) else None


def family_by_name(layers: tuple[Layer, ...]) -> Family | None:
    """The family in whose names to look for files of a model with these layers."""
    family = family_of(search.shape_of(layers))
    if family is Family.KOLORS:
        return Family.SDXL
    return family if family in (Family.SD1, Family.SDXL) else None


def adapter_file(preset: Preset, family: Family | None, layers: tuple[Layer, ...]) -> File:
    """The adapter by name, else by what is in the files.

    Raises:
        WrongBase, MissingModel: there is none for such a model.
    """
    name = file_rules.find_adapter(preset, family, folders.files(folders.ADAPTERS))
    by_content = name is None
    if name is None:
        if file_rules.is_for_kolors(preset) and not layers[0].projected:
            raise WrongBase(
                "this MODEL is not Kolors",
                "the preset Kolors is for its UNet",
                "Load Kolors, or choose another preset",
            )
        name = search.find_adapter(layers, preset.choice, _OTHERWISE)
        log.info("%s was chosen by what is in it, its name is not one of the preset's", name)
    return File(name, by_content)


def encoder_file(preset: Preset, spec: AdapterSpec, file: File) -> str | None:
    """The encoder by name; by what the adapter needs if there is none, or the adapter is odd.

    Raises:
        MissingModel: there is none.
    """
    name = file_rules.find_encoder(preset, folders.files(folders.ENCODERS))
    if name is not None and (not file.by_content or _fits(name, spec)):
        return name
    return search.find_encoder(spec) if spec.needs_encoder else None


def _fits(name: str, spec: AdapterSpec) -> bool:
    try:
        return read_encoder(folders.resolve(folders.ENCODERS, name)).fits(spec)
    except BrokenFile:
        return False


def _adapter(preset: Preset, file: File, sources: list[Any]) -> dict[str, Any]:
    version_2 = file.by_content and preset.choice is Choice.FACEID_PLUS_V2
    path = file.path
    for held in _loaded("ipadapter", "file", path, sources):
        model = held["model"]
        if is_current(model) and (VERSION_2 in model or not version_2):
            return held
    return {"file": path, "model": AdapterDict(path, version_2)}


def _encoder(name: str | None, sources: list[Any]) -> dict[str, Any] | None:
    if name is None:
        return None
    path = folders.resolve(folders.ENCODERS, name)
    for held in _loaded("clipvision", "file", path, sources):
        return held
    return {"file": path, "model": load_encoder(path)}


def _faces(provider: str, sources: list[Any]) -> dict[str, Any]:
    for held in _loaded("insightface", "provider", provider, sources):
        return held
    return {"provider": provider, "model": load_faces(provider)}


def _loaded(part: str, key: str, value: str, sources: list[Any]) -> list[dict[str, Any]]:
    """This part of the pipelines that have loaded just it; other packs may leave parts out."""
    parts: list[Any] = [one.get(part) for one in sources if isinstance(one, dict)]
    return [
        cast("dict[str, Any]", held)
        for held in parts
        if isinstance(held, dict) and held.get(key) == value and held.get("model") is not None
    ]


def _with_lora(
    model: Any,
    adapter: LoadedAdapter,
    preset: Preset,
    family: Family | None,
    strength: float,
    kept: LoraFile | None,
) -> tuple[Any, LoraFile | None]:
    """A clone of the MODEL with the LoRA file, or with the LoRA inside the adapter."""
    name = file_rules.find_lora(preset, family, folders.files(LORAS))
    if name is not None:
        path = folders.resolve(LORAS, name)
        lora = kept if kept and kept.path == path else LoraFile(path, read_lora(path))
        return with_lora(model, lora.tensors, strength), lora
    if not adapter.lora:
        raise MissingModel(
            f"{folders.where(LORAS)} hold no LoRA for {adapter.name}, and there is none in it",
            f"one called like {_example(preset, family)} is needed",
            Action("Put it there, or set lora_strength to 0", Mend("lora_strength", 0)),
        )
    log.info("the LoRA inside %s is applied at %g: no file of it is there", adapter.name, strength)
    model = model.clone()
    add_lora(model, adapter.lora, strength, adapter.name, adapter.file)
    return model, kept


def _example(preset: Preset, family: Family | None) -> str:
    name = preset.loras.get(family or Family.SD1) or next(iter(preset.loras.values()))
    return f"ip-adapter-{name.replace('?plus', '-plus').replace('?', '_')}.safetensors"
