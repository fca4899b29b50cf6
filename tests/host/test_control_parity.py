"""Block weights, masks and regions give diffusers' numbers, and each of them has an effect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from kit.models import tiny
from kit.models.tiny import Twins
from kit.unet import parse_blocks, preset
from pack.ip_models.attention.masks import MaskRule
from pack.ip_models.references.features import ImageFeatures, Region, Regions
from pack.ip_models.weights.gains import Weights
from pack.nodes.host.model.apply import Settings, apply
from PIL import Image
from torch import Tensor

SINGLE, DOUBLE, EFFECT = 5e-6, 1e-12, 0.01
STYLE = {"up": {"block_0": [0, 1, 0]}}
LAYOUT = {"down": {"block_2": [0, 1]}}


@cache
def twins(family: str, dtype: torch.dtype = torch.float32) -> Twins:
    return tiny.twins(family, dtype)


def one_by_one(features: ImageFeatures) -> list[ImageFeatures]:
    """Several references as embeds of one reference each."""
    pooled = features.pooled
    assert pooled is not None
    return [
        ImageFeatures(
            pooled[i : i + 1],
            features.penultimate[i : i + 1],
            features.negative_pooled,
            features.negative_penultimate,
            features.source,
        )
        for i in range(features.count)
    ]


def picture(height: int, width: int, seed: int) -> Tensor:
    """A soft mask with a shape in it, (height, width)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[
        0, 0
    ].clamp(0, 1)


def as_diffusers(masks: Sequence[Tensor], **size: int) -> Tensor:
    """What diffusers' own processor makes of them, (1, images, height, width)."""
    pictures = [Image.fromarray(np.round(mask.numpy() * 255).astype(np.uint8)) for mask in masks]
    return IPAdapterMaskProcessor().preprocess(pictures, **size).transpose(0, 1)


def weights(scale: Any) -> Weights:
    return Weights(blocks=(parse_blocks(json.dumps(scale)),))


def compare(
    twin: Twins, ours: Tensor, reference: Tensor, others: Sequence[Tensor], tolerance: float
) -> None:
    """Equal to the reference, and different from everything it could be confused with."""
    for other in others:
        assert tiny.relative(ours, other) > EFFECT
    assert tiny.relative(ours, reference) < tolerance


DICTS: list[tuple[str, Any]] = [
    ("sdxl", STYLE),
    ("sdxl", LAYOUT),
    ("sdxl", STYLE | LAYOUT),
    ("sdxl", {"down": 0.4, "mid": [0.7], "up": {"block_1": [0.3, 0.0, -1.0]}}),
    ("sdxl", {"down": {"block_1": [0.5]}, "up": 1}),
    ("sd1", {"up": {"block_1": [0.2, 0.9, 0.0], "block_3": 0.4}}),
    ("sd1", {"down": {"block_0": [1, 0.5], "block_2": 0.8}, "mid": 1.2}),
    ("sd1", {"down": 1.0}),
    ("sd1", {"mid": 1.0}),
    ("sd1", {"up": [0.1, 0.5, 1.0]}),
]


@pytest.mark.parametrize(("family", "scale"), DICTS, ids=str)
def test_dicts_of_blocks(family: str, scale: Any, tmp_path: Path) -> None:
    twin = twins(family)
    call = tiny.make_call(twin)
    tensors, features = tiny.kept_tensors(twin, "standard"), tiny.random_features(2)
    adapter = tiny.load_tensors(tmp_path, tensors)
    ours = tiny.run_comfy(
        apply(twin.model, adapter, features, Settings(weights=weights(scale))), call
    )
    reference = tiny.run_diffusers(twin, call, [tensors], [features], scale)
    everywhere = tiny.run_comfy(apply(twin.model, adapter, features, Settings()), call)
    plain = tiny.run_comfy(twin.model, call)
    # A single small block changes a tiny random UNet by little, so the effect is asked of all.
    assert tiny.relative(ours, plain) > 1e-3
    compare(twin, ours, reference, [everywhere], SINGLE)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("InstantStyle style", STYLE),
        ("InstantStyle layout", LAYOUT),
        ("InstantStyle style and layout", STYLE | LAYOUT),
        ("style transfer", STYLE),
        ("composition", LAYOUT),
        ("style and composition", STYLE | LAYOUT),
    ],
)
def test_presets_are_the_dicts_they_stand_for(name: str, scale: Any, tmp_path: Path) -> None:
    twin = twins("sdxl")
    call = tiny.make_call(twin)
    tensors, features = tiny.kept_tensors(twin, "plus"), tiny.random_features(1)
    settings = Settings(weights=Weights(blocks=(preset(name),)))
    ours = tiny.run_comfy(
        apply(twin.model, tiny.load_tensors(tmp_path, tensors), features, settings), call
    )
    reference = tiny.run_diffusers(twin, call, [tensors], [features], scale)
    assert tiny.relative(ours, tiny.run_comfy(twin.model, call)) > 1e-3
    assert tiny.relative(ours, reference) < SINGLE


