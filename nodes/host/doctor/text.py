"""The report of what was found on disk, as lines for people and as data for programs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from ....ip_models.adapter.published import shortcut
from ....ip_models.adapter.spec import AdapterSpec, Kind
from .findings import (
    AdapterFile,
    EmbedsFile,
    EncoderFile,
    FacePackFolder,
    File,
    Missing,
    Outlook,
    Survey,
)
from .findings import outlooks as all_outlooks

_GOOD, _BAD, _IDLE = "✓", "✗", "–"


def lines(found: Survey) -> list[str]:
    """The report, without anything that cannot be printed."""
    outlooks = all_outlooks(found)
    parts = (
        _head(found),
        _section("Adapters", found.places.get("adapters"), map(_adapter, found.adapters)),
        _section("Image encoders", found.places.get("encoders"), map(_encoder, found.encoders)),
        _section("Face packs", found.places.get("face packs"), _face_packs(found.face_packs)),
        _section("Saved embeds", found.places.get("embeds"), map(_embeds, found.embeds)),
        _misplaced(found),
        _outlook_lines(outlooks),
        _to_get(outlooks),
    )
    return [_printable(line) for part in parts for line in part]


def data(found: Survey) -> dict[str, Any]:
    """The report as JSON takes it."""
    outlooks = all_outlooks(found)
    return {
        "versions": found.versions,
        "places": {kind: list(folders) for kind, folders in found.places.items()},
        "connected": {"model": found.connected.model, "encoder": found.connected.encoder},
        "adapters": [_adapter_data(one) for one in found.adapters],
        "encoders": [{**vars(one.file), "encoder": one.encoder} for one in found.encoders],
        "face_packs": [{**vars(one), "parts": list(one.parts)} for one in found.face_packs],
        "embeds": [{**vars(one.file), "holds": one.holds} for one in found.embeds],
        "misplaced": [vars(one) for one in found.misplaced],
        "outlook": [
            {
                **vars(one),
                "family": one.family.value,
                "choice": one.choice.value,
                "ready": one.ready,
                "missing": [vars(thing) for thing in one.missing],
            }
            for one in outlooks
        ],
        "remarks": list(found.remarks),
    }


def _adapter_data(one: AdapterFile) -> dict[str, Any]:
    spec = one.spec
    known: dict[str, Any] = {}
    if spec is not None:
        known = {
            "family": spec.family.value,
            "kind": spec.kind.value,
            "tokens": spec.tokens,
            "needs": spec.needs,
            "lora": spec.has_lora,
            "applicable": spec.supported,
        }
    return {**vars(one.file), **known, "encoders": list(one.encoders), "fits": one.fits}


def _printable(text: str) -> str:
    """A file name may hold bytes that are no text."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode("utf-8").split())


def _head(found: Survey) -> Iterator[str]:
    yield "IP-Adapter report: " + ", ".join(f"{k} {v}" for k, v in found.versions.items())
    yield from found.remarks
    if found.connected.model:
        yield f"The connected MODEL is {found.connected.model}"
    if found.connected.encoder:
        yield f"The connected CLIP Vision is {found.connected.encoder}"


def _section(title: str, places: Iterable[str] | None, rows: Iterable[str]) -> Iterator[str]:
    shown = list(rows)
    yield f"{title} in {', '.join(places or ()) or 'no folder'}:"
    yield from shown or ["none"]


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
    return f"{spec.family.value} {kind}, {spec.tokens} tokens, needs {spec.needs}"


def _encoder(one: EncoderFile) -> str:
    if one.file.problem:
        return _broken(one.file)
    if not one.encoder:
        return f"{_IDLE} {one.file.name}: {_size(one.file)}, no CLIP image encoder, not used here"
    return f"{_GOOD} {one.file.name}: {_size(one.file)}, {one.encoder}"


def _embeds(one: EmbedsFile) -> str:
    return _broken(one.file) if one.file.problem else f"{_GOOD} {one.file.name}: {one.holds}"


def _face_packs(packs: Iterable[FacePackFolder]) -> Iterator[str]:
    licences: list[str] = []
    for one in packs:
        if one.problem:
            yield f"{_BAD} {one.name}: {one.problem}"
            continue
        yield f"{_GOOD} {one.name} in {one.folder}: {', '.join(one.parts)}"
        licences.append(one.licence)
    for licence in dict.fromkeys(licences):
        yield f"Licence: {licence}"


def _broken(file: File) -> str:
    return f"{_BAD} {file.name}: {file.problem.removeprefix(file.name).lstrip()}"


def _size(file: File) -> str:
    megabytes = file.size / 1e6
    return f"{megabytes:.0f} MB" if megabytes >= 10 else f"{megabytes:.1f} MB"


def _misplaced(found: Survey) -> Iterator[str]:
    if found.misplaced:
        yield "Files in other folders:"
    for one in found.misplaced:
        yield f"{_IDLE} {one.path} is {one.what}; {one.belongs}"


def _outlook_lines(outlooks: Iterable[Outlook]) -> Iterator[str]:
    for family in dict.fromkeys(one.family for one in outlooks):
        yield f"What can be done with {family.value}:"
        for one in outlooks:
            if one.family is family:
                yield _ready(one) if one.ready else _lacking(one)


def _ready(one: Outlook) -> str:
    files = " + ".join(name for name in (one.adapter, one.encoder, one.face_pack) if name)
    return f"{_GOOD} {one.choice.value}: {files}" + (f" ({one.remark})" if one.remark else "")


def _lacking(one: Outlook) -> str:
    adapter = [] if one.adapter else ["the adapter"]
    rest = [thing.what for thing in one.missing[len(adapter) :]]
    return f"{_BAD} {one.choice.value}: missing {' and '.join(adapter + rest)}"


def _to_get(outlooks: Iterable[Outlook]) -> Iterator[str]:
    wanted = dict.fromkeys(thing for one in outlooks for thing in one.missing)
    if wanted:
        yield "Where to get what is missing (nothing is downloaded by itself):"
    yield from map(_address, wanted)


def _address(thing: Missing) -> str:
    named = f" as {thing.name}" if thing.name else ""
    return f"{thing.what}: put {thing.address or 'such a file'} into {thing.folder}{named}"
