"""Whether model, encoder and adapter go together, with the sentences a run would stop with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import TypeVar

import folder_paths

from ....ip_models.adapter.encoders import EncoderWidths
from ....ip_models.adapter.published import Choice
from ....ip_models.adapter.spec import AdapterSpec, Feature
from ....ip_models.errors import IPAdapterError, MissingModel
from ....ip_models.references.features import no_face_read, no_picture_of_face, other_encoder
from ..encoder.load import read_encoder
from ..files import folders
from ..model import search
from ..model.adapter import read_file_spec
from ..model.backbones.layers import no_unet
from ..model.search import require_base
from .base_model import Base, read_base

AUTO = "auto"
Content = TypeVar("Content")


class Source(str, Enum):
    """What embeds were made of."""

    UNKNOWN = ""
    IMAGE = "image"
    FACE = "face"
    FACE_AND_IMAGE = "face and image"


@dataclass(frozen=True)
class Combination:
    """What a workflow puts together, by the names its loaders show; "" for what is not known.

    Attributes:
        adapter, encoder: file names, "auto" where a file of `kind` is searched.
        checkpoint, unet: the base model, as a whole checkpoint or alone.
        kind: what Load IP-Adapter for Model searches for, on that node only.
    """

    adapter: str = ""
    encoder: str = ""
    checkpoint: str = ""
    unet: str = ""
    kind: str = ""
    embeds: Source = Source.UNKNOWN

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Combination:
        """From the query of an address; values of no meaning here count as unknown."""
        names = {field.name: given.get(field.name, "") for field in fields(cls)}
        kind, embeds = names.pop("kind"), names.pop("embeds")
        return cls(
            **names,
            kind=kind if kind in [choice.value for choice in Choice] else "",
            embeds=Source(embeds) if embeds in [one.value for one in Source] else Source.UNKNOWN,
        )


def problems(given: Combination) -> list[str]:
    """What is wrong, one sentence each; nothing is said about what cannot be known.

    Where an adapter file cannot be read, its loader says so.
    """
    base = _base(given)
    checks = _search_checks(given, base) if given.kind else _apply_checks(given, base)
    said: list[str] = []
    for check in checks:
        try:
            check()
        except IPAdapterError as error:
            said.append(str(error))
        except OSError:  # a file that went away, or that may not be read
            continue
    return list(dict.fromkeys(said))


def _apply_checks(given: Combination, base: Base | None) -> Iterator[Callable[[], object]]:
    spec, encoder = _spec(given.adapter), given.encoder
    if given.embeds is Source.UNKNOWN and encoder and not given.adapter:
        yield lambda: read_encoder(folders.resolve(folders.ENCODERS, encoder))
    if base is not None and not base.layers:
        yield lambda: _refuse(no_unet(base.name))
    if spec is None:
        return
    name = os.path.basename(given.adapter)
    if base is not None and base.layers:
        yield lambda: require_base(name, spec, list(base.layers))
    yield lambda: _require_features(given, spec, name)


def _search_checks(given: Combination, base: Base | None) -> Iterator[Callable[[], object]]:
    """For Load IP-Adapter for Model, which searches what was not chosen."""
    if base is not None and not base.layers:
        yield lambda: _refuse(no_unet(base.name))
        return
    layers = list(base.layers) if base else []
    name = given.adapter
    if name == AUTO and layers:
        choice = Choice(given.kind)
        yield lambda: search.find_adapter(layers, choice)
        name = _found(lambda: search.find_adapter(layers, choice))
    spec = _spec(name)
    if spec is None:
        return
    if layers:
        yield lambda: require_base(os.path.basename(name), spec, layers)
    if given.encoder == AUTO and spec.needs_encoder:
        yield lambda: search.find_encoder(spec)
    elif given.encoder not in ("", AUTO):
        chosen = replace(given, embeds=Source.IMAGE)
        yield lambda: _require_width(chosen, spec, os.path.basename(name))


def _require_features(given: Combination, spec: AdapterSpec, name: str) -> None:
    """What embeds of this source would be refused for."""
    if spec.needs_face and given.embeds is Source.IMAGE:
        raise no_face_read(_encoder_name(given.encoder), name)
    if spec.needs_encoder and given.embeds is Source.FACE:
        raise no_picture_of_face("the connected face models", spec, name)
    _require_width(given, spec, name)


def _require_width(given: Combination, spec: AdapterSpec, name: str) -> None:
    widths = _widths(given.encoder)
    if widths is None or not spec.needs_encoder or widths.fits(spec):
        return
    width = widths.pooled if spec.feature is Feature.POOLED else widths.penultimate
    raise other_encoder(widths.name, width, spec, name, search.encoder_hint(spec))


def _refuse(error: IPAdapterError) -> None:
    raise error


def _found(search: Callable[[], str]) -> str:
    try:
        return search()
    except MissingModel:
        return ""


def _encoder_name(encoder: str) -> str:
    widths = _widths(encoder)
    return "an image encoder" if widths is None else widths.name


def _base(given: Combination) -> Base | None:
    for folder, name in (("checkpoints", given.checkpoint), ("diffusion_models", given.unet)):
        path = folder_paths.get_full_path(folder, name) if name else None
        if path is not None:
            return _read(lambda path=path: read_base(path))
    return None


def _spec(name: str) -> AdapterSpec | None:
    if name in ("", AUTO):
        return None
    spec = _read(lambda: read_file_spec(folders.resolve(folders.ADAPTERS, name)))
    return spec if spec is not None and spec.supported else None


def _widths(name: str) -> EncoderWidths | None:
    if name in ("", AUTO):
        return None
    return _read(lambda: read_encoder(folders.resolve(folders.ENCODERS, name)))


def _read(read: Callable[[], Content | None]) -> Content | None:
    try:
        return read()
    except (IPAdapterError, OSError):
        return None