def test_style_of_one_reference_and_layout_of_another(tmp_path: Path) -> None:
    twin = twins("sdxl")
    call = tiny.make_call(twin)
    tensors = tiny.kept_tensors(twin, "plus")
    adapter = tiny.load_tensors(tmp_path, tensors)
    style, layout = tiny.random_features(1, seed=5), tiny.random_features(1, seed=6)

    def two(first: ImageFeatures, second: ImageFeatures) -> Tensor:
        model = apply(twin.model, adapter, first, Settings(weights=weights(STYLE)))
        return tiny.run_comfy(
            apply(model, adapter, second, Settings(weights=weights(LAYOUT))), call
        )

    reference = tiny.run_diffusers(twin, call, [tensors, tensors], [style, layout], [STYLE, LAYOUT])
    assert tiny.relative(two(style, layout), reference) < SINGLE
    assert tiny.relative(two(style, layout), two(layout, style)) > 1e-3


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("size", [(128, 128), (128, 192), (200, 120), (99, 131)], ids=str)
def test_one_mask(family: str, size: tuple[int, int], tmp_path: Path) -> None:
    twin = twins(family)
    call = tiny.make_call(twin, 1, 16, 24)
    tensors, features = tiny.kept_tensors(twin, "plus"), tiny.random_features(1)
    adapter, mask = tiny.load_tensors(tmp_path, tensors), picture(*size, seed=1)
    settings = Settings(scale=0.9, mask=mask[None], mask_rule=MaskRule.DIFFUSERS)
    ours = tiny.run_comfy(apply(twin.model, adapter, features, settings), call)
    reference = tiny.run_diffusers(twin, call, [tensors], [features], 0.9, [as_diffusers([mask])])
    whole = tiny.run_comfy(apply(twin.model, adapter, features, Settings(0.9)), call)
    compare(twin, ours, reference, [whole, tiny.run_comfy(twin.model, call)], SINGLE)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, SINGLE), (torch.float64, DOUBLE)], ids=str
)
@pytest.mark.parametrize("kind", ["standard", "plus"])
def test_regions_are_masks_with_scales_of_their_own(
    family: str, dtype: torch.dtype, tolerance: float, kind: str, tmp_path: Path
) -> None:
    twin = twins(family, dtype)
    call = tiny.make_call(twin, 2, 16, 16)
    tensors = tiny.kept_tensors(twin, kind)
    features = tiny.random_features(2, dtype=dtype)
    masks = [picture(128, 128, seed) for seed in (1, 2)]
    adapter = tiny.load_tensors(tmp_path, tensors)
    parts = one_by_one(features)

    def ours(*scales: float) -> Tensor:
        regions = Regions(
            tuple(Region(f, m, s) for f, m, s in zip(parts, masks, scales, strict=True))
        )
        model = apply(twin.model, adapter, regions, Settings(mask_rule=MaskRule.DIFFUSERS))
        return tiny.run_comfy(model, call)

    reference = tiny.run_diffusers(
        twin, call, [tensors], [features], [[0.7, 0.3]], [as_diffusers(masks).to(dtype)]
    )
    others = [tiny.run_comfy(twin.model, call), ours(0.3, 0.7)]
    compare(twin, ours(0.7, 0.3), reference, others, tolerance)


