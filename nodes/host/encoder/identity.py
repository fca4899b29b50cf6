"""Which encoder this is: by its weights, whatever file they came in, and as an object in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ....ip_models.adapter.encoders import SIGLIP_HEAD

_SAMPLES, _BYTES = 256, 8
# Powers of 1 / 1.3247..., whose multiples fill a plane evenly.
_SCATTER = torch.tensor([0.5698402909980532, 0.7548776662466927], dtype=torch.float64)
_COMPARABLE = (torch.float16, torch.float32, torch.float64)


@dataclass(eq=False)
class State:
    """What is known of a model as its weights are now; another object for any other weights."""

    versions: tuple[int, ...]
    fingerprint: str | None = None


_states: WeakKeyDictionary[torch.nn.Module, State] = WeakKeyDictionary()


def state_of(model: torch.nn.Module) -> State:
    """Another one after weights were written to, as far as torch counts that.

    It does not for tensors made in inference mode, as the host's loaders make them.
    """
    versions = tuple(
        -1 if tensor.is_inference() else tensor._version
        for tensor in chain(model.parameters(), model.buffers())
    )
    state = _states.get(model)
    if state is None or state.versions != versions:
        state = _states[model] = State(versions)
    return state


def is_patched(clip_vision: Any) -> bool:
    """Whether others have changed it by the host's means."""
    patcher = getattr(clip_vision, "patcher", None)
    changes = ("patches", "object_patches", "injections", "weight_wrapper_patches")
    return any(getattr(patcher, change, None) for change in changes)


def fingerprint(clip_vision: Any) -> str:
    """16 hexadecimal digits, the same for one file loaded in single and in half precision.

    Some values of each tensor are read, once for each encoder. It is empty where it could not be
    compared: for an object that keeps its weights to itself, for a patched encoder, and for weights
    that were rounded more coarsely than to half precision.
    """
    model = getattr(clip_vision, "model", None)
    if not isinstance(model, torch.nn.Module) or is_patched(clip_vision):
        return ""
    state = state_of(model)
    if state.fingerprint is None:
        state.fingerprint = _digest(model)
    return state.fingerprint


def _digest(model: torch.nn.Module) -> str:
    digest, coarse = blake2b(digest_size=_BYTES), True
    for name, tensor in sorted(model.state_dict().items()):
        # Counters beside the weights depend on the class, and the host's own loader has no head.
        if not tensor.is_floating_point() or name.startswith(SIGLIP_HEAD):
            continue
        if tensor.dtype not in _COMPARABLE:
            return ""
        sample = _sample(tensor)
        # The host may have put the weights of a bfloat16 file into half precision.
        coarse = coarse and torch.equal(sample.to(torch.bfloat16).float(), sample.float())
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(sample.numpy().tobytes())
    return "" if coarse else digest.hexdigest()


def _sample(tensor: Tensor) -> Tensor:
    """Scattered values, rounded to half precision where that is all a file may hold."""
    flat = tensor.detach().reshape(-1)
    return flat[_places(tensor.shape).to(flat.device)].cpu().to(torch.float16)


def _places(shape: Sequence[int]) -> Tensor:
    """All of them in a small tensor, else some in all parts of its rows and columns."""
    length = prod(shape)
    if length <= _SAMPLES:
        return torch.arange(length)
    down, across = shape[0], length // shape[0]
    rows, columns = (torch.arange(_SAMPLES).double()[:, None] * _SCATTER % 1).T
    return (rows * down).long() * across + (columns * across).long()
