"""What was found on disk, and which kinds of adapters can be used with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from ....ip_models.adapter.published import (
    ADAPTER_ADDRESSES,
    ENCODER_ADDRESSES,
    RULES,
    Choice,
    rank,
)
from ....ip_models.adapter.spec import FACE_KINDS, AdapterSpec, Family, Kind

_FACE_SITE = "https://github.com/deepinsight/insightface/tree/master/model_zoo"
_ALWAYS = (Family.SD1, Family.SDXL)  # listed even where nothing was found for them
_WITHOUT_ENCODER = (Kind.FACEID, Kind.PORTRAIT, Kind.PORTRAIT_UNNORMED)


@dataclass(frozen=True)
class File:
    """A file as the combos show it.

    Attributes:
        size: in bytes, 0 where it cannot be read.
        problem: the sentence that says why it cannot be used, "" if it can.
    """

    name: str
    path: str
    size: int = 0
    problem: str = ""


@dataclass(frozen=True)
class AdapterFile:
    """A file among the adapters.

    Attributes:
        spec: None where it was not recognised.
        encoders: encoder files that give what it reads.
        fits: whether it is for the connected MODEL, None without one.
    """

    file: File
    spec: AdapterSpec | None = None
    encoders: tuple[str, ...] = ()
    fits: bool | None = None

    @property
    def usable(self) -> bool:
        """Whether it can be applied."""
        return self.spec is not None and self.spec.supported and self.fits is not False


@dataclass(frozen=True)
class EncoderFile:
    """A file among the image encoders; `encoder` is "" where it is none of CLIP's."""

    file: File
    encoder: str = ""


@dataclass(frozen=True)
class EmbedsFile:
    """A file of saved embeds and, in words, what it holds."""

    file: File
    holds: str = ""


@dataclass(frozen=True)
class FacePackFolder:
    """A face model pack.

    Attributes:
        parts: what each of its two files is, in words.
        recogniser: published name of its recogniser, "" if unknown.
    """

    name: str
    folder: str
    parts: tuple[str, ...] = ()
    recogniser: str = ""
    licence: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Misplaced:
    """A file in a folder where no node looks for it."""

    path: str
    what: str
    belongs: str


@dataclass(frozen=True)
class Connected:
    """What hangs on the node; "" where nothing does.

    Attributes:
        model, encoder: what they are, in words.
        family: of the MODEL, None without one or where it is unknown.
    """

    model: str = ""
    encoder: str = ""
    family: Family | None = None


@dataclass(frozen=True)
class Survey:
    """Everything found.

    Attributes:
        places: kind of file -> folders that are searched.
        versions: what runs here -> its version.
        remarks: further sentences, e.g. about other packs.
    """

    places: dict[str, tuple[str, ...]]
    adapters: tuple[AdapterFile, ...] = ()
    encoders: tuple[EncoderFile, ...] = ()
    face_packs: tuple[FacePackFolder, ...] = ()
    embeds: tuple[EmbedsFile, ...] = ()
    misplaced: tuple[Misplaced, ...] = ()
    versions: dict[str, str] = field(default_factory=dict[str, str])
    remarks: tuple[str, ...] = ()
    connected: Connected = Connected()


@dataclass(frozen=True)
class Missing:
    """Something to get: what, from where, into which folder and under which name ("" for any)."""

    what: str
    address: str
    folder: str
    name: str = ""


@dataclass(frozen=True)
class Outlook:
    """Whether a kind of adapter can be used, and with which files.

    Attributes:
        remark: what is not as trained, though it works.
    """

    family: Family
    choice: Choice
    adapter: str = ""
    encoder: str = ""
    face_pack: str = ""
    missing: tuple[Missing, ...] = ()
    remark: str = ""

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def outlooks(found: Survey) -> list[Outlook]:
    """One for each published kind of the families in question."""
    if found.connected.family is not None:
        families = [found.connected.family]
    else:
        specs = [one.spec for one in found.adapters if one.usable and one.spec]
        families = [f for f in Family if f in _ALWAYS or any(spec.family is f for spec in specs)]
    published = [key for key in ADAPTER_ADDRESSES if key[0] in families]
    for family in families:  # SD2 has adapters, but none was published
        published += [(family, c) for c in Choice if (family, c) not in published]
    known = [_outlook(found, family, choice) for family, choice in published]
    return [one for one in known if one.adapter or (one.family, one.choice) in ADAPTER_ADDRESSES]


def _outlook(found: Survey, family: Family, choice: Choice) -> Outlook:
    adapter = _best(found, family, choice)
    wanted, missing = _usual_encoder(family, choice), list[Missing]()
    if adapter is None:
        address = ADAPTER_ADDRESSES.get((family, choice), "")
        missing.append(Missing(f"{choice.value} for {family.value}", address, "models/ipadapter"))
        encoders = [one.file.name for one in found.encoders if one.encoder == wanted]
    else:
        encoders = list(adapter.encoders)
        wanted = adapter.spec.encoder if adapter.spec and adapter.spec.needs_encoder else ""
    if wanted and not encoders:
        name, address = ENCODER_ADDRESSES.get(wanted, ("", ""))
        missing.append(Missing(wanted, address, "models/clip_vision", name))
    pack, remark = "", ""
    if RULES[choice].kind in FACE_KINDS:
        pack, remark = _face_pack(found, family)
        if not pack:
            missing.append(_missing_pack(family))
    return Outlook(
        family=family,
        choice=choice,
        adapter=adapter.file.name if adapter else "",
        encoder=encoders[0] if wanted and encoders else "",
        face_pack=pack,
        missing=tuple(missing),
        remark=remark,
    )


def _best(found: Survey, family: Family, choice: Choice) -> AdapterFile | None:
    """The one that Load IP-Adapter for Model takes."""
    return min(
        _ranked(found, family, choice),
        key=lambda pair: (pair[0], pair[1].file.name),
        default=(0, None),
    )[1]


def _ranked(found: Survey, family: Family, choice: Choice) -> Iterator[tuple[int, AdapterFile]]:
    for one in found.adapters:
        if one.spec is None or not one.usable or one.spec.family is not family:
            continue
        place = rank(choice, one.spec, os.path.basename(one.file.name))
        if place is not None:
            yield place, one


def _usual_encoder(family: Family, choice: Choice) -> str:
    """The encoder of the published file."""
    if RULES[choice].kind in _WITHOUT_ENCODER:
        return ""
    if family is Family.KOLORS:
        return "ViT-L 336"
    return RULES[choice].encoder or "ViT-H"


def _wanted_pack(family: Family) -> tuple[str, str]:
    """Name of the pack and of the recogniser that adapters of a family were trained with."""
    return ("antelopev2", "glintr100") if family is Family.KOLORS else ("buffalo_l", "w600k_r50")


def _face_pack(found: Survey, family: Family) -> tuple[str, str]:
    pack, recogniser = _wanted_pack(family)
    whole = [one for one in found.face_packs if not one.problem]
    right = [one for one in whole if one.recogniser == recogniser]
    if right:
        return right[0].name, ""
    if whole:
        return whole[0].name, f"trained with {recogniser} of {pack}: faces may not be alike"
    return "", ""


def _missing_pack(family: Family) -> Missing:
    pack, _ = _wanted_pack(family)
    address = f"the files in {pack}.zip from {_FACE_SITE}"
    return Missing(f"face pack {pack}", address, f"models/insightface/models/{pack}")