NESTED: list[tuple[str, Any]] = [
    ("sdxl", {"up": {"block_0": [[0.0, 0.0], [0.7, 0.3], [0.0, 0.0]]}, "down": 0.5}),
    ("sdxl", {"down": {"block_2": [[0.9, 0.1]]}, "mid": [[0.2, 1.0]]}),
    ("sd1", {"up": {"block_1": [[0.2, 0.9], 0.4, [1.0, 0.0]]}, "mid": [[0.5, -0.5]]}),
]


@pytest.mark.parametrize(("family", "scale"), NESTED, ids=str)
def test_dicts_with_a_scale_for_each_masked_reference(
    family: str, scale: Any, tmp_path: Path
) -> None:
    twin = twins(family)
    call = tiny.make_call(twin)
    tensors, features = tiny.kept_tensors(twin, "plus"), tiny.random_features(2)
    masks = [picture(128, 128, seed) for seed in (3, 4)]
    regions = Regions(
        tuple(Region(f, m, 1.0) for f, m in zip(one_by_one(features), masks, strict=True))
    )
    settings = Settings(weights=weights(scale), mask_rule=MaskRule.DIFFUSERS)
    adapter = tiny.load_tensors(tmp_path, tensors)
    ours = tiny.run_comfy(apply(twin.model, adapter, regions, settings), call)
    # diffusers wants a list wherever there are masks.
    reference = tiny.run_diffusers(
        twin, call, [tensors], [features], as_lists(scale), [as_diffusers(masks)]
    )
    assert tiny.relative(ours, tiny.run_comfy(twin.model, call)) > 1e-3
    assert tiny.relative(ours, reference) < SINGLE


def as_lists(scale: Any) -> Any:
    """The same dict for diffusers' masked attention, which takes numbers only for one image."""

    def deep(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: deep(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [inner if isinstance(inner, list) else [inner, inner] for inner in value]
        return [[value, value]]

    return deep(scale)


def test_two_adapters_one_of_them_masked(tmp_path: Path) -> None:
    twin = twins("sd1")
    call = tiny.make_call(twin)
    first, second = (tiny.kept_tensors(twin, kind) for kind in ("plus", "standard"))
    features = [tiny.random_features(1, seed=3), tiny.random_features(2, seed=4)]
    mask = picture(128, 128, seed=5)
    adapters = [tiny.load_tensors(tmp_path, t, f"a{i}") for i, t in enumerate((first, second))]
    masked = Settings(0.8, mask=mask, mask_rule=MaskRule.DIFFUSERS)
    model = apply(twin.model, adapters[0], features[0], masked)
    ours = tiny.run_comfy(apply(model, adapters[1], features[1], Settings(0.5)), call)
    reference = tiny.run_diffusers(
        twin, call, [first, second], features, [0.8, 0.5], [as_diffusers([mask]), None]
    )
    compare(twin, ours, reference, [tiny.run_comfy(model, call)], SINGLE)


def test_a_hard_mask_on_whole_cells_is_the_same_under_both_rules(tmp_path: Path) -> None:
    """Where nothing has to be resized the two rules cannot differ."""
    twin = twins("sd1")
    tensors, features = tiny.kept_tensors(twin, "plus"), tiny.random_features(1)
    adapter = tiny.load_tensors(tmp_path, tensors)
    only_first_level = weights({"down": {"block_0": 1}, "up": {"block_3": 1}})
    mask = (picture(16, 16, seed=8) > 0.5).float()
    call = tiny.make_call(twin)
    area, rule = (
        tiny.run_comfy(
            apply(
                twin.model,
                adapter,
                features,
                Settings(mask=mask, weights=only_first_level, mask_rule=rule),
            ),
            call,
        )
        for rule in (MaskRule.AREA, MaskRule.DIFFUSERS)
    )
    assert tiny.relative(area, tiny.run_comfy(twin.model, call)) > EFFECT
    assert tiny.relative(area, rule) < SINGLE
