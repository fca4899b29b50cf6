"""Names that people and programs type for a file: inside one folder, on every system."""

from __future__ import annotations

import unicodedata

from ....ip_models.errors import BadInput
from ....ip_models.inputs import shown

_LONGEST, _LONGEST_PART = 200, 200  # letters in all; bytes of a part, to which endings are added
_FORBIDDEN = '<>:"|?*'
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"
}
# Control characters, marks without a width or for the direction, half letters, ends of lines.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def safe_parts(name: object, endings: tuple[str, ...]) -> tuple[str, ...]:
    """Folders and file of a name, without the ending that was typed.

    Raises:
        BadInput: it would lead out of the folder, or is no name on some system.
    """
    if not isinstance(name, str):
        raise _refused(f"name is {shown(name)}", "text is needed")
    if not name.strip():
        raise _refused("name is empty", "a file needs a name")
    if len(name) > _LONGEST:
        raise _refused(f"name is {len(name)} letters long", f"at most {_LONGEST} are needed")
    ending = next((one for one in endings if name.lower().endswith(one)), "")
    name = name[: len(name) - len(ending)]
    if not name:
        raise _refused(f"name is {ending} alone", "a name in front of it is needed")
    parts = tuple(name.replace("\\", "/").split("/"))
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        raise _refused(f"name is {_shown(name)}", "it starts in the folder of the embeds")
    for part in parts:
        reason = _trouble(part)
        if reason:
            raise _refused(f"name is {_shown(name)}", reason)
    return parts


def _trouble(part: str) -> str:
    if not part:
        return "folders and the file need a name each, without an empty one between slashes"
    if part == "..":
        return "a name cannot lead out of the folder of the embeds by .."
    if any(unicodedata.category(letter) in _UNSEEN for letter in part):
        return "a name cannot hold control characters and others that nobody sees"
    if set(part) & set(_FORBIDDEN):
        return f"a name cannot hold any of {' '.join(_FORBIDDEN)}"
    if part.startswith("."):
        return "a name that starts with a dot is hidden"
    if part[-1] in ". ":
        return "a name cannot end with a dot or a blank"
    if part.split(".")[0].strip().lower() in _DEVICES:
        return f"{part} is the name of a device on Windows"
    if len(part.encode()) > _LONGEST_PART:
        return f"each part of a name can be {_LONGEST_PART} bytes long"
    return ""


def _shown(name: str) -> str:
    unseen = any(unicodedata.category(c) in _UNSEEN for c in name)
    return f'"{ascii(name)[1:-1] if unseen else name}"'


def _refused(found: str, needed: str) -> BadInput:
    return BadInput(found, needed, "Type a name like reference or people/anna")
