"""Adapters and encoders in folders where no node looks for them, by their headers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

import folder_paths

from ....ip_models import limits
from ..encoder.load import read_encoder
from ..files import folders
from ..files.header import header_size
from ..files.opened import identity, opened
from ..model.adapter import read_file_spec

_FOLDERS = (
    "controlnet",
    "clip_vision",
    "loras",
    "checkpoints",
    "diffusion_models",
    "text_encoders",
    "style_models",
    "ipadapter",
)
_PICKLE = 65_536  # a torch file names its tensors at its beginning, as far as is needed here
_ADAPTER_MARKS = (b"to_k_ip", b"ip_adapter", b"image_proj")
_ENCODER_MARKS = (b"vision_model.post_layernorm", b"visual.ln_post")
_TEXT = b"text_model."  # a whole CLIP is a text encoder too, and belongs where it is
# Whatever reading a file that somebody made may lead to.
TROUBLE = (ValueError, OSError, LookupError, TypeError, ArithmeticError, RuntimeError)


def misplaced() -> Iterator[str]:
    """A sentence on each such file, and where it belongs."""
    homes = {folder: _real_homes(folder) for folder in (folders.ADAPTERS, folders.ENCODERS)}
    seen: set[str] = set()
    for folder, path in _files():
        real = os.path.realpath(path)
        kind = None if real in seen else _kind(folder, path)
        seen.add(real)
        if kind is not None and not real.startswith(homes[kind]):
            what = "an IP-Adapter" if kind == folders.ADAPTERS else "an image encoder"
            yield f"{path} is {what}; it belongs into models/{kind}"
        elif folder == "loras" and _names_faceid_lora(os.path.basename(path)):
            yield (
                f"{path} is the LoRA of a FaceID adapter as a file of its own; not needed here, "
                "the FaceID adapter carries it"
            )


def _names_faceid_lora(name: str) -> bool:
    return "lora" in name.lower().partition("faceid")[2]


def _files() -> Iterator[tuple[str, str]]:
    for folder in filter(folder_paths.folder_names_and_paths.__contains__, _FOLDERS):
        for name in folders.files(folder):
            path = folder_paths.get_full_path(folder, name)
            if path is not None:
                yield folder, path


def _real_homes(folder: str) -> tuple[str, ...]:
    return tuple(os.path.join(os.path.realpath(path), "") for path in folders.homes(folder))


def _kind(folder: str, path: str) -> str | None:
    try:
        folders.require_inside(path, folders.homes(folder))
        return _read_kind(*identity(path))
    except TROUBLE:
        return None


@lru_cache(maxsize=8192)
def _read_kind(path: str, mtime_ns: int, size: int) -> str | None:
    """The folder a file is for, None for most files: only likely ones are really parsed."""
    start = _start(path)
    if any(mark in start for mark in _ADAPTER_MARKS):
        read_file_spec(path)
        return folders.ADAPTERS
    if any(mark in start for mark in _ENCODER_MARKS) and _TEXT not in start:
        read_encoder(path)
        return folders.ENCODERS
    return None


def _start(path: str) -> bytes:
    """The header of a safetensors file, or the first bytes of any other."""
    with opened(path) as file:
        first = file.read(0, 9)
        if first[8:] == b"{":
            return file.read(8, min(header_size(first), limits.HEADER_BYTES))
        return file.read(0, _PICKLE)
