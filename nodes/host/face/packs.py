"""Face model packs on disk, found in every usual place and by content; nothing is fetched."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

import folder_paths

from ....ip_models import limits
from ....ip_models.errors import BrokenFile, MissingModel
from ....ip_models.inputs import one_line
from ....ip_models.onnx.file import read_signature
from ..files import folders
from ..files.opened import identity, opened

log = logging.getLogger("ipadapter")

FOLDER = "insightface"
LICENCE = (
    "InsightFace's model packs are for non-commercial research only; "
    "for anything else ask recognition-oss-pack@insightface.ai"
)
_UNKNOWN_LICENCE = "unknown files: their licence is the one their author gave them"
# Listed even when empty, so that choosing one says what is missing.
_KNOWN_PACKS = ("buffalo_l", "buffalo_m", "buffalo_s", "buffalo_sc", "antelopev2")


class Role(str, Enum):
    """What a face pack needs a file for."""

    DETECTOR = "face detector"
    RECOGNISER = "face recogniser"


class Recogniser(str, Enum):
    """Whose numbers an adapter was trained with."""

    W600K_R50 = "w600k_r50"
    GLINTR100 = "glintr100"


class KnownFile(NamedTuple):
    """A published file."""

    name: str
    pack: str
    size: int
    sha256: str


KNOWN_FILES = (
    KnownFile(
        "det_10g",
        "buffalo_l and antelopev2",
        16_923_827,
        "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
    ),
    KnownFile(
        "w600k_r50",
        "buffalo_l",
        174_383_860,
        "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    ),
    KnownFile(
        "glintr100",
        "antelopev2",
        260_665_334,
        "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
    ),
    KnownFile(
        "w600k_mbf",
        "buffalo_s",
        13_616_099,
        "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
    ),
    KnownFile(
        "det_500m",
        "buffalo_s",
        2_524_817,
        "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a",
    ),
    KnownFile(
        "det_2.5g",
        "buffalo_m",
        3_292_009,
        "041f73f47371333d1d17a6fee6c8ab4e6aecabefe398ff32cca4e2d5eaee0af9",
    ),
)
HOME_PACK = {Recogniser.W600K_R50: "buffalo_l", Recogniser.GLINTR100: "antelopev2"}
_FILES = {
    "antelopev2": {Role.DETECTOR: "scrfd_10g_bnkps.onnx", Role.RECOGNISER: "glintr100.onnx"},
    "buffalo_s": {Role.DETECTOR: "det_500m.onnx", Role.RECOGNISER: "w600k_mbf.onnx"},
    "buffalo_sc": {Role.DETECTOR: "det_500m.onnx", Role.RECOGNISER: "w600k_mbf.onnx"},
    "buffalo_m": {Role.DETECTOR: "det_2.5g.onnx", Role.RECOGNISER: "w600k_r50.onnx"},
}
_USUAL_FILES = {Role.DETECTOR: "det_10g.onnx", Role.RECOGNISER: "w600k_r50.onnx"}


@dataclass(frozen=True)
class FacePack:
    """A folder with a detector and a recogniser; both are paths."""

    name: str
    folder: str
    detector: str
    recogniser: str

    def describe(self) -> str:
        """Pack, files and licence."""
        parts = [f"{self.name} in {self.folder}"]
        known = [known_file(path) for path in (self.detector, self.recogniser)]
        for role, path, file in zip(Role, (self.detector, self.recogniser), known, strict=True):
            what = f"{file.name} of {file.pack}" if file else "not a file known here"
            parts.append(f"{role.value}: {os.path.basename(path)} ({what})")
        return "\n".join([*parts, f"licence: {licence(self.name, any(known))}"])


def licence(name: str, known: bool) -> str:
    """What the files of a pack may be used for; `known` says that one of them was published."""
    return LICENCE if known or name in _KNOWN_PACKS else _UNKNOWN_LICENCE


def names() -> list[str]:
    """Packs by the names their folders have, as the combo shows them."""
    return sorted(_folders())


def _roots() -> Iterator[str]:
    registered = folder_paths.folder_names_and_paths.get(FOLDER, ([], set()))[0]
    for root in (os.path.join(folder_paths.models_dir, FOLDER), *registered):
        yield os.path.join(root, "models")
        yield root


def _folders() -> dict[str, str]:
    """Name of each pack -> folder that holds its files; the first place wins."""
    places = [(entry, os.path.join(root, entry)) for root in _roots() for entry in _listed(root)]
    found: dict[str, str] = {}
    for entry, place in places:
        folder = _unnested(place)
        if entry not in found and networks(folder):
            found[entry] = folder
    # Last, because a failed download leaves an empty folder in the first place.
    for entry, place in places:
        if entry in _KNOWN_PACKS and os.path.isdir(place):
            found.setdefault(entry, place)
    return found


def _listed(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []


def _unnested(folder: str) -> str:
    """Where the files are when an archive was unpacked into a folder of its own name."""
    inner = os.path.join(folder, os.path.basename(folder))
    return inner if not networks(folder) and networks(inner) else folder


def networks(folder: str) -> list[str]:
    """All .onnx files of a folder."""
    paths = (os.path.join(folder, one) for one in _listed(folder) if one.lower().endswith(".onnx"))
    return [path for path in paths if os.path.isfile(path)]


def where() -> str:
    """All places that are searched, for messages."""
    return ", ".join(dict.fromkeys(_roots()))


def fingerprint(name: object) -> str:
    """Changes when a file of a pack is replaced; "" for a pack that is not there."""
    folder = _folders().get(name, "") if isinstance(name, str) else ""
    try:
        stats = [os.stat(path) for path in networks(folder)]
    except OSError:  # gone meanwhile; what it is needed for says so
        return ""
    return ";".join(f"{stat.st_mtime_ns}:{stat.st_size}" for stat in stats)


def find(name: object) -> FacePack:
    """A pack by its name, once both of its files are there and whole.

    Raises:
        MissingModel: the pack, its detector or its recogniser is missing.
        BrokenFile: the file that has to be one of them is cut, a pointer or a web page.
    """
    folder = _folders().get(name) if isinstance(name, str) else None
    if folder is None:
        plain = isinstance(name, str) and name == os.path.basename(name) and name.strip(". ")
        own = str(name) if plain else "buffalo_l"
        home = os.path.join(folder_paths.models_dir, FOLDER, "models", own)
        raise MissingModel(
            f"the face model pack {one_line(name)} is in none of {where()}",
            f"{_wanted(str(name), Role.DETECTOR)} and {_wanted(str(name), Role.RECOGNISER)} are "
            "needed",
            f"Put both files into {home}. {LICENCE}",
        )
    found: dict[Role, str] = {}
    broken: list[BrokenFile] = []
    for path in networks(folder):
        try:
            role = role_of(path)
        except BrokenFile as error:
            broken.append(error)
            continue
        if role is not None:
            found.setdefault(role, path)
    missing = [role for role in Role if role not in found]
    pack = str(name)
    if missing:
        raise _incomplete(pack, folder, missing, broken)
    for error in broken:
        log.warning("%s", error)
    return FacePack(pack, folder, found[Role.DETECTOR], found[Role.RECOGNISER])


def _wanted(name: str, role: Role) -> str:
    return _FILES.get(name, _USUAL_FILES)[role]


def _incomplete(
    name: str, folder: str, missing: list[Role], broken: list[BrokenFile]
) -> MissingModel | BrokenFile:
    lacking = " and no ".join(role.value for role in missing)
    files = " and ".join(_wanted(name, role) for role in missing)
    found = f"the face model pack {name} in {folder} has no {lacking}"
    action = f"Put {files} into that folder. {LICENCE}"
    if broken:
        reasons = ", ".join(error.found for error in broken)
        return BrokenFile(f"{found}: {reasons}", f"{files} must be whole", action)
    return MissingModel(found, f"a face pack has to have {files}", action)


def role_of(path: str) -> Role | None:
    """What a file is for, by its inputs and outputs; None for what faces need not.

    Raises:
        BrokenFile: the file is not a whole ONNX file.
    """
    folders.require_inside(path, _roots())
    return _role_of(*identity(path))


@lru_cache(maxsize=128)
def _role_of(path: str, mtime_ns: int, size: int) -> Role | None:
    network = read_signature(path)
    if len(network.outputs) >= 5:
        return Role.DETECTOR
    shape = network.inputs[0].shape if len(network.inputs) == 1 else ()
    if len(network.outputs) != 1 or len(shape) != 4:
        return None
    side = shape[2]
    if side is None or side != shape[3] or side % 16 or side == 192:
        return None
    # A crop is made before the network is asked.
    return Role.RECOGNISER if 112 <= side <= limits.FACE_SIDE else None


def known_file(path: str) -> KnownFile | None:
    """The published file this is, by its bytes."""
    return _known_file(*identity(path))


@lru_cache(maxsize=128)
def _known_file(path: str, mtime_ns: int, size: int) -> KnownFile | None:
    alike = [file for file in KNOWN_FILES if file.size == size]
    if not alike:
        return None
    digest = hashlib.sha256()
    with opened(path) as file:
        for begin in range(0, size, 1 << 20):
            digest.update(file.read(begin, 1 << 20))
    return next((one for one in alike if one.sha256 == digest.hexdigest()), None)


def warn_of(pack: FacePack, wanted: Recogniser) -> str:
    """What to tell someone whose adapter was trained with a recogniser; "" if it is this one."""
    known = known_file(pack.recogniser)
    if known is not None and known.name == wanted.value:
        return ""
    file = os.path.basename(pack.recogniser)
    what = f"is {known.name}" if known else "is not known by its bytes"
    likely = "is not going to be alike" if known else "may not be alike"
    return (
        f"The adapter was trained with {wanted.value}; {file} of {pack.name} {what}, so the face "
        f"{likely}. Choose {HOME_PACK[wanted]} with its original files"
    )
