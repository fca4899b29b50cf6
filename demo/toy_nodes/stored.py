"""How the weights of the toy models lie on disk: small whole numbers, and a step for each row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

LEVELS = 31  # on each side of zero: six bits, which git and zip pack to less than five
_STEP = ".step"


def read(path: Path) -> dict[str, Tensor]:
    """For computing: too small to be worth doing it in half precision."""
    return {key: tensor.float() for key, tensor in read_half(path).items()}


def read_half(path: Path) -> dict[str, Tensor]:
    """As files of published models have them."""
    kept = load_file(path)
    return {
        key: _row_by_row(tensor, kept[key + _STEP]) if tensor.dtype == torch.int8 else tensor
        for key, tensor in kept.items()
        if not key.endswith(_STEP)
    }


def expand(path: Path, target: Path) -> None:
    """Write a file that any pack reads."""
    save_file(read_half(path), target)


def write(tensors: Mapping[str, Tensor], path: Path, about: dict[str, str]) -> None:
    """Round matrices to steps of their rows, and leave the rest in half precision."""
    kept: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        kept[key] = tensor.half().contiguous()
        if tensor.ndim > 1:
            rows = tensor.float().flatten(1)
            step = (rows.abs().amax(1) / LEVELS).clamp_min(1e-7).half()
            whole = (rows / step.float()[:, None]).round().clamp(-LEVELS, LEVELS)
            kept[key] = whole.to(torch.int8).reshape(tensor.shape)
            kept[key + _STEP] = step
    save_file(kept, path, about)


def _row_by_row(whole: Tensor, step: Tensor) -> Tensor:
    return (whole.flatten(1).float() * step.float()[:, None]).half().reshape(whole.shape)
