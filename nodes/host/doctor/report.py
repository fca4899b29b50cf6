"""The report of what was found on disk, in lines for people."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from ....ip_models.adapter.encoders import EncoderWidths
from ....ip_models.adapter.published import Choice, rank, shortcut
from ....ip_models.adapter.spec import AdapterSpec, Family, Kind
from ..face import packs
from ..files import folders
from ..model.start import FAMILIES, first_files
from .bases import FOLDERS, BaseFiles
from .findings import (
    AdapterFile,
    FacePackFolder,
    File,
    Missing,
    Readiness,
    Survey,
    missing_pack,
    readiness,
)

_GOOD, _BAD, _IDLE = "✓", "✗", "–"
_SHOWN = 3  # files of base models of one kind


def lines(found: Survey) -> list[str]:
    """The report, without anything that cannot be printed."""
    kinds = readiness(found)
    parts = (
        _beginning(found),
        found.about,
        _bases(found.bases),
        _section("Adapters", folders.where(folders.ADAPTERS), map(_adapter, found.adapters)),
        _section("Image encoders", folders.where(folders.ENCODERS), map(_encoder, found.encoders)),
        _section("Face packs", packs.where(), _face_packs(found.face_packs)),
        _section("Saved embeds", folders.where(folders.EMBEDS), map(_embeds, found.embeds)),
        ["Files in other folders:"] if found.misplaced else [],
        (f"{_IDLE} {sentence}" for sentence in found.misplaced),
        _readiness(kinds),
        _to_get(kinds),
    )
    return [_printable(line) for part in parts for line in part]


def _beginning(found: Survey) -> Iterator[str]:
    """What to get first, for whoever has none of it; what an editor shows first of all."""
    ours = found.published and found.family in (None, *FAMILIES)
    if ours and (wanted := first_files()):
        yield "To begin with, get these files and press R:"
        yield from wanted


def first_face_pack() -> list[str]:
    """What to get first for adapters that read faces, where there is no face pack at all."""
    return [] if packs.names() else [_address(missing_pack(Family.SD1))]


def _printable(text: str) -> str:
    """A file name may hold bytes that are no text."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode("utf-8").split())


def _section(title: str, where: str, rows: Iterable[str]) -> Iterator[str]:
    yield f"{title} in {where or 'no folder'}:"
    yield from list(rows) or ["none"]


def _bases(found: Iterable[BaseFiles]) -> Iterator[str]:
    if found:
        yield f"Base models in {', '.join(f'models/{folder}' for folder in FOLDERS)}:"
    for one in found:
        more = len(one.files) - _SHOWN
        files = ", ".join(one.files[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        if one.family:
            yield f"{_GOOD} {one.name}: {files}"
        else:
            yield f"{_IDLE} {one.name}: {files}; no adapter was published for it"


def _adapter(one: AdapterFile) -> str:
    if one.spec is None:
        return _broken(one.file)
    words = f"{one.file.name}: {_size(one.file)}, {_short(one.spec, one.file.name)}"
    if not one.spec.supported:
        return f"{_IDLE} {words}; recognised, but not applicable yet"
    if one.fits is not None:
        words += ", fits the MODEL" if one.fits else ", not for the connected MODEL"
    if one.spec.needs_encoder:
        words += f", {one.encoders[0]} gives that" if one.encoders else ", no encoder here gives it"
    return f"{_IDLE if one.fits is False else _GOOD} {words}"


def _short(spec: AdapterSpec, name: str) -> str:
    kind = spec.kind.value
    if spec.kind is Kind.FACEID_PLUS:
        kind += " v2" if shortcut(spec, os.path.basename(name)) else " v1"
    elif spec.kind is Kind.XLABS and rank(Choice.XLABS_V2, spec, name) is not None:
        kind += " v2"
    return f"{spec.family.value} {kind}, {spec.tokens} tokens, needs {spec.needs}"


def _encoder(one: File[EncoderWidths]) -> str:
    if one.problem:
        return _broken(one)
    if one.content is None:
        return f"{_IDLE} {one.name}: {_size(one)}, no CLIP image encoder, not used here"
    return f"{_GOOD} {one.name}: {_size(one)}, {one.content.about}"


def _embeds(one: File[str]) -> str:
    return _broken(one) if one.problem else f"{_GOOD} {one.name}: {one.content}"


def _face_packs(packs: Iterable[FacePackFolder]) -> Iterator[str]:
    licences: dict[str, None] = {}  # each once, in order
    for one in packs:
        if one.problem:
            yield f"{_BAD} {one.name}: {one.problem}"
        else:
            yield f"{_GOOD} {one.name} in {one.about}"
            licences[f"Licence: {one.licence}"] = None
    yield from licences


def _broken(file: File[Any]) -> str:
    return f"{_BAD} {file.name}: {file.problem.removeprefix(file.name).lstrip()}"


def _size(file: File[Any]) -> str:
    megabytes = file.size / 1e6
    return f"{megabytes:.0f} MB" if megabytes >= 10 else f"{megabytes:.1f} MB"


def _readiness(kinds: list[Readiness]) -> Iterator[str]:
    for family in dict.fromkeys(one.family for one in kinds):
        yield f"What can be done with {family.value}:"
        for one in kinds:
            if one.family is family:
                yield _ready(one) if one.ready else _lacking(one)


def _ready(one: Readiness) -> str:
    files = " + ".join(name for name in (one.adapter, one.encoder, one.face_pack) if name)
    return f"{_GOOD} {one.choice.value}: {files}" + (f" ({one.remark})" if one.remark else "")


def _lacking(one: Readiness) -> str:
    adapter = [] if one.adapter else ["the adapter"]
    rest = [thing.what for thing in one.missing[len(adapter) :]]
    remark = f" ({one.remark})" if one.remark else ""
    return f"{_BAD} {one.choice.value}: missing {' and '.join(adapter + rest)}{remark}"


def _to_get(kinds: Iterable[Readiness]) -> Iterator[str]:
    wanted = dict.fromkeys(thing for one in kinds for thing in one.missing)
    if wanted:
        yield "Where to get what is missing (nothing is downloaded by itself):"
    yield from map(_address, wanted)


def _address(thing: Missing) -> str:
    named = f" as {thing.name}" if thing.name else ""
    licence = f" (licence: {thing.licence})" if thing.licence else ""
    return f"{thing.what}: put {thing.address or 'such a file'} into {thing.folder}{named}{licence}"
