"""What was found on disk, and which kinds of adapters can be used with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Generic, TypeVar

from ....ip_models.adapter.encoders import EncoderWidths
from ....ip_models.adapter.published import (
    ADAPTER_ADDRESSES,
    ADAPTER_LICENCES,
    ADAPTER_NAMES,
    ENCODER_ADDRESSES,
    RULES,
    Choice,
    rank,
)
from ....ip_models.adapter.spec import FACE_KINDS, AdapterSpec, Family, Kind
from ..face.packs import HOME_PACK
from ..model.apply import recogniser_of
from ..model.start import FAMILIES
from .bases import BaseFiles

Content = TypeVar("Content")
_FACE_SITE = "https://github.com/deepinsight/insightface/tree/master/model_zoo"
_ENCODERS = {Kind.XLABS: "ViT-L", Kind.INSTANTX: "SigLIP"}
_REMARKS = {Choice.XLABS: "trained for CFG above 1, where v2 works at 1 too"}
_WITHOUT_ENCODER = (Kind.FACEID, Kind.PORTRAIT, Kind.PORTRAIT_UNNORMED)


@dataclass(frozen=True)
class File(Generic[Content]):
    """A file as the combos show it.

    Attributes:
        size: in bytes, 0 where it cannot be read.
        content: what it was recognised as, None where it was not.
        problem: the sentence that says why it cannot be used, "" if it can.
    """

    name: str
    size: int = 0
    content: Content | None = None
    problem: str = ""


@dataclass(frozen=True)
class AdapterFile:
    """A file among the adapters.

    Attributes:
        encoders: encoder files that give what it reads.
        fits: whether it is for the connected MODEL, None without one.
    """

    file: File[AdapterSpec]
    encoders: tuple[str, ...] = ()
    fits: bool | None = None

    @property
    def spec(self) -> AdapterSpec | None:
        """None where it was not recognised."""
        return self.file.content

    @property
    def usable(self) -> bool:
        """Whether it can be applied."""
        return self.spec is not None and self.spec.supported and self.fits is not False


@dataclass(frozen=True)
class FacePackFolder:
    """A face model pack.

    Attributes:
        about: where it is and what each of its two files is, in words.
        recogniser: published name of its recogniser, "" if unknown.
    """

    name: str
    about: str = ""
    recogniser: str = ""
    licence: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Survey:
    """Everything found.

    Attributes:
        about: lines on what runs here, other packs, and what is connected to the node.
        adapters, encoders, face_packs, embeds: encoders without content are none of CLIP's.
        misplaced: sentences on files in folders where no node looks for them.
        family: of the connected MODEL, None without one or where it is unknown.
        published: whether adapters were published for the connected MODEL; true without one.
        bases: the base models in their folders.
    """

    about: tuple[str, ...]
    adapters: tuple[AdapterFile, ...]
    encoders: tuple[File[EncoderWidths], ...]
    face_packs: tuple[FacePackFolder, ...]
    embeds: tuple[File[str], ...]
    misplaced: tuple[str, ...]
    family: Family | None
    published: bool = True
    bases: tuple[BaseFiles, ...] = ()


@dataclass(frozen=True)
class Missing:
    """Something to get: what, from where, into which folder and under which name ("" for any).

    Attributes:
        licence: "" where it does not limit what may be done.
    """

    what: str
    address: str
    folder: str
    name: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Readiness:
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


def readiness(found: Survey) -> list[Readiness]:
    """One for each published kind of the families in question.

    For a MODEL that none was published for, only what is there and fits it.
    """
    if found.family is not None or not found.published:
        families = [found.family] if found.family else []
    else:
        evident = [one.family for one in found.bases if one.family] or list(
            FAMILIES
        )  # where it is not known which there are
        evident += [one.spec.family for one in found.adapters if one.usable and one.spec]
        families = [family for family in Family if family in evident]
    published = [key for key in ADAPTER_ADDRESSES if key[0] in families]
    for family in families:  # SD2 has adapters, but none was published
        published += [(family, c) for c in Choice if (family, c) not in published]
    known = [_readiness(found, family, choice) for family, choice in published]
    to_get = ADAPTER_ADDRESSES if found.published else {}
    return [one for one in known if one.adapter or (one.family, one.choice) in to_get]


def _readiness(found: Survey, family: Family, choice: Choice) -> Readiness:
    adapter = _best(found, family, choice)
    wanted, missing = _usual_encoder(family, choice), list[Missing]()
    if adapter is None:
        missing.append(_missing_adapter(family, choice))
        encoders = [
            one.name for one in found.encoders if one.content and one.content.name == wanted
        ]
    else:
        encoders = list(adapter.encoders)
        wanted = adapter.spec.encoder if adapter.spec and adapter.spec.needs_encoder else ""
    if wanted and not encoders:
        name, address = ENCODER_ADDRESSES.get(wanted, ("", ""))
        missing.append(Missing(wanted, address, "models/clip_vision", name))
    pack, remark = "", _REMARKS.get(choice, "")
    if RULES[choice].kind in FACE_KINDS:
        pack, remark = _face_pack(found, family)
        if not pack:
            missing.append(missing_pack(family))
    return Readiness(
        family=family,
        choice=choice,
        adapter=adapter.file.name if adapter else "",
        encoder=encoders[0] if wanted and encoders else "",
        face_pack=pack,
        missing=tuple(missing),
        remark=remark,
    )


def _missing_adapter(family: Family, choice: Choice) -> Missing:
    published = (family, choice)
    return Missing(
        what=f"{choice.value} for {family.value}",
        address=ADAPTER_ADDRESSES.get(published, ""),
        folder="models/ipadapter",
        name=ADAPTER_NAMES.get(published, ""),
        licence=ADAPTER_LICENCES.get(published, ""),
    )


def _best(found: Survey, family: Family, choice: Choice) -> AdapterFile | None:
    """The one that Load IP-Adapter for Model takes."""
    ranked = [
        (place, one.file.name, one)
        for one in found.adapters
        if one.spec is not None
        and one.usable
        and one.spec.family is family
        and (place := rank(choice, one.spec, os.path.basename(one.file.name))) is not None
    ]
    return min(ranked)[2] if ranked else None


def _usual_encoder(family: Family, choice: Choice) -> str:
    """The encoder of the published file."""
    if RULES[choice].kind in _WITHOUT_ENCODER:
        return ""
    if family is Family.KOLORS:
        return "ViT-L 336"
    return _ENCODERS.get(RULES[choice].kind) or RULES[choice].encoder or "ViT-H"


def _face_pack(found: Survey, family: Family) -> tuple[str, str]:
    """Name of a pack, and what is not as trained with it."""
    recogniser = recogniser_of(family)
    complete = [one for one in found.face_packs if not one.problem]
    right = [one.name for one in complete if one.recogniser == recogniser.value]
    if right or not complete:
        return (right[0] if right else ""), ""
    home = HOME_PACK[recogniser]
    return complete[0].name, f"trained with {recogniser.value} of {home}: faces may not be alike"


def missing_pack(family: Family) -> Missing:
    """The face pack that the adapters of a family were trained with."""
    pack = HOME_PACK[recogniser_of(family)]
    address = f"the files in {pack}.zip from {_FACE_SITE}"
    return Missing(f"face pack {pack}", address, f"models/insightface/models/{pack}")
