"""Files with one bare tensor: saved in the output directory, loaded from the input directory."""

from __future__ import annotations

import os

import folder_paths
import torch
from torch import Tensor

from ....ip_models import limits
from ....ip_models.errors import BadInput, IPAdapterError, MissingModel
from ....ip_models.inputs import one_line, shown
from ..files.checkpoint import identity, read_list
from ..files.opened import broken
from ..files.torch_file import ANOTHER

ENDING = ".ipadpt"


def names() -> list[str]:
    """All such files below the input directory, with the separator of this platform."""
    home = folder_paths.get_input_directory()
    found = [
        os.path.relpath(os.path.join(folder, file), home)
        for folder, _, files in os.walk(home)
        for file in files
        if file.endswith(ENDING)
    ]
    return sorted(found)


def find(name: object) -> str:
    """Path of a file by the name a combo shows; workflows of Windows have its separator.

    A name that ends in [input], [output] or [temp] is in that directory.

    Raises:
        MissingModel: there is no such file.
        BadInput: the name leads out of the directory.
    """
    text = name if isinstance(name, str) else ""
    for written in (text, text.replace("\\", "/")):
        bare, home = folder_paths.annotated_filepath(written)
        home = os.path.abspath(home or folder_paths.get_input_directory())
        path = os.path.abspath(os.path.join(home, bare))
        _require_inside("embeds", path, home, name)
        if os.path.isfile(path):
            return path
    raise MissingModel(
        f"{one_line(name)} is not in {folder_paths.get_input_directory()}",
        "embeds that were saved are needed there",
        f"Copy the {ENDING} file into it and press R",
    )


def fingerprint(name: object) -> str:
    """Changes when the file is replaced; "" for what is missing."""
    try:
        return str(identity(find(name)))
    except IPAdapterError:
        return ""


def read(path: str) -> Tensor:
    """The tensor of a file.

    Raises:
        BrokenFile: the file is not whole, holds code, or something else than one tensor, or one
            that repeats what is in it.
    """
    content = read_list(path)
    if isinstance(content, Tensor):
        if content.nbytes > limits.SHARED * os.path.getsize(path):
            found = f"has a tensor of {content.nbytes} bytes, more than the file"
            raise broken(path, found, ANOTHER)
        return content.detach()
    raise broken(path, f"holds {shown(content)} and not one tensor", ANOTHER)


def write(rows: Tensor, prefix: object) -> str:
    """Save a tensor under the next free number and return the path.

    Raises:
        BadInput: the prefix leads out of the output directory.
    """
    home = os.path.abspath(folder_paths.get_output_directory())
    text = str(prefix)
    _require_name(text)
    _require_inside("filename_prefix", os.path.abspath(os.path.join(home, text)), home, prefix)
    folder, name, counter, _, _ = folder_paths.get_save_image_path(text, home)
    path = os.path.join(folder, f"{name}_{counter:05}{ENDING}")
    while os.path.exists(path):  # older hosts count pictures only
        counter += 1
        path = os.path.join(folder, f"{name}_{counter:05}{ENDING}")
    # Of its own memory: a view would take the whole tensor that it is a part of along.
    torch.save(rows.detach().cpu().clone(), path)
    return path


def _require_name(prefix: str) -> None:
    """Refuse what no file can be called.

    Raises:
        BadInput: it is too long, or holds what file systems do not take.
    """
    try:
        lengths = [len(part.encode()) for part in prefix.replace("\\", "/").split("/")]
    except UnicodeEncodeError:  # half of a letter
        lengths = []
    too_long = max(lengths, default=0) > limits.FILE_NAME_PART or sum(lengths) > limits.FILE_NAME
    if "\0" in prefix or too_long or not lengths:
        raise BadInput(
            f"filename_prefix is {one_line(prefix)}",
            f"the name of a file, each part of {limits.FILE_NAME_PART} letters at most, is needed",
            "Type a name like embeds/reference",
        )


def _require_inside(name: str, path: str, home: str, value: object) -> None:
    try:
        inside = os.path.commonpath((path, home)) == home
    except ValueError:  # another drive
        inside = False
    if not inside:
        raise BadInput(
            f"{name} is {one_line(value)}, which leads out of {home}",
            "a place inside it is needed",
            "Type a name like embeds/reference",
        )
