"""What is asked: which files, at which size, in which precision."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from check.problem import CheckError

PRECISIONS = ("auto", "fp32", "fp16", "bf16")
PROMPT = "a photo of a wooden boat on a lake in the mountains, morning light"
NEGATIVE = "blurry, low quality"
_MOST_STEPS, _MOST_SIDE, _GRID = 100, 2048, 64


@dataclass(frozen=True)
class Question:
    """One checkpoint, one adapter and what they are asked to paint.

    Attributes:
        encoder: a file, or the folder of a model from Hugging Face; None to have it found.
        image: of the reference; None for the one that comes with the pack.
        face: the folder of a face pack.
        size: side of the picture, 0 for what the model was trained with (less on a CPU).
        steps: 0 for ten, four on a CPU.
        cfg: 0 for what is usual with the family.
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
    size: int = 0
    steps: int = 0
    cfg: float = 0.0
    seed: int = 1

    @property
    def own_prompt(self) -> bool:
        """Whether the words are the user's, which a report does not pass on."""
        return (self.prompt, self.negative) != (PROMPT, NEGATIVE)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """All options; those of one pair are checked by `asked`."""
    made = argparse.ArgumentParser(
        prog="dev.py check",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--checkpoint", type=Path, help="file of an SD1.5, SDXL, Flux or SD3.5 model")
    add("--adapter", type=Path, help="file of an IP-Adapter for it")
    add("--encoder", type=Path, help="its image encoder, a file or folder (found if left out)")
    add("--image", type=Path, help="the reference (one that comes with the pack if left out)")
    add("--face", type=Path, help="folder of a face pack or a file in it, for FaceID")
    add("--all", action="store_true", help="every pair that Doctor finds on this machine")
    add("--models", type=Path, help="a models folder beside ComfyUI's own")
    add("--only-models", action="store_true", help="and none of ComfyUI's own, with --models")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    add("--precision", choices=PRECISIONS, default="auto", help="beside fp32; auto is ComfyUI's")
    add("--without-fp32", action="store_true", help="the chosen precision alone")
    add("--prompt", default=PROMPT)
    add("--negative", default=NEGATIVE)
    add("--scale", type=float, default=1.0)
    add("--size", type=int, default=0, help="side of the picture in pixels")
    add("--steps", type=int, default=0)
    add("--cfg", type=float, default=0.0)
    add("--seed", type=int, default=1)
    add("--from", dest="origin", type=Path, help=argparse.SUPPRESS)
    add("--out", type=Path, default=Path("ipadapter-check"), help="folder for the reports")
    return made


def asked(options: argparse.Namespace) -> Question:
    """The pair, once it is sure that all files are there.

    Raises:
        CheckError: a file is missing or a number is out of range.
    """
    for role in ("checkpoint", "adapter"):
        if getattr(options, role) is None:
            raise CheckError(
                f"no {role} was given: a check needs --checkpoint FILE and --adapter FILE; "
                "--all finds them by itself"
            )
    for role in ("checkpoint", "adapter", "image"):
        _require(role, getattr(options, role), os.path.isfile, "a file")
    _require("encoder", options.encoder, os.path.exists, "a file or a folder")
    if options.face is not None and options.face.suffix.lower() == ".onnx":
        options.face = options.face.absolute().parent  # a file of the pack means the pack
    _require("face", options.face, os.path.isdir, "the folder of a face pack")
    _require_numbers(options)
    given = {name: getattr(options, name) for name in Question.__dataclass_fields__}
    # Links are not followed: what they lead to may have no name that says what it is.
    return Question(**{k: v.absolute() if isinstance(v, Path) else v for k, v in given.items()})


def _require(role: str, path: Path | None, there: Callable[[Path], bool], what: str) -> None:
    if path is not None and not there(path):
        raise CheckError(f"{path} is not there or is not {what}: give the {role} as --{role} PATH")


def _require_numbers(options: argparse.Namespace) -> None:
    size, steps = options.size, options.steps
    if size and not (_GRID <= size <= _MOST_SIDE and size % _GRID == 0):
        raise CheckError(
            f"--size {size} cannot be painted: a multiple of {_GRID} up to {_MOST_SIDE} is needed"
        )
    if not 0 <= steps <= _MOST_STEPS:
        raise CheckError(f"--steps {steps} is out of range: 1 to {_MOST_STEPS} are needed")
    if options.scale == 0:
        raise CheckError("--scale 0 leaves the adapter out: give another one, 1 is usual")
