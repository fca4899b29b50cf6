"""The folder of saved embeds: whole files or none, under names that stay inside it."""

from __future__ import annotations

import errno
import glob
import io
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from enum import Enum
from itertools import count

import safetensors.torch
import torch
from torch import Tensor

from ....ip_models import limits
from ....ip_models.errors import Action, BadInput, BrokenFile, Mend
from ....ip_models.references import embeds_file, ipadpt
from ....ip_models.references.features import Features, Regions
from ..files import folders
from .safe_name import safe_parts

_PART = ".ipadapter-part"  # the ending of a file that is being written, which no list shows
_OLD = 3600.0  # seconds after which such a file is left over from a crash
_END = 2**14  # bytes at either end of a file


class FileFormat(str, Enum):
    """How embeds are written."""

    SAFETENSORS = "safetensors"
    IPADPT = "ipadpt"


class IfExists(str, Enum):
    """What becomes of a file that has the name already."""

    KEEP_BOTH = "keep both"
    REPLACE = "replace"
    STOP = "stop"


def as_safetensors(embeds: Features | Regions) -> bytes:
    """A file of the pack's own format; the same embeds always give the same bytes.

    Raises:
        BadInput: there are no references, values are not finite, or no loader would take the file.
    """
    tensors, text = embeds_file.pack(embeds)
    data = safetensors.torch.save(tensors, {embeds_file.KEY: text})
    header = int.from_bytes(data[:8], "little")
    if header > limits.EMBEDS_HEADER_BYTES:
        raise BadInput(
            f"the embeds take {header} bytes to describe",
            f"at most {limits.EMBEDS_HEADER_BYTES} can be read again",
            "Save fewer regions in one file",
        )
    try:
        embeds_file.unpack(tensors, text, "the file")
    except BrokenFile as error:
        raise _unreadable(error.found) from error
    return data


def as_ipadpt(entries: list[Tensor]) -> bytes:
    """A file that diffusers takes as `ip_adapter_image_embeds`.

    Raises:
        BadInput: no loader would take it.
    """
    buffer = io.BytesIO()
    torch.save(entries, buffer)
    data = buffer.getvalue()
    try:
        ipadpt.read(entries, "the file", len(data))
    except BrokenFile as error:
        raise _unreadable(error.found) from error
    return data


def _unreadable(reason: str) -> BadInput:
    return BadInput(
        f"the embeds could not be read again ({reason})",
        "a file with the very same embeds is needed",
        "Encode the reference again",
    )


def save(data: bytes, name: object, file_format: FileFormat, if_exists: IfExists) -> str:
    """Write a file and say under which name it is listed.

    A file that holds the same already is left alone, whatever `if_exists` is, so that a prompt
    that is queued again and again neither fills the disk nor stops.

    Raises:
        BadInput: the name is not one, is taken, or nothing can be written there.
    """
    *parents, stem = safe_parts(name, folders.EMBEDS_ENDINGS)
    home = _writable()
    _require_inside(os.path.join(home, *parents), home)
    for listed in _candidates(os.path.join(*parents, stem), f".{file_format.value}", if_exists):
        path = os.path.join(home, listed)
        there = _existing(listed)
        written = there is None and _write(path, data, over=False)
        there = there or path  # another server that saves here may have been faster
        if not written and not _holds(there, data):
            if if_exists is IfExists.KEEP_BOTH:
                continue
            if if_exists is IfExists.STOP or there != path:
                raise _taken(listed, there, if_exists)
            _write(path, data, over=True)
        folders.forget(folders.EMBEDS)
        return listed
    raise AssertionError("names never end")


def _candidates(stem: str, ending: str, if_exists: IfExists) -> Iterator[str]:
    yield stem + ending
    if if_exists is IfExists.KEEP_BOTH:
        yield from (f"{stem}_{number:05}{ending}" for number in count(2))


