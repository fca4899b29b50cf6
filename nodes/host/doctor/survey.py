"""Everything on this machine that IP-Adapters are made of; nothing is loaded, nothing fetched."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import comfy.ldm.modules.attention
import comfy.model_management
import comfyui_version
import folder_paths
import torch

from ....ip_models.adapter.encoders import EncoderWidths, encoder_widths
from ....ip_models.adapter.published import base_name, family_of, instead, published_family
from ....ip_models.adapter.spec import AdapterSpec
from ....ip_models.errors import IPAdapterError
from ....ip_models.inputs import shown
from ....ip_models.layer import Layer
from ..embeds.load import describe_file
from ..encoder.load import widths_in
from ..face import packs
from ..files import folders
from ..files.opened import identity
from ..model import search
from ..model.adapter import read_file_spec
from ..model.backbones.layers import attention_layers
from ..protocols import Model
from .bases import found_bases
from .findings import AdapterFile, FacePackFolder, File, Survey
from .misplaced import TROUBLE, misplaced
from .report import lines

log = logging.getLogger("ipadapter")
Content = TypeVar("Content")
_ROOT = Path(__file__).parents[3]
_INCUMBENT = "IPAdapterPlus.py"
_PARTS = {True: "cross-attention layers", False: "blocks"}
_VERSION = re.compile(r'^version = "([^"\n]+)"$', re.MULTILINE)


def survey(model: Model | None = None, clip_vision: Any = None) -> Survey:
    """What was found, and how it goes with what is connected; no file can make it fail."""
    layers, about_model = _layers(model)
    encoders = tuple(_encoders())
    adapters = tuple(_adapter(name, encoders, layers) for name in folders.files(folders.ADAPTERS))
    about = [f"IP-Adapter report: {_versions()}", *_remarks()]
    if model is not None:
        about.append(f"The connected MODEL is {about_model}")
    base = search.shape_of(layers) if layers else None
    if clip_vision is not None:
        about.append(f"The connected CLIP Vision is {_about_encoder(clip_vision, adapters)}")
    return Survey(
        about=tuple(about),
        adapters=adapters,
        encoders=encoders,
        face_packs=tuple(map(_face_pack, packs.names())),
        embeds=tuple(map(_embeds, folders.files(folders.EMBEDS))),
        misplaced=tuple(misplaced()),
        family=family_of(base) if base else None,
        published=base is None or published_family(base) is not None,
        bases=found_bases(),
    )


def _read(folder: str, name: str, read: Callable[[str], Content | None]) -> File[Content]:
    size = 0
    try:
        path = folders.resolve(folder, name)
        size = _size(path)
        return File(name, size, read(path))
    except IPAdapterError as error:
        return File(name, size, problem=str(error))
    except OSError as error:
        return File(name, size, problem=f"cannot be read ({error.strerror})")
    except TROUBLE as error:
        return File(name, size, problem=f"cannot be understood ({type(error).__name__})")


def _size(path: str) -> int:
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(one.stat().st_size for one in os.scandir(path) if one.is_file())


def _adapter(
    name: str, encoders: Iterable[File[EncoderWidths]], layers: Sequence[Layer]
) -> AdapterFile:
    file = _read(folders.ADAPTERS, name, read_file_spec)
    fitting = (one.name for one in encoders if one.content and _goes(one.content, file.content))
    fits = search.suits(file.content, layers) if file.content and layers else None
    return AdapterFile(file, tuple(fitting), fits)


def _encoders() -> Iterator[File[EncoderWidths]]:
    models = folders.model_folders(folders.ENCODERS)
    for name in folders.files(folders.ENCODERS):
        file = _read(folders.ENCODERS, name, widths_in)
        if file.content is not None or os.path.dirname(name) not in models:
            yield file  # a part of a folder's weights is of no use by itself
    for name in models:  # last, because Load IP-Adapter for Model takes files only
        yield _read(folders.ENCODERS, name, widths_in)


def _embeds(name: str) -> File[str]:
    return _read(folders.EMBEDS, name, lambda path: _held(name, identity(path)))


@lru_cache(maxsize=1024)
def _held(name: str, identity: tuple[str, int, int]) -> str:
    return describe_file(name)


def _face_pack(name: str) -> FacePackFolder:
    try:
        pack = packs.find(name)
    except (IPAdapterError, *TROUBLE) as error:
        return FacePackFolder(name, problem=str(error))
    files = (pack.detector, pack.recogniser)
    known = [_by_size(path) for path in files]
    words = (
        f"{role.value} {os.path.basename(path)} ({what or 'not a file known here'})"
        for role, path, what in zip(packs.Role, files, known, strict=True)
    )
    licence = packs.licence(name, any(known))
    return FacePackFolder(name, f"{pack.folder}: {', '.join(words)}", known[1], licence)


def _by_size(path: str) -> str:
    """The published file with as many bytes: enough for a list, and nothing has to be hashed."""
    size = os.path.getsize(path)
    return next((file.name for file in packs.KNOWN_FILES if file.size == size), "")


def _layers(model: Model | None) -> tuple[Sequence[Layer], str]:
    if model is None:
        return [], ""
    try:
        layers = attention_layers(model)
    except IPAdapterError as error:
        return [], f"of no use here: {error}"
    except (AttributeError, *TROUBLE):
        return [], f"{shown(model)}, which is no MODEL"
    base = search.shape_of(layers)
    kind = type(model.model).__name__
    whose = f"{kind}, which is like " if kind.startswith("Chroma") else ""
    about = f"{whose}{base_name(base)} with {len(layers)} {_PARTS[layers[0].context > 0]}"
    return layers, about if published_family(base) else f"{about}. {instead(base)}"


def _about_encoder(clip_vision: Any, adapters: Iterable[AdapterFile]) -> str:
    module = getattr(clip_vision, "model", None)
    widths = encoder_widths(module.state_dict()) if isinstance(module, torch.nn.Module) else None
    if widths is None:
        return "no CLIP image encoder: no adapter can use it"
    names = [one.file.name for one in adapters if one.usable and _goes(widths, one.spec)]
    return f"{widths.about}, for {', '.join(names) or 'none of the adapters found'}"


def _goes(widths: EncoderWidths, spec: AdapterSpec | None) -> bool:
    return spec is not None and spec.needs_encoder and widths.fits(spec)


def _versions() -> str:
    device = comfy.model_management.get_torch_device()
    attention = comfy.ldm.modules.attention.optimized_attention
    versions = {
        "pack": pack_version(),
        "ComfyUI": comfyui_version.__version__,
        "torch": torch.__version__,
        "device": comfy.model_management.get_torch_device_name(device),
        "attention": getattr(attention, "__name__", attention),
    }
    return ", ".join(f"{what} {version}" for what, version in versions.items())


def pack_version() -> str:
    """The version this folder says it is."""
    try:
        found = _VERSION.search((_ROOT / "pyproject.toml").read_text("utf-8"))
    except OSError:
        return "unknown"
    return found[1] if found else "unknown"


def _remarks() -> Iterator[str]:
    if " " in os.path.basename(os.path.abspath(_ROOT)):
        yield (
            f"The pack's folder is called {_ROOT.name}; ComfyUI cannot serve the browser part of "
            "a folder with spaces. Rename it and restart."
        )
    for place in folder_paths.get_folder_paths("custom_nodes"):
        try:
            names = sorted(os.listdir(place))
        except OSError:
            continue
        for name in names:
            if os.path.isfile(os.path.join(place, name, _INCUMBENT)):
                yield (
                    f"{name} is installed as well, which is fine: both can be used in one "
                    "workflow, and its models folder is read too."
                )


def report(model: Model | None = None, clip_vision: Any = None, logged: bool = False) -> list[str]:
    """Look through all folders; the lines, which `logged` writes to the log as well."""
    found = lines(survey(model, clip_vision))
    if logged:
        log.info("%s", "\n".join(found))
    return found
