"""Whether tensors that were handed out are those that the file holds."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from .corpus import corpus

# Made in memory: rows of zeros that stand for nothing, numbers of positions.
_FEW = 2


def marks(tensors: Iterable[Tensor]) -> set[str]:
    """Type and contents of tensors; what is one value again and again could be from anywhere."""
    return {mark(one) for one in tensors if _says_much(one)}


def _says_much(tensor: Tensor) -> bool:
    if tensor.is_meta or tensor.numel() < _FEW or not tensor.is_floating_point():
        return False
    values = tensor.float()
    return not bool(torch.all(values == values.flatten()[0]))


def mark(tensor: Tensor) -> str:
    """Type and contents."""
    values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"{kind} {hashlib.blake2b(values.data, digest_size=8).hexdigest()}"


def tensors_in(held: Any, depth: int = 0) -> Iterator[Tensor]:
    """All tensors of tables, lists and objects of ours."""
    if isinstance(held, Tensor):
        yield held
    elif depth > 40:
        return
    elif isinstance(held, Mapping):
        for one in list(held.values()):
            yield from tensors_in(one, depth + 1)
    elif isinstance(held, list | tuple):
        for one in held:
            yield from tensors_in(one, depth + 1)
    elif hasattr(held, "__dataclass_fields__"):
        own = [getattr(held, name) for name in held.__dataclass_fields__]
        yield from tensors_in(own, depth + 1)


def strangers(served: Mapping[str, set[str]], label: str, place: Path) -> list[str]:
    """Who handed out tensors that are neither in the files nor in those they were made of.

    Args:
        label: of the whole model.
        place: folder of the files.
    """
    kinds = frozenset(one.split()[0] for found in served.values() for one in found)
    known = _of_whole(label, kinds) if kinds else set[str]()
    left = {who: found - known for who, found in served.items() if found - known}
    if left:
        files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
        known = {mark for path in files for mark in _held(path.read_bytes(), kinds)}
    return [who for who, found in left.items() if found - known]


@cache
def _of_whole(label: str, kinds: frozenset[str]) -> set[str]:
    return {mark for data in corpus()[label].files.values() for mark in _held(data, kinds)}


def _held(data: bytes, kinds: Iterable[str]) -> set[str]:
    """The marks of the tensors in a file, in each of the types they may be handed out in."""
    found: set[str] = set()
    for tensor in _read(data):
        rows = [tensor, *(tensor.unbind(0) if tensor.ndim and len(tensor) < 9 else ())]
        rows += [tensor[len(tensor) // 2 :], tensor[: len(tensor) // 2]] if tensor.ndim else []
        for kind in kinds:
            found |= marks(one.to(getattr(torch, kind)) for one in rows if one.is_floating_point())
    return found


def _read(data: bytes) -> list[Tensor]:
    """By the readers of safetensors and torch, which are not ours."""
    try:
        if data[8:9] == b"{":
            held: Any = safetensors.torch.load(data)
            return [*held.values(), *_numbers(data)]
        return list(tensors_in(torch.load(io.BytesIO(data), weights_only=True)))
    except Exception:  # noqa: BLE001 (they raise whatever their parts raise)
        return []


def _numbers(data: bytes) -> list[Tensor]:
    """Rows that a file of embeds holds as numbers in its text."""
    size = int.from_bytes(data[:8], "little")
    notes = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    found: list[Tensor] = []
    for text in notes.values():
        plan = json.loads(text) if text.startswith("{") else {}
        rows = [part.get("black_pooled") for part in plan.get("parts", [])]
        found += [torch.tensor(row) for row in rows if row]
    return found