def _taken(listed: str, there: str, if_exists: IfExists) -> BadInput:
    if if_exists is IfExists.STOP:
        return BadInput(
            f"{listed} exists already and if_exists is stop",
            "a name that is free is needed",
            Action(
                "Type another name, or set if_exists to keep both or replace",
                Mend("if_exists", IfExists.KEEP_BOTH.value),
                Mend("if_exists", IfExists.REPLACE.value),
            ),
        )
    return BadInput(
        f"{listed} is in {os.path.dirname(there)}, where nothing can be written, and would be "
        "found before the new file",
        "a name that is free is needed",
        "Type another name",
    )


def _writable() -> str:
    """The first place of the folder where files can be written."""
    places = [one for one in folders.homes(folders.EMBEDS) if one != folders.EXAMPLES]
    for place in places:
        with suppress(OSError):
            os.makedirs(place, exist_ok=True)
        if os.access(place, os.W_OK | os.X_OK):
            return place
    raise BadInput(
        f"no file can be written in {', '.join(places)}",
        "a folder for embeds that can be written is needed",
        "Change its permissions, or enter another as ipadapter_embeds in extra_model_paths.yaml",
    )


def _existing(listed: str) -> str | None:
    """Where a file of the name is found first."""
    paths = (os.path.join(place, listed) for place in folders.homes(folders.EMBEDS))
    return next((path for path in paths if os.path.lexists(path)), None)


def _require_inside(folder: str, home: str) -> None:
    parent, root = os.path.realpath(folder), os.path.realpath(home)
    if parent != root and not parent.startswith(os.path.join(root, "")):
        raise BadInput(
            f"name leads to {parent} by a link",
            f"files are saved inside {root} only",
            "Type another name",
        )


def _holds(path: str, data: bytes) -> bool:
    """Whether a file has these bytes.

    Embeds of one encoder are of one size and begin alike. Their first and last bytes tell them
    apart, which are the description and the pooled features, or the checksums of an .ipadpt.
    """
    try:
        if os.path.getsize(path) != len(data):
            return False
        with open(path, "rb") as file:
            if file.read(_END) != data[:_END]:
                return False
            file.seek(max(0, len(data) - _END))
            if file.read(_END) != data[-_END:]:
                return False
            file.seek(0)
            return file.read() == data
    except OSError:  # not there, a folder or not readable
        return False


def _write(path: str, data: bytes, over: bool) -> bool:
    parent = os.path.dirname(path)
    try:
        os.makedirs(parent, exist_ok=True)
        _sweep(parent)
        return write_whole(path, data, over)
    except OSError as error:
        raise _unwritable(path, len(data), error) from error


def write_whole(path: str, data: bytes, over: bool = True) -> bool:
    """Put a file in its place when all of it is on the disk, and nothing there before.

    Args:
        over: whether it may take the place of a file that is there.

    Returns:
        Whether it is in its place, which without `over` another may have taken at any moment.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    part = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}{_PART}")
    with ExitStack() as undo:  # after a stop by the user as well
        undo.callback(_remove, part)
        with open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            if not over:
                os.link(part, path)  # whole, in one step, and never over another's
                return True
        except FileExistsError:
            return False
        except OSError:  # a disk without links
            try:
                open(path, "xb").close()
            except FileExistsError:
                return False
            undo.callback(_remove, path)  # empty, and ours
        os.replace(part, path)
        undo.pop_all()
    return True


def _sweep(parent: str) -> None:
    """Remove what a crash left long ago."""
    for part in glob.iglob(os.path.join(glob.escape(parent), f".*{_PART}")):
        with suppress(OSError):
            if time.time() - os.path.getmtime(part) > _OLD:
                os.unlink(part)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _unwritable(path: str, size: int, error: OSError) -> BadInput:
    place, reason = os.path.dirname(path), error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        needed = f"{size / 2**20:.1f} MB are needed there"
        return BadInput(f"there is no room left in {place} ({reason})", needed, "Make room")
    if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
        found = f"the disk does not take the name {os.path.basename(path)} ({reason})"
        return BadInput(found, "another is needed", "Type a shorter name of plain letters")
    return BadInput(
        f"{os.path.basename(path)} cannot be written in {place} ({reason})",
        "a folder that can be written is needed",
        "Type another name, or change the permissions of the folder",
    )
