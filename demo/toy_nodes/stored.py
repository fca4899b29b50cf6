"""How the weights of the toy models lie on disk."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor


def read(path: Path) -> dict[str, Tensor]:
    """Kept in half precision to be small; too small to be worth computing in it."""
    return {key: tensor.float() for key, tensor in load_file(path).items()}
