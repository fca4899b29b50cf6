"""What features are known by: their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from hashlib import blake2b

import torch
from torch import Tensor

_BYTES = 16


def digest(*tensors: Tensor) -> bytes:
    """16 bytes, the same for the same numbers in the same shapes and types."""
    made = blake2b(digest_size=_BYTES)
    for tensor in tensors:
        made.update(f"{tuple(tensor.shape)} {tensor.dtype}\n".encode())
        plain = tensor.detach().cpu().contiguous().flatten()
        made.update(plain.view(torch.uint8).numpy())  # pyright: ignore[reportArgumentType]
    return made.digest()


def tensors_of(value: object) -> list[Tensor]:
    """All tensors in features, in a region or in several, in the order of their fields."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple):
        parts: Iterable[object] = value
    elif is_dataclass(value):
        parts = (getattr(value, field.name) for field in fields(value))
    else:
        return []
    return [tensor for part in parts for tensor in tensors_of(part)]
