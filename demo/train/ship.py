"""Writes what is shipped from what was trained."""

from __future__ import annotations

import shutil
from pathlib import Path


def ship(made: Path, weights: Path) -> None:
    weights.mkdir(parents=True, exist_ok=True)
    for path in made.glob("*.safetensors"):
        shutil.copyfile(path, weights / path.name)
