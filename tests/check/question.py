"""What is asked: which files, at which size, in which precision."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from check import given
from check.problem import CheckError

PRECISIONS = ("auto", "fp32", "fp16", "bf16")
PROMPT = "a photo of a wooden boat on a lake in the mountains, morning light"
NEGATIVE = "blurry, low quality"
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")
_MOST_SIDE, _GRID = 2048, 64
# What Apply takes, what samplers make sense of, what torch takes.
_RANGES = {"steps": (1, 100), "cfg": (0.1, 100), "scale": (-5, 5), "seed": (-(2**63), 2**64 - 1)}


@dataclass(frozen=True)
class Question:
    """One checkpoint, one adapter and what they are asked to paint.

    Attributes:
        encoder: a file, or the folder of a model from Hugging Face; None to have it found.
        image: of the reference; None for the one that comes with the pack.
        face: the folder of a face pack.
        size: side of the picture, None for what the model was trained with (less on a CPU).
        steps: None for ten, four on a CPU.
        cfg: None for what is usual with the family.
    """

    checkpoint: Path
    adapter: Path
    encoder: Path | None = None
    image: Path | None = None
    face: Path | None = None
    precision: str = "auto"
    without_fp32: bool = False
    prompt: str = PROMPT
    negative: str = NEGATIVE
    scale: float = 1.0
    size: int | None = None
    steps: int | None = None
    cfg: float | None = None
    seed: int = 1

    @property
    def own_prompt(self) -> bool:
        """Whether the words are the user's, which a report does not pass on."""
        return (self.prompt, self.negative) != (PROMPT, NEGATIVE)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in a sentence, and not all options before it."""

    def error(self, message: str) -> NoReturn:
        """See `ArgumentParser.error`.

        Raises:
            CheckError: always.
        """
        raise CheckError(f"{message}: `python dev.py check --help` lists what is there")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """All options; what is given with them is checked by `asked`."""
    made = _Parser(
        prog="dev.py check",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--checkpoint", type=_path, help="file of an SD1.5, SDXL, Flux or SD3.5 model")
    add("--adapter", type=_path, help="file of an IP-Adapter for it")
    add("--encoder", type=_path, help="its image encoder, a file or folder (found if left out)")
    add("--image", type=_path, help="the reference (one that comes with the pack if left out)")
    add("--face", type=_path, help="folder of a face pack or a file in it, for FaceID")
    add(
        "--all",
        action="store_true",
        help="every pair that Doctor finds on this machine; with --checkpoint, --adapter or "
        "--encoder only the pairs with that one, be it in a models folder or not, while --face "
        "and --image are for those that hear a face or a picture",
    )
    add("--models", type=_path, help="a models folder beside ComfyUI's own")
    add("--only-models", action="store_true", help="and none of ComfyUI's own, with --models")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    add("--precision", choices=PRECISIONS, default="auto", help="beside fp32; auto is ComfyUI's")
    add("--without-fp32", action="store_true", help="the chosen precision alone")
    add("--prompt", default=PROMPT)
    add("--negative", default=NEGATIVE)
    add("--scale", type=float, default=1.0, help="of the adapter, -5 to 5 (1)")
    add("--size", type=int, help=f"side of the picture in pixels, {_GRID} to {_MOST_SIDE}")
    add("--steps", type=int, help="1 to 100 (10, on a CPU 4)")
    add("--cfg", type=float, help="0.1 to 100 (what is usual with such a model)")
    add("--seed", type=int, default=1)
    add("--from", dest="origin", type=Path, help=argparse.SUPPRESS)
    add("--out", type=_path, default=Path("ipadapter-check"), help="folder for the reports")
    return made


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))


def asked(options: argparse.Namespace) -> Question | None:
    """The pair, once it is sure that all files are there; None for --all.

    Raises:
        CheckError: a file is missing, or none of its kind, or a number is out of range.
    """
    if (
        options.face is not None
        and options.face.suffix.lower() == ".onnx"
        and options.face.is_file()
    ):
        options.face = options.face.absolute().parent  # a file of the pack means the pack
    for role in ("models", "checkpoint", "adapter", "encoder", "face", "image"):
        path = getattr(options, role)
        if path is not None:
            given.require(role, path)
            # Links are not followed: what they lead to may have no name that says what it is.
            setattr(options, role, path.absolute())
    _require_values(options)
    if options.all:
        return None
    for role in ("checkpoint", "adapter"):
        if getattr(options, role) is None:
            raise CheckError(
                f"no {role} was given: a check needs --checkpoint FILE and --adapter FILE; "
                "--all finds them by itself"
            )
    return Question(**{name: getattr(options, name) for name in Question.__dataclass_fields__})


def _require_values(options: argparse.Namespace) -> None:
    if options.only_models and options.models is None:
        raise CheckError("--only-models leaves no folder with models: give one as --models FOLDER")
    if not _DEVICE.fullmatch(options.device):
        raise no_device(options.device)
    for name, (least, most) in _RANGES.items():
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            raise CheckError(f"--{name} {value} is out of range: {least} to {most} are needed")
    size = options.size
    if size is not None and not (_GRID <= size <= _MOST_SIDE and size % _GRID == 0):
        raise CheckError(
            f"--size {size} cannot be painted: a multiple of {_GRID} up to {_MOST_SIDE} is needed"
        )
    if options.scale == 0:
        raise CheckError("--scale 0 leaves the adapter out: give another one, 1 is usual")
    if options.image is not None:
        given.read_picture(options.image)


def no_device(name: str) -> CheckError:
    """The refusal of a device that is not here."""
    return CheckError(
        f"--device {name} is not here: auto, cpu or, with a card and a torch for it, cuda or "
        "cuda:1 are needed"
    )
