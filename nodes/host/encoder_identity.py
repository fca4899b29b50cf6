"""Which encoder this is: a fingerprint of the weights, whatever file or precision they came in."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

_SAMPLES, _BYTES = 64, 8

_known: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def fingerprint(clip_vision: Any) -> str:
    """16 hexadecimal digits, the same for one file loaded in single and in half precision.

    Some values of each tensor are read, once for each encoder; a finetune changes them all. It is
    empty for an object that keeps its weights to itself.
    """
    model = getattr(clip_vision, "model", None)
    if not isinstance(model, torch.nn.Module):
        return ""
    if model not in _known:
        _known[model] = _digest(model)
    return _known[model]


def _digest(model: torch.nn.Module) -> str:
    digest = blake2b(digest_size=_BYTES)
    for name, tensor in sorted(model.state_dict().items()):
        if tensor.is_floating_point():  # counters beside the weights depend on the class
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(_sample(tensor).numpy().tobytes())
    return digest.hexdigest()


def _sample(tensor: Tensor) -> Tensor:
    """Evenly strided values, rounded to half precision where that is all a file may hold."""
    step = max(1, -(-tensor.numel() // _SAMPLES))
    return tensor.detach().reshape(-1)[::step].cpu().to(torch.float16)
