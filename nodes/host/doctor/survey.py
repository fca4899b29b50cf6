"""Everything on this machine that IP-Adapters are made of; nothing is loaded, nothing fetched."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import comfy.ldm.modules.attention
import comfy.model_management
import comfyui_version
import folder_paths
import torch

from ....ip_models.adapter.encoders import EncoderWidths, encoder_widths
from ....ip_models.adapter.spec import AdapterSpec
from ....ip_models.errors import IPAdapterError
from ..embeds.load import describe_file
from ..encoder import folder
from ..face import packs
from ..files import checkpoint, folders
from ..model import search
from ..model.adapter import read_file_spec
from ..model.backbones.layers import AttentionLayer, attention_layers
from .findings import AdapterFile, Connected, EmbedsFile, EncoderFile, FacePackFolder, File, Survey
from .misplaced import TROUBLE, misplaced
from .text import data, lines

Content = TypeVar("Content")
_ROOT = Path(__file__).parents[3]
_INCUMBENT = "IPAdapterPlus.py"
_VERSION = re.compile(r'^version = "(.+)"$', re.MULTILINE)


def survey(model: Any = None, clip_vision: Any = None) -> Survey:
    """What was found, and how it goes with what is connected; no file can make it fail."""
    layers, about_model = _layers(model)
    widths = _connected_encoder(clip_vision)
    encoders = list(_encoders())
    known = [(file.file.name, read) for file, read in encoders if read is not None]
    adapters = [_adapter(name, known, layers) for name in folders.files(folders.ADAPTERS)]
    return Survey(
        places={
            "adapters": tuple(folders.homes(folders.ADAPTERS)),
            "encoders": tuple(folders.homes(folders.ENCODERS)),
            "face packs": (packs.where(),),
            "embeds": tuple(folders.homes(folders.EMBEDS)),
        },
        adapters=tuple(adapters),
        encoders=tuple(file for file, _ in encoders),
        face_packs=tuple(map(_face_pack, packs.names())),
        embeds=tuple(map(_embeds, folders.files(folders.EMBEDS))),
        misplaced=tuple(misplaced()),
        versions=_versions(),
        remarks=tuple(_remarks()),
        connected=Connected(
            model=about_model,
            encoder=_about_encoder(widths, adapters) if clip_vision is not None else "",
            family=search.family_of(layers) if layers else None,
        ),
    )


def _read(folder: str, name: str, read: Callable[[str], Content]) -> tuple[File, Content | None]:
    path, size = name, 0
    try:
        path = folders.resolve(folder, name)
        size = _size(path)
        return File(name, path, size), read(path)
    except IPAdapterError as error:
        return File(name, path, size, str(error)), None
    except OSError as error:
        return File(name, path, size, f"cannot be read ({error.strerror})"), None
    except TROUBLE as error:
        return File(name, path, size, f"cannot be understood ({type(error).__name__})"), None


def _size(path: str) -> int:
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(one.stat().st_size for one in os.scandir(path) if one.is_file())


def _adapter(
    name: str, encoders: list[tuple[str, EncoderWidths]], layers: list[AttentionLayer]
) -> AdapterFile:
    file, spec = _read(folders.ADAPTERS, name, read_file_spec)
    if spec is None:
        return AdapterFile(file)
    fitting = [one for one, widths in encoders if spec.needs_encoder and widths.fits(spec)]
    fits = search.suits(spec, layers) if layers else None
    return AdapterFile(file, spec, tuple(fitting), fits)


def _encoders() -> Iterator[tuple[EncoderFile, EncoderWidths | None]]:
    whole = folders.model_folders(folders.ENCODERS)
    for name in folders.files(folders.ENCODERS):
        file, widths = _encoder(name, checkpoint.read_shapes)
        if widths is not None or os.path.dirname(name) not in whole:
            yield file, widths  # a part of a folder's weights is of no use by itself
    for name in whole:  # last, because Load IP-Adapter for Model takes files only
        yield _encoder(name, folder.read_shapes)


def _embeds(name: str) -> EmbedsFile:
    def held(path: str) -> str:
        return _held(name, checkpoint.identity(path))

    file, holds = _read(folders.EMBEDS, name, held)
    return EmbedsFile(file, holds or "")


@lru_cache(maxsize=1024)
def _held(name: str, identity: tuple[str, int, int]) -> str:
    return describe_file(name)


def _encoder(
    name: str, read: Callable[[str], Mapping[str, Any]]
) -> tuple[EncoderFile, EncoderWidths | None]:
    file, shapes = _read(folders.ENCODERS, name, read)
    widths = None if shapes is None else encoder_widths(shapes)
    return EncoderFile(file, "" if widths is None else widths.name), widths


def _face_pack(name: str) -> FacePackFolder:
    try:
        pack = packs.find(name)
    except (IPAdapterError, *TROUBLE) as error:
        return FacePackFolder(name, "", problem=str(error))
    files = (pack.detector, pack.recogniser)
    known = [_by_size(path) for path in files]
    words = (
        f"{role.value} {os.path.basename(path)} ({what or 'not a file known here'})"
        for role, path, what in zip(packs.Role, files, known, strict=True)
    )
    licence = packs.licence(name, any(known))
    return FacePackFolder(name, pack.folder, tuple(words), known[1], licence)


def _by_size(path: str) -> str:
    """The published file with as many bytes: enough for a list, and nothing has to be hashed."""
    size = os.path.getsize(path)
    return next((file.name for file in packs.KNOWN_FILES if file.size == size), "")


def _layers(model: Any) -> tuple[list[AttentionLayer], str]:
    if model is None:
        return [], ""
    try:
        layers = attention_layers(model)
    except IPAdapterError as error:
        return [], f"of no use here: {error}"
    except (AttributeError, *TROUBLE):
        return [], f"a {type(model).__name__}, which is no MODEL"
    family = search.family_of(layers)
    name = family.value if family else "of an unknown family"
    return layers, f"{name} with {len(layers)} cross-attention layers"


def _connected_encoder(clip_vision: Any) -> EncoderWidths | None:
    module = getattr(clip_vision, "model", None)
    if not isinstance(module, torch.nn.Module):
        return None
    return encoder_widths(module.state_dict())


def _about_encoder(widths: EncoderWidths | None, adapters: list[AdapterFile]) -> str:
    if widths is None:
        return "no CLIP image encoder: no adapter can use it"
    names = [one.file.name for one in adapters if one.usable and _goes(widths, one.spec)]
    return f"{widths.name}, for {', '.join(names) or 'none of the adapters found'}"


def _goes(widths: EncoderWidths, spec: AdapterSpec | None) -> bool:
    return spec is not None and spec.needs_encoder and widths.fits(spec)


def _versions() -> dict[str, str]:
    device = comfy.model_management.get_torch_device()
    attention = comfy.ldm.modules.attention.optimized_attention
    return {
        "pack": pack_version(),
        "ComfyUI": comfyui_version.__version__,
        "torch": str(torch.__version__),
        "device": str(comfy.model_management.get_torch_device_name(device)),
        "attention": str(getattr(attention, "__name__", attention)),
    }


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
            f"The pack's folder is called {_ROOT.name!r}; ComfyUI cannot serve the browser part of "
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


log = logging.getLogger("ipadapter")


class Report(NamedTuple):
    """The same findings twice."""

    lines: list[str]
    data: dict[str, Any]


def report(model: Any = None, clip_vision: Any = None, logged: bool = False) -> Report:
    """Look through all folders."""
    found = survey(model, clip_vision)
    made = Report(lines(found), data(found))
    if logged:
        log.info("%s", "\n".join(made.lines))
    return made
