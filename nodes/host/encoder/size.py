"""An encoder at another input size than its own: the 448 px finetunes.

The position table is interpolated as torchvision's `interpolate_embeddings` does, with which the
finetune for NoobAI was trained (transformers' `interpolate_pos_encoding` aligns the corners
otherwise).
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ....ip_models.errors import Action, BadInput, Mend

MOST_SIZE = 1024


class _Table(torch.nn.Module):
    """Stands where a position table was.

    ComfyUI reads `weight`, transformers calls the module with the positions in their order. Both
    add it to single precision, that of the pixels.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, positions: Tensor) -> Tensor:
        return self.weight.to(positions.device)[None]


@contextmanager
def at_size(clip_vision: Any, size: int) -> Generator[Any]:
    """The encoder for inputs of `size` pixels, 0 for its own; what came in is as before afterwards.

    Raises:
        BadInput: the size is not one of the encoder's, or its table is not known.
    """
    if size in (0, int(clip_vision.image_size)):
        yield clip_vision
        return
    embeddings = _embeddings_of(clip_vision)
    patch = _patch_size(embeddings)
    _require_multiple(size, patch)
    table = embeddings.position_embedding.weight.detach()
    grown = interpolate(table, int(clip_vision.image_size) // patch, size // patch)
    parts: dict[str, Any] = {"position_embedding": _Table(grown)}
    if hasattr(embeddings, "image_size"):  # transformers compares
        parts["image_size"] = size
    other = copy_of(clip_vision)
    other.image_size = size
    with _while_it_runs(clip_vision.model, embeddings, parts):
        yield other


def copy_of(clip_vision: Any) -> Any:
    """Another object for the same network, whose size and colours may be set."""
    other = copy.copy(clip_vision)
    vars(other).pop("encode_image", None)  # another pack's wrapper knows the original
    return other


@contextmanager
def _while_it_runs(model: torch.nn.Module, place: Any, parts: Mapping[str, Any]) -> Generator[None]:
    """Put parts in for each run of the model and take them out after it.

    Not for longer, as a patch of the host's would be: whenever the host loads, moves or saves the
    weights it finds all of them in place, and it may put some back where they were.
    """
    own: dict[str, Any] = {}

    def put(*_: Any) -> None:
        own.update({name: getattr(place, name) for name in parts})
        for name, part in parts.items():
            setattr(place, name, part)

    def take_out(*_: Any) -> None:
        while own:
            setattr(place, *own.popitem())

    hooks = [
        model.register_forward_pre_hook(put),
        model.register_forward_hook(take_out, always_call=True),
    ]
    try:
        yield
    finally:
        take_out()
        for hook in hooks:
            hook.remove()


def interpolate(table: Tensor, grid: int, wanted: int) -> Tensor:
    """(extra + grid², width) -> (extra + wanted², width) in single precision, on the CPU."""
    rows = table.float().cpu()
    extra = len(rows) - grid**2
    picture = rows[extra:].T.reshape(1, -1, grid, grid)
    grown = torch.nn.functional.interpolate(
        picture, size=(wanted, wanted), mode="bicubic", align_corners=True
    )
    return torch.cat([rows[:extra], grown.reshape(rows.shape[1], -1).T])


def _embeddings_of(clip_vision: Any) -> Any:
    vision = getattr(getattr(clip_vision, "model", None), "vision_model", None)
    embeddings = getattr(vision, "embeddings", None)
    table = getattr(getattr(embeddings, "position_embedding", None), "weight", None)
    patch = _patch_size(embeddings)
    if isinstance(table, Tensor) and patch:
        grid = int(clip_vision.image_size) // patch
        if grid and len(table) - grid**2 in (0, 1):
            return embeddings
    raise BadInput(
        "encoder_size is set and this encoder has no position table that could be enlarged",
        "encoders of CLIP and SigLIP have one",
        Action("Set encoder_size to 0, for the encoder's own", Mend("encoder_size", 0)),
    )


def _patch_size(embeddings: Any) -> int:
    kernel = getattr(getattr(embeddings, "patch_embedding", None), "kernel_size", (0,))
    return int(kernel[0])


def _require_multiple(size: int, patch: int) -> None:
    if size % patch == 0:
        return
    below, above = size // patch * patch, (size // patch + 1) * patch
    good = [good for good in (below, above) if 0 < good <= MOST_SIZE]
    nearest = min(good, key=lambda one: abs(one - size))
    raise BadInput(
        f"encoder_size is {size} and this encoder reads patches of {patch} x {patch} pixels",
        f"a multiple of {patch} is needed, e.g. {' or '.join(map(str, good))}",
        Action(f"Set encoder_size to {nearest}", Mend("encoder_size", nearest)),
    )
