"""The numbers are diffusers' numbers, and the adapter really changes the picture."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.models import tiny
from kit.models.tiny import Twins
from kit.unet import parse_blocks
from pack.ip_models.weights.gains import Weights
from pack.nodes.host.model.apply import Settings, apply

SINGLE, DOUBLE, EFFECT = 5e-6, 1e-12, 0.01


@cache
def twins(family: str, dtype: torch.dtype = torch.float32) -> Twins:
    return tiny.twins(family, dtype)


def check(
    twin: Twins,
    folder: Path,
    kinds: list[str],
    counts: list[int],
    scales: list[Any],
    batch: int = 1,
    tolerance: float = SINGLE,
) -> None:
    """Apply adapters one after the other and compare with diffusers' list of adapters."""
    call = tiny.make_call(twin, batch)
    model = twin.model
    tensors, features = [], []
    for i, (kind, count, scale) in enumerate(zip(kinds, counts, scales, strict=True)):
        tensors.append(tiny.kept_tensors(twin, kind, seed=10 + i))
        features.append(tiny.random_features(count, seed=20 + i, dtype=twin.dtype))
        adapter = tiny.load_tensors(folder, tensors[-1], f"adapter{i}")
        model = apply(model, adapter, features[-1], settings(scale))
    ours = tiny.run_comfy(model, call)
    plain = tiny.run_comfy(twin.model, call)
    reference = tiny.run_diffusers(twin, call, tensors, features, scales)
    assert tiny.relative(ours, plain) > EFFECT
    assert tiny.relative(ours, reference) < tolerance


def settings(scale: Any) -> Settings:
    """diffusers' scale, a number or a dict, as ours."""
    if not isinstance(scale, dict):
        return Settings(scale=scale)
    return Settings(weights=Weights(blocks=(parse_blocks(json.dumps(scale)),)))


BLOCK_DICT = {"down": {"block_1": 0.5}, "up": {"block_1": 0.8}, "mid": 0.3}


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_plain_models_agree_before_any_adapter(family: str) -> None:
    twin = twins(family)
    call = tiny.make_call(twin)
    reference = twin.unet(
        call.x, call.t, encoder_hidden_states=call.context, added_cond_kwargs=call.ids
    ).sample
    assert tiny.relative(tiny.run_comfy(twin.model, call), reference) < SINGLE


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("kind", ["standard", "plus", "full face"])
def test_one_adapter(family: str, kind: str, count: int, tmp_path: Path) -> None:
    check(twins(family), tmp_path, [kind], [count], [0.8])


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_two_adapters_with_scales_of_their_own(family: str, tmp_path: Path) -> None:
    check(twins(family), tmp_path, ["standard", "plus"], [3, 2], [0.7, -0.4])


@pytest.mark.parametrize("batch", [2, 4])
def test_batch_differs_from_number_of_references(batch: int, tmp_path: Path) -> None:
    check(twins("sd1"), tmp_path, ["plus"], [3], [1.0], batch)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_middle_block_alone(family: str, tmp_path: Path) -> None:
    check(twins(family), tmp_path, ["plus"], [1], [{"mid": 1.0}])


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_blocks_with_weights_of_their_own(family: str, tmp_path: Path) -> None:
    check(twins(family), tmp_path, ["standard"], [2], [BLOCK_DICT])


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("kind", ["standard", "plus", "full face"])
def test_double_precision(family: str, kind: str, tmp_path: Path) -> None:
    twin = twins(family, torch.float64)
    check(twin, tmp_path, [kind], [2], [0.8], tolerance=DOUBLE)


@pytest.mark.parametrize("size", [(16, 24), (18, 14)])
def test_odd_picture_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    twin = twins("sd1")
    call = tiny.make_call(twin, 1, *size)
    tensors, features = tiny.kept_tensors(twin, "plus"), tiny.random_features(1)
    model = apply(twin.model, tiny.load_tensors(tmp_path, tensors), features, Settings())
    ours = tiny.run_comfy(model, call)
    reference = tiny.run_diffusers(twin, call, [tensors], [features], 1.0)
    assert tiny.relative(ours, tiny.run_comfy(twin.model, call)) > EFFECT
    assert tiny.relative(ours, reference) < SINGLE


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("window", [(0.0, 1.0), (0.2, 0.6)])
def test_six_sampler_steps(family: str, window: tuple[float, float], tmp_path: Path) -> None:
    twin = twins(family)
    call = tiny.make_call(twin)
    tensors, features = tiny.kept_tensors(twin, "plus"), tiny.random_features(2)
    start, end = window
    adapter = tiny.load_tensors(tmp_path, tensors)
    model = apply(twin.model, adapter, features, Settings(0.8, start, end))
    ours, reference, plain = tiny.sample_both(twin, model, call, tensors, features, window)
    assert tiny.relative(ours, plain) > EFFECT
    assert tiny.relative(ours, reference) < 1e-5
