"""Which files ComfyUI_IPAdapter_plus takes for a preset, by their names alone.

Workflows that ran with it are to get the files they got there, also where a folder holds several
that would do. A name is searched for in any part of a file's, folders included and in any case; `?`
is one letter, `*` any number of them. The first file of the host's listing wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from ....ip_models.adapter.published import Choice
from ....ip_models.adapter.spec import Family
from ....ip_models.errors import BadInput
from ....ip_models.inputs import shown

# Tried one after the other; in each, one of several names.
Tries = tuple[tuple[str, ...], ...]


class Preset(NamedTuple):
    """What a preset asks for.

    Attributes:
        choice: the same for a search by content.
        files: names of adapters by the family of the MODEL, none where there is no such adapter.
        loras: names of a LoRA that goes with it, by family.
        encoder: names of the image encoder.
        faces: whether it needs face models.
        endings: of the adapter's file.
    """

    choice: Choice
    files: Mapping[Family, Tries]
    encoder: tuple[str, ...]
    loras: Mapping[Family, str] = {}
    faces: bool = False
    endings: tuple[str, ...] = (".safetensors", ".bin")


_SD1, _SDXL = Family.SD1, Family.SDXL
_H = ("ViT?H?14*s32B?b79K", "ipadapter*sd15", "sd1?5*model", "sd15*model")
_BIG_G = ("ViT?bigG?14*39B?b160k", "ipadapter*sdxl", "sdxl*model")
_336 = ("clip?vit?large?patch14?336",)


def _names(sd1: str = "", sdxl: str = "") -> dict[Family, Tries]:
    """One name for each family, or one after the other between commas."""
    given = {_SD1: sd1, _SDXL: sdxl}
    return {
        family: tuple((name,) for name in names.split(", "))
        for family, names in given.items()
        if names
    }


def _loras(sd1: str, sdxl: str = "") -> dict[Family, str]:
    return {family: name for family, name in ((_SD1, sd1), (_SDXL, sdxl)) if name}


# By the beginning of what the widget says.
_PRESETS: dict[str, Preset] = {
    "light": Preset(Choice.LIGHT, _names("sd15?light?v11, sd15?light"), _H),
    "standard": Preset(Choice.STANDARD, _names("ip?adapter?sd15", "ip?adapter?sdxl?vit?h"), _H),
    "vit-g": Preset(Choice.VIT_G, _names("sd15?vit?g", "ip?adapter?sdxl"), _BIG_G),
    "plus (": Preset(Choice.PLUS, _names("ip?adapter?plus?sd15", "plus?sdxl?vit?h"), _H),
    "plus face": Preset(Choice.PLUS_FACE, _names("plus?face?sd15", "plus?face?sdxl?vit?h"), _H),
    "full": Preset(Choice.FULL_FACE, _names("full?face?sd15"), _H),
    "faceid plus -": Preset(
        Choice.FACEID_PLUS,
        _names("faceid?plus?sd15"),
        _H,
        _loras("faceid?plus?sd15?lora"),
        faces=True,
    ),
    "faceid plus v2": Preset(
        Choice.FACEID_PLUS_V2,
        _names("faceid?plusv2?sd15", "faceid?plusv2?sdxl"),
        _H,
        _loras("faceid?plusv2?sd15?lora", "faceid?plusv2?sdxl?lora"),
        faces=True,
    ),
    "faceid portrait (": Preset(
        Choice.PORTRAIT,
        _names("portrait?v11?sd15, portrait?sd15", "portrait?sdxl"),
        _H,
        faces=True,
    ),
    "faceid portrait unnorm": Preset(
        Choice.PORTRAIT_UNNORMED, _names(sdxl="portrait?sdxl?unnorm"), _H, faces=True
    ),
    "composition": Preset(
        Choice.COMPOSITION,
        _names("plus?composition?sd15", "plus?composition?sdxl"),
        _H,
        endings=(".safetensors",),
    ),
    "kolors": Preset(
        Choice.PLUS, {_SDXL: (("ip_adapter_plus_general", "kolors?ip?adapter?plus"),)}, _336
    ),
}
_FACEID = Preset(
    Choice.FACEID,
    _names("faceid?sd15", "faceid?sdxl"),
    _H,
    _loras("faceid?sd15?lora", "faceid?sdxl?lora"),
    faces=True,
)


def preset_of(words: object) -> Preset:
    """What a preset asks for, by what its widget says.

    Raises:
        BadInput: there is no such preset.
    """
    said = words.lower() if isinstance(words, str) else ""
    if said == "faceid":
        return _FACEID
    for beginning, preset in _PRESETS.items():
        if said.startswith(beginning):
            return preset
    raise BadInput(
        f"preset is {shown(words)}",
        f"one that begins with {', '.join((*_PRESETS, 'faceid'))} is needed",
        "Choose one from the list",
    )


def is_for_kolors(preset: Preset) -> bool:
    """Whether it asks for the adapter of Kolors, which no other model has."""
    return preset.encoder is _336


def find_adapter(preset: Preset, family: Family | None, listing: Iterable[str]) -> str | None:
    """The adapter among the files of a folder, None where no name is one of the preset's."""
    files = list(listing)
    for names in preset.files.get(family, ()) if family else ():
        found = _first(names, preset.endings, files)
        if found is not None:
            return found
    return None


def find_encoder(preset: Preset, listing: Iterable[str]) -> str | None:
    """The image encoder; here the name may go on after the ending."""
    return _first(preset.encoder, (".bin*", ".safetensors*"), listing)


def find_lora(preset: Preset, family: Family | None, listing: Iterable[str]) -> str | None:
    """The LoRA, None where there is none or the preset needs none."""
    name = preset.loras.get(family) if family else None
    return _first((name,), (".safetensors",), listing) if name else None


def _first(names: Iterable[str], endings: Iterable[str], listing: Iterable[str]) -> str | None:
    """The first file whose name ends with one of the names and one of the endings."""
    wanted = [f"*{name}{ending}".lower() for name in names for ending in endings]
    fits = (one for one in listing if any(fnmatchcase(one.lower(), each) for each in wanted))
    return next(fits, None)
