"""Whether model, encoder and adapter go together, with the sentences a run would stop with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import TypeVar

import folder_paths

from ...ip_models.errors import IPAdapterError, MissingModel, WrongBase
from ...ip_models.features import no_face_read, no_picture_of_face, other_encoder
from ...ip_models.published import Choice
from ...ip_models.spec import AdapterSpec, Family, Feature
from . import folders, match
from .backbones import AttentionLayer, no_unet
from .bases import Base, read_base
from .loaded import read_file_spec

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
        """From the query of an address; what nobody knows here counts as unknown."""
        names = {field.name: given.get(field.name, "") for field in fields(cls)}
        kind, embeds = names.pop("kind"), names.pop("embeds")
        return cls(
            **names,
            kind=kind if kind in [choice.value for choice in Choice] else "",
            embeds=Source(embeds) if embeds in [one.value for one in Source] else Source.UNKNOWN,
        )


def require_base(name: str, spec: AdapterSpec, layers: list[AttentionLayer]) -> None:
    """Refuse an adapter that was trained for another MODEL than the one with these layers.

    Raises:
        WrongBase: the family, the number of layers or a width is another.
    """
    if match.suits(spec, layers):
        return
    context, widths = layers[0].context, tuple(layer.width for layer in layers)
    family = match.family_of(layers)
    if spec.context_width != context or (spec.family is Family.KOLORS) != layers[0].projected:
        found = f"{name} is an adapter for {spec.family.value}"
        own = family.value if family else "of an unknown family"
        needed = f"this MODEL is {own} (text context {context} wide)"
    elif len(widths) != len(spec.layer_widths):
        found = f"{name} has {len(spec.layer_widths)} attention layers"
        needed = f"this MODEL has {len(widths)}"
    else:
        i = next(i for i, width in enumerate(widths) if width != spec.layer_widths[i])
        found = f"{name} has {spec.layer_widths[i]} wide keys for {layers[i].address}"
        needed = f"this MODEL has {widths[i]} wide ones"
    raise WrongBase(found, needed, match.adapter_hint(layers, spec.kind))


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
        except OSError:  # a file that went away, or that nobody may read
            continue
    return list(dict.fromkeys(said))


def _apply_checks(given: Combination, base: Base | None) -> Iterator[Callable[[], object]]:
    spec, encoder = _spec(given.adapter), given.encoder
    if given.embeds is Source.UNKNOWN and encoder and not given.adapter:
        yield lambda: match.read_encoder(folders.resolve(folders.ENCODERS, encoder))
    if base is not None and not base.layers:
        yield lambda: _refuse(no_unet(base.name))
    if spec is None:
        return
    name = os.path.basename(given.adapter)
    if base is not None and base.layers:
        yield lambda: require_base(name, spec, list(base.layers))
    yield lambda: _require_features(given, spec, name)


def _search_checks(given: Combination, base: Base | None) -> Iterator[Callable[[], object]]:
    """For Load IP-Adapter for Model, which searches what nobody has chosen."""
    if base is not None and not base.layers:
        yield lambda: _refuse(no_unet(base.name))
        return
    layers = list(base.layers) if base else []
    name = given.adapter
    if name == AUTO and layers:
        choice = Choice(given.kind)
        yield lambda: match.find_adapter(layers, choice)
        name = _found(lambda: match.find_adapter(layers, choice))
    spec = _spec(name)
    if spec is None:
        return
    if layers:
        yield lambda: require_base(os.path.basename(name), spec, layers)
    if given.encoder == AUTO and spec.needs_encoder:
        yield lambda: match.find_encoder(spec)
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
    raise other_encoder(widths.name, width, spec, name, match.encoder_hint(spec))


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


def _widths(name: str) -> match.EncoderWidths | None:
    if name in ("", AUTO):
        return None
    return _read(lambda: match.read_encoder(folders.resolve(folders.ENCODERS, name)))


def _read(read: Callable[[], Content | None]) -> Content | None:
    try:
        return read()
    except (IPAdapterError, OSError):
        return None
