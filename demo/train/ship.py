"""Writes what is shipped from what was trained, and says so in the log."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import load_file
from toys import stored

from . import source

FILES = ("base", "vae", "encoder", "adapter_standard", "adapter_plus")
JUDGE = "judge"  # which is shipped as it was trained, because it measures the others

_SAID = "shipped"


def ship(state: Path, parts: Iterable[str], weights: Path) -> None:
    """Write the weights of parts that the code of today has trained, in fewer bits."""
    unfinished = [part for part in parts if not is_done(state, part)]
    if unfinished:
        raise SystemExit(
            f"not trained to the end by the code there is: {', '.join(unfinished)}. "
            "Train them with `python -m train all`, then they can be shipped."
        )
    weights.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        tensors = load_file(state / "made" / f"{name}.safetensors")
        stored().write(tensors, weights / f"{name}.safetensors", {"code": source.digest()})
    shutil.copyfile(state / "made" / f"{JUDGE}.safetensors", weights / f"{JUDGE}.safetensors")
    lines = [line_of(weights / f"{name}.safetensors") for name in (*FILES, JUDGE)]
    log = state / "log.txt"
    before = [line for line in log.read_text("utf-8").splitlines() if line[: len(_SAID)] != _SAID]
    log.write_text("\n".join([*before, *lines]) + "\n", "utf-8")


def line_of(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return f"{_SAID} {path.name:29} {path.stat().st_size:9} bytes  {digest}"


def mark_done(state: Path, part: str) -> None:
    (state / f"{part}.done").write_text(source.digest(), "utf-8")


def is_done(state: Path, part: str) -> bool:
    mark = state / f"{part}.done"
    return mark.is_file() and mark.read_text("utf-8") == source.digest()
