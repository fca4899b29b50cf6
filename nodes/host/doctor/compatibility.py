"""Whether model, encoder and adapter go together, with the sentences a run would stop with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import TypeVar

import folder_paths

from ....ip_models.adapter.encoders import EncoderWidths
from ....ip_models.adapter.published import RULES, Choice
from ....ip_models.adapter.spec import FACE_KINDS, AdapterSpec, Feature
from ....ip_models.errors import IPAdapterError, WrongEncoder
from ....ip_models.references.features import no_face_read, no_picture_of_face, other_encoder
from ....ip_models.weights.outline import outline_of
from ..encoder.load import read_encoder
from ..files import folders
from ..model import search
from ..model.adapter import read_file_spec
from ..model.backbones.layers import VOCABULARY, no_unet
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
    """The sentences of `errors`."""
    return [str(error) for error in errors(given)]


def errors(given: Combination) -> list[IPAdapterError]:
    """What is wrong; nothing is said about what cannot be known.

    Where an adapter file cannot be read, its loader says so.
    """
    said: list[IPAdapterError] = []
    base = base_of(given)
    if given.kind:
        _check_search(given, base, said)
    else:
        _check_apply(given, base, said)
    return said


def drawn_family(given: Combination) -> str:
    """Which family the editor of weights draws for an adapter or else for a model, "" for any."""
    spec = _spec(given.adapter)
    base = base_of(given) if spec is None else None
    layers = spec.layers if spec else base.layers if base else ()
    return outline_of(len(layers), VOCABULARY.outlines)


def reads_face(given: Combination) -> bool | None:
    """Whether the adapter, or the kind that is searched, reads a face; None if not known."""
    if spec := _spec(given.adapter):
        return spec.needs_face
    return RULES[Choice(given.kind)].kind in FACE_KINDS if given.kind else None


def _attempt(
    check: Callable[[], Content], said: list[IPAdapterError] | None = None
) -> Content | None:
    """What a run would do; the sentence it would stop with goes to what was said."""
    try:
        return check()
    except IPAdapterError as error:
        if said is not None:
            said.append(error)
    except OSError:  # a file that went away, or that may not be read
        pass
    return None


def _check_apply(given: Combination, base: Base | None, said: list[IPAdapterError]) -> None:
    spec, name = _spec(given.adapter), os.path.basename(given.adapter)
    if given.embeds is Source.UNKNOWN and given.encoder and not given.adapter:
        _attempt(lambda: read_encoder(folders.resolve(folders.ENCODERS, given.encoder)), said)
    if base is not None and not base.layers:
        said.append(no_unet(base.name))
    if spec is None:
        return
    if base is not None and base.layers:
        _attempt(lambda: require_base(name, spec, list(base.layers)), said)
    if not said:  # what another adapter needs is said when that one is chosen
        _attempt(lambda: _require_features(given, spec, name), said)


def _check_search(given: Combination, base: Base | None, said: list[IPAdapterError]) -> None:
    """For Load IP-Adapter for Model, which searches what was not chosen."""
    if base is not None and not base.layers:
        said.append(no_unet(base.name))
        return
    layers = list(base.layers) if base else []
    adapter = given.adapter
    if adapter == AUTO and layers:
        adapter = _attempt(lambda: search.find_adapter(layers, Choice(given.kind)), said) or ""
    spec, name = _spec(adapter), os.path.basename(adapter)
    if spec is None:
        return
    if layers:
        _attempt(lambda: require_base(name, spec, layers), said)
    if said:
        return
    if given.encoder == AUTO and spec.needs_encoder:
        _attempt(lambda: search.find_encoder(spec), said)
    _attempt(lambda: _require_width(given, spec, name), said)


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
    if width is None:  # of the file itself, and no other loader would find more in it
        found = f"{os.path.basename(given.encoder)} is {widths.about}"
        raise WrongEncoder(found, f"{name} reads it", search.encoder_hint(spec))
    raise other_encoder(widths.name, width, spec, name, search.encoder_hint(spec))


def _encoder_name(encoder: str) -> str:
    widths = _widths(encoder)
    return "an image encoder" if widths is None else widths.name


def base_of(given: Combination) -> Base | None:
    """The base model, None where its file is not known, not there or not readable."""
    for folder, name in (("checkpoints", given.checkpoint), ("diffusion_models", given.unet)):
        path = folder_paths.get_full_path(folder, name) if name else None
        if path is not None:
            return _attempt(lambda path=path: read_base(path))
    return None


def _spec(name: str) -> AdapterSpec | None:
    if name in ("", AUTO):
        return None
    spec = _attempt(lambda: read_file_spec(folders.resolve(folders.ADAPTERS, name)))
    return spec if spec is not None and spec.supported else None


def _widths(name: str) -> EncoderWidths | None:
    if name in ("", AUTO):
        return None
    return _attempt(lambda: read_encoder(folders.resolve(folders.ENCODERS, name)))
