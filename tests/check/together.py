"""Whether the files that were given go together, by their headers, before a model is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import folder_paths
from check import given, stored, whole
from check.base import diffusion_tensors
from check.problem import CheckError
from check.question import Question
from pack.ip_models.adapter.encoders import EncoderWidths
from pack.ip_models.adapter.published import base_name
from pack.ip_models.adapter.spec import AdapterSpec, require_supported
from pack.ip_models.errors import IPAdapterError, UnknownAdapter, WrongBase
from pack.ip_models.layer import Layer
from pack.nodes.host.doctor.base_model import Base, read_base
from pack.nodes.host.encoder.load import widths_in
from pack.nodes.host.face import packs
from pack.nodes.host.files import checkpoint, folders
from pack.nodes.host.files.header import holds_safetensors
from pack.nodes.host.files.opened import opened
from pack.nodes.host.model import search
from pack.nodes.host.model.adapter import read_file_spec

SAFETENSORS = (".safetensors", ".sft")
_BASES = "an SD1.5, SDXL, Flux.1 or SD3.5 Large checkpoint"


@dataclass(frozen=True)
class Files:
    """What the headers say.

    Attributes:
        encoder: file or folder, None where the adapter reads none.
        weights: how many numbers the diffusion model has.
        types: by the role of a file, how many numbers of each type are in it.
        notes: on what was given and is not used, or otherwise than one may think.
    """

    spec: AdapterSpec
    encoder: Path | None
    weights: int
    types: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]


def look(question: Question) -> Files:
    """Read the headers of all files.

    Raises:
        CheckError, IPAdapterError: one is not what it was given for, or they do not go together.
    """
    base = read_checkpoint(question.checkpoint)
    spec = read_adapter(question.adapter)
    if base is not None:
        require_base(question, spec, base.layers)
    notes: list[str] = []
    encoder = None
    if spec.needs_encoder:
        encoder = question.encoder or _found_encoder(spec)
        require_encoder(encoder, question.adapter, spec)
    elif question.encoder is not None:
        notes.append(f"{question.adapter.name} reads no image encoder: --encoder is not used.")
    if spec.needs_face:
        _require_face(question)
    elif question.face is not None:
        notes.append(f"{question.adapter.name} hears no face: --face is not used.")
    if question.image is not None and given.has_transparency(question.image):
        notes.append(
            f"{question.image.name} has transparent parts: the colours under them count, as in "
            "Load Image."
        )
    network = diffusion_tensors(stored.read_shapes(question.checkpoint))
    weights = [one for key, one in network.items() if not stored.is_scale(key)]
    types = {
        "checkpoint": stored.counted(weights),
        "adapter": stored.in_adapter(question.adapter),
    }
    if encoder is not None:
        types["encoder"] = stored.in_encoder(encoder)
    return Files(spec, encoder, sum(types["checkpoint"].values()), types, tuple(notes))


def read_checkpoint(path: Path) -> Base | None:
    """What a checkpoint's header says, None where only ComfyUI itself can tell.

    Raises:
        CheckError, IPAdapterError: it is damaged, something else, takes no adapters, lacks tensors
            or wants more than a prompt.
    """
    _require_ending(path)
    base = read_base(str(path)) if path.suffix.lower() in SAFETENSORS else None
    if base is None:
        _refuse_other("checkpoint", path, _BASES)
    elif not base.layers:
        raise CheckError(
            f"{path.name} is a {base.name} model, for which no adapters were made: {_BASES} is "
            "needed"
        )
    whole.require_model(path, stored.read_shapes(path))
    return base


def read_adapter(path: Path) -> AdapterSpec:
    """What an adapter's header says.

    Raises:
        CheckError, IPAdapterError: it is damaged, no adapter, or none that can be applied.
    """
    _require_ending(path)
    try:
        spec = read_file_spec(str(path))
    except UnknownAdapter:
        _refuse_other("adapter", path, "an IP-Adapter")
        raise
    require_supported(spec, path.name)
    return spec


def read_encoder(path: Path) -> EncoderWidths | None:
    """Which encoder it is, None where only loading it can tell.

    Raises:
        CheckError, IPAdapterError: it is damaged, or no image encoder.
    """
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    for home in {str(one.resolve().parent) for one in inside}:  # links, as in a cache of the hub
        folder_paths.add_model_folder_path(folders.ENCODERS, home)
    if path.is_file():
        _require_ending(path)
    widths = widths_in(str(path))
    if widths is None:
        _refuse_other("encoder", path, "an image encoder")
    elif path.is_dir():
        whole.require_encoder_folder(path)
    else:
        whole.require_layers(path, widths.penultimate)
    return widths


def require_base(question: Question, spec: AdapterSpec, layers: Sequence[Layer]) -> None:
    """Refuse an adapter for another model.

    Raises:
        CheckError: it is one.
    """
    try:
        search.require_base(question.adapter.name, spec, layers)
    except WrongBase as error:
        needed = error.needed.replace("this MODEL", question.checkpoint.name)
        raise CheckError(
            f"{error.found}; {needed}: give an adapter for it as --adapter, or another model as "
            "--checkpoint"
        ) from error


def require_encoder(path: Path, adapter: Path, spec: AdapterSpec) -> None:
    """Refuse an encoder whose features an adapter does not read.

    Raises:
        CheckError, IPAdapterError: it is one, or none at all.
    """
    widths = read_encoder(path)
    if widths is not None and not widths.fits(spec):
        raise CheckError(
            f"{path.name} is {widths.about}; {adapter.name} needs {spec.encoder}: give that as "
            "--encoder, or leave it out to have it found"
        )


def enter_face_pack(folder: Path) -> str:
    """Name of a face pack by which the nodes find it.

    Raises:
        CheckError, IPAdapterError: a file is missing or damaged, or another pack is found.
    """
    inner = folder / folder.name  # where an archive was unpacked into a folder of its own name
    files = packs.networks(str(folder)) or packs.networks(str(inner))
    if not files:
        raise CheckError(
            f"{folder} holds no .onnx file: the folder of a face pack with a detector and a "
            "recogniser (det_10g.onnx and w600k_r50.onnx in buffalo_l) is needed, as --face FOLDER"
        )
    for home in {os.path.dirname(os.path.realpath(one)) for one in files}:  # they may be links
        folder_paths.add_model_folder_path(packs.FOLDER, home)
    folder_paths.add_model_folder_path(packs.FOLDER, str(folder.parent), is_default=True)
    found = Path(packs.find(folder.name).folder)
    if not any(one.is_dir() and found.samefile(one) for one in (folder, inner)):
        raise CheckError(
            f"{found} is a face pack called {folder.name} too, and ComfyUI finds that first: give "
            "it as --face, or call yours otherwise"
        )
    return folder.name


def _found_encoder(spec: AdapterSpec) -> Path:
    name = search.find_encoder(spec)
    return Path(os.path.abspath(folders.resolve(folders.ENCODERS, name)))


def _require_face(question: Question) -> None:
    adapter = question.adapter.name
    if question.face is None:
        raise CheckError(
            f"{adapter} hears whose face it is: give the folder of a face pack (buffalo_l, or "
            "antelopev2 for Kolors and InstantID) as --face FOLDER"
        )
    if question.image is None:
        raise CheckError(
            f"{adapter} hears whose face it is, and the pack ships no face: give a photo with one "
            "as --image FILE"
        )
    enter_face_pack(question.face)


def _require_ending(path: Path) -> None:
    """Refuse a file that is not of the format its ending says, by which the host reads it."""
    with opened(str(path)) as file:
        safe = holds_safetensors(file)
    if safe is not (path.suffix.lower() in SAFETENSORS):
        there, ending = ("safetensors", SAFETENSORS[0]) if safe else ("torch's own format", ".bin")
        raise CheckError(
            f"{path.name} holds {there}, and ComfyUI goes by the ending: call it "
            f"{path.with_suffix(ending).name}"
        )


def _refuse_other(role: str, path: Path, needed: str) -> None:
    """Say what a file is that is not what it was given for, if that can be known."""
    kind = _kind(path)
    if kind is None:
        return
    what, other = kind
    where = f"; it goes with --{other}" if other else ""
    raise CheckError(f"{path.name} is {what}{where}: {needed} is needed, as --{role}")


def _kind(path: Path) -> tuple[str, str] | None:
    """What a file is, and the option it is for, "" where for none."""
    with suppress(IPAdapterError):
        return f"an IP-Adapter ({read_file_spec(str(path)).describe()})", "adapter"
    with suppress(IPAdapterError):
        base = read_base(str(path)) if path.suffix.lower() in SAFETENSORS else None
        if base is not None:
            name = base_name(search.shape_of(base.layers)) if base.layers else base.name
            return f"a base model ({name})", "checkpoint" if base.layers else ""
        widths = widths_in(str(path))
        if widths is not None:
            return f"an image encoder ({widths.about})", "encoder"
        if any("lora" in key.lower() for key in checkpoint.read_shapes(str(path))):
            return "a LoRA", ""
    return None
