"""What has to be as it was when something has failed: files, handles, threads, models, switches."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import comfy.model_management
import torch

_HANDLES = Path("/proc/self/fd")
_SMALL = 2**20
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
)
_ON_A_MODEL = (
    *("model_options", "patches", "object_patches", "object_patches_backup", "attachments"),
    *("callbacks", "wrappers", "additional_models", "injections", "hook_patches", "hook_backup"),
)
_PLAIN = (bool, int, float, str, type(None))
# The pack's name in the tests, see conftest.
_OURS = "pack."


def files(root: Path) -> dict[str, object]:
    """All files below a folder: which ones they are, and of small ones every byte."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            known = path.stat()
            content = path.read_bytes() if known.st_size < _SMALL else known.st_mtime_ns
            found[str(path.relative_to(root))] = (known.st_size, content)
    return found


def handles() -> dict[str, str]:
    """What is open, where the system says it."""
    if not _HANDLES.is_dir():
        return {}
    found: dict[str, str] = {}
    for name in os.listdir(_HANDLES):
        try:
            found[name] = os.readlink(_HANDLES / name)
        except OSError:  # the one that lists them
            continue
    return found


def switches() -> dict[str, object]:
    """What is set for the whole process."""
    cudnn = torch.backends.cudnn
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "autocast": torch.is_autocast_cache_enabled(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "type": torch.get_default_dtype(),
        "cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
        "interrupted": comfy.model_management.processing_interrupted(),
    }


def model(patcher: Any) -> dict[str, object]:
    """What is put on a MODEL or on an encoder's patcher, its network aside."""
    held = vars(patcher)
    return {name: outline(held.get(name)) for name in _ON_A_MODEL}


def network(module: torch.nn.Module) -> Iterator[tuple[str, object]]:
    """What is set on a network's parts by itself, and what of ours is among it."""
    for name, part in module.named_modules():
        for key, value in vars(part).items():
            place = f"{name}.{key}"
            if key in _HOOKS:
                yield place, len(value or ())
            elif isinstance(value, (float, str)) or key in ("forward", "image_size"):
                yield place, value if isinstance(value, _PLAIN) else id(value)
            elif type(value).__module__.startswith(_OURS):
                yield place, type(value).__qualname__
        for key, value in part.named_children():
            if type(value).__module__.startswith(_OURS):
                yield f"{name}.{key}", type(value).__qualname__


def outline(value: Any, depth: int = 0) -> object:
    """Tables and lists as they are, all else by which object it is."""
    if isinstance(value, _PLAIN):
        return value
    if depth < 12 and isinstance(value, Mapping):
        return {str(key): outline(one, depth + 1) for key, one in value.items()}
    if depth < 12 and isinstance(value, (list, tuple)):
        return [outline(one, depth + 1) for one in value]
    return f"{type(value).__qualname__} {id(value):x}"


def alike(one: Any, other: Any) -> bool:
    """Whether two results are the same but for rounding."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.shape == other.shape and one.dtype == other.dtype
        return same and torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-5)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if all(isinstance(part, list | tuple) for part in (one, other)):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other


def bits(value: Any) -> object:
    """Something to compare results by, to the last bit."""
    if isinstance(value, torch.Tensor):
        whole = value.detach().contiguous().flatten().view(torch.uint8)
        return tuple(value.shape), str(value.dtype), sha256(whole.numpy().data).digest()
    if isinstance(value, Mapping):
        return {str(key): bits(one) for key, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [bits(one) for one in value]
    return value
