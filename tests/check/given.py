"""What is named on the command line, looked at before anything that takes seconds is imported."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from check.problem import CheckError
from PIL import Image, ImageOps

READABLE = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin")
_NEEDED = {
    "checkpoint": "the file of a whole model, mostly .safetensors,",
    "adapter": "the file of an IP-Adapter, .safetensors or .bin,",
    "encoder": "the file of an image encoder, .safetensors, or its folder with config.json",
    "image": "a photo",
    "face": "the folder of a face pack, like buffalo_l,",
    "models": "a folder like ComfyUI's models",
}
_FOLDERS, _EITHER = ("face", "models"), ("encoder",)
_WEIGHTS = ("checkpoint", "adapter", "encoder")
_DEEP = "IF"  # modes of pictures with more than 8 bits a value begin so


def require(role: str, path: Path) -> None:
    """Refuse what cannot be that which an option stands for.

    Args:
        role: name of the option.

    Raises:
        CheckError: it is not there, of another sort, empty, or by its ending no file of weights.
    """
    found = _unfit(role, path)
    if not found and role in _WEIGHTS and path.is_file() and path.suffix.lower() not in READABLE:
        found = f"ends with none of {', '.join(READABLE)}, by which weights are read"
    if found:
        kind = "FOLDER" if role in _FOLDERS else "PATH" if role in _EITHER else "FILE"
        raise CheckError(f"{path} {found}: {_NEEDED[role]} is needed, as --{role} {kind}")


def _unfit(role: str, path: Path) -> str:
    """What it is instead, "" where nothing is wrong."""
    try:
        known = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "is a link to what is not there" if path.is_symlink() else "is not there"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if stat.S_ISDIR(known.st_mode):
        return "" if role in _FOLDERS + _EITHER else "is a folder"
    if not stat.S_ISREG(known.st_mode):
        return "is a pipe or a device"
    if role in _FOLDERS:
        return "is a file"
    if not known.st_size:
        return "is empty"
    return "" if os.access(path, os.R_OK) else "may not be read"


def read_picture(path: Path) -> Image.Image:
    """A picture in RGB, upright, as Load Image has it.

    Raises:
        CheckError: it is none, is not whole, or has values that 8 bits do not hold.
    """
    try:
        opened = ImageOps.exif_transpose(Image.open(path))
        opened.load()
    except Image.UnidentifiedImageError as error:
        raise CheckError(f"{path.name} is no picture: give a photo as --image FILE") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CheckError(
            f"{path.name} is no whole picture ({error}): give another photo as --image FILE"
        ) from error
    if opened.mode[0] in _DEEP:
        raise CheckError(
            f"{path.name} has more than 8 bits for a grey value (mode {opened.mode}), and 8 are "
            "needed: save it as a usual JPEG or PNG"
        )
    return opened.convert("RGB")


def has_transparency(path: Path) -> bool:
    """Whether colours of a picture are hidden, which Load Image and its like show all the same."""
    with Image.open(path) as opened:
        return opened.has_transparency_data


def require_writable(folder: Path) -> None:
    """Make the folder for the reports.

    Raises:
        CheckError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> CheckError:
    """The refusal of a folder for reports."""
    return CheckError(
        f"no report can be written into {folder} ({error.strerror}): a folder with room that may "
        "be written to is needed, as --out FOLDER"
    )
