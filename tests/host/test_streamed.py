"""Adapters whose weights stay in the file: the same keys and values, and never much of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kit.models import checkpoints, tiny
from pack.ip_models.attention.keyvalue import KeyValues
from pack.ip_models.references.features import Features
from pack.nodes.host.files import adapter_file
from pack.nodes.host.model import streamed
from pack.nodes.host.model.adapter import LoadedAdapter, load, of_stored

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
CONTAINERS = {"flat": "a.safetensors", "flat bin": "a.bin", "raw bin": "a.bin"}
WIDTHS, CONTEXT = [160] * 16, 768


def written(folder: Path, kind: str, container: str, dtype: torch.dtype) -> str:
    width = tiny.POOLED_WIDTH if kind == "standard" else tiny.ENCODER_WIDTH
    tensors = checkpoints.tiny_adapter(kind, WIDTHS, CONTEXT, width, 4, dtype=dtype, seed=3)
    return str(checkpoints.write(folder / CONTAINERS[container], tensors, container))


def from_file(path: str) -> LoadedAdapter:
    weights = adapter_file.stored_weights(path)
    assert weights is not None
    return of_stored(weights, Path(path).name)


def references(kind: str, count: int = 2) -> Features:
    return tiny.random_faces(count) if "FaceID" in kind else tiny.random_features(count)


def require_close(one: KeyValues, other: KeyValues) -> None:
    for mine, theirs in ((one.cond, other.cond), (one.uncond, other.uncond)):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        assert tiny.relative(mine, theirs) < 1e-7


@pytest.mark.parametrize("values", [2**22, 2**17, 1])
@pytest.mark.parametrize("kind", ["standard", "FaceID"])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_same_keys_and_values_as_from_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    container: str,
    kind: str,
    values: int,
) -> None:
    monkeypatch.setattr(streamed, "_MOST_VALUES", values)
    path, features = written(tmp_path, kind, container, dtype), references(kind)
    require_close(from_file(path).key_values(features), load(path).key_values(features))
