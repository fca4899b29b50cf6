"""Which part of the picture hears the reference, on the grid of each layer."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import BadInput


class RegionMask:
    """One mask, reduced once for each grid on which a layer attends.

    Args:
        mask: (height, width) or (1, height, width), 0 for silent, 1 for heard, greys kept.

    Raises:
        BadInput: the mask is of another rank, empty or not finite.
    """

    def __init__(self, mask: Tensor) -> None:
        self._mask = _checked(mask)
        self._on_grid: dict[tuple[int, int, torch.device, torch.dtype], Tensor] = {}

    def on(self, height: int, width: int, like: Tensor) -> Tensor:
        """(1, height * width, 1), averaged over the area of each cell."""
        key = (height, width, like.device, like.dtype)
        if key not in self._on_grid:
            resized = torch.nn.functional.interpolate(
                self._mask[None], size=(height, width), mode="area"
            )
            self._on_grid[key] = resized.flatten().view(1, -1, 1).to(like)
        return self._on_grid[key]

    def release(self) -> None:
        """Drop what was prepared for the last run."""
        self._on_grid.clear()


def _checked(mask: Tensor) -> Tensor:
    plane = mask[None] if mask.ndim == 2 else mask
    if plane.ndim != 3 or len(plane) != 1:
        raise BadInput(
            f"attn_mask has shape {tuple(mask.shape)}",
            "one mask of shape (height, width) or (1, height, width) is needed",
            "Connect a single MASK",
        )
    if plane.numel() == 0 or not bool(torch.isfinite(plane).all()):
        raise BadInput(
            f"attn_mask of shape {tuple(mask.shape)} is empty or holds values that are not finite",
            "a mask needs numbers from 0 to 1",
            "Connect another MASK",
        )
    return plane.float()
