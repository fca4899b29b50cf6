"""The base models somebody has, from the headers of their files: for which adapters are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import folder_paths

from ....ip_models.adapter.published import base_name, is_known, published_family
from ....ip_models.adapter.spec import Family
from ....ip_models.errors import IPAdapterError
from ..files import folders
from ..model.search import shape_of
from .base_model import Base, read_base
from .misplaced import TROUBLE

FOLDERS = ("checkpoints", "diffusion_models")
_GGUF = "unet_gguf"  # the name under which ComfyUI-GGUF lists its own among the latter


class BaseFiles(NamedTuple):
    """Files of base models that take the same adapters.

    Attributes:
        family: whose adapters these are, None where none were published.
        name: what such a model is called.
    """

    family: Family | None
    name: str
    files: tuple[str, ...]


def found_bases() -> tuple[BaseFiles, ...]:
    """All whose headers tell what they are, those that adapters were published for first."""
    found: dict[tuple[Family | None, str], list[str]] = {}
    for name, base in _read():
        found.setdefault(_known_as(base), []).append(name)
    every = [BaseFiles(family, name, tuple(files)) for (family, name), files in found.items()]
    order = list(Family)
    return tuple(
        sorted(every, key=lambda one: order.index(one.family) if one.family else len(order))
    )


def _read() -> Iterator[tuple[str, Base]]:
    places = folder_paths.folder_names_and_paths
    for folder in filter(places.__contains__, (*FOLDERS, _GGUF)):
        for name in folders.files(folder):
            path = folder_paths.get_full_path(folder, name)
            try:
                base = _base(folder, path)
            except (IPAdapterError, *TROUBLE):  # a loader's business
                continue
            if base is not None:
                yield name, base


def _base(folder: str, path: str | None) -> Base | None:
    if path is None:
        return None
    folders.require_inside(path, folders.homes(folder))
    return read_base(path)


def _known_as(base: Base) -> tuple[Family | None, str]:
    if not base.layers:
        return None, base.name
    shape = shape_of(base.layers)
    name = base_name(shape)
    if not is_known(shape):
        name += " with layers of its own"
    return published_family(shape), f"{base.name}, which is like {name}" if base.name else name
