"""The laws of the foundation once more, for every way of steering a reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import comfy.ldm.modules.attention as host_attention
import comfy.sample
import pytest
import torch
from bench import counts
from bench.bed import tiny_bed
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from kit.models import tiny
from kit.models.tiny import Twins
from kit.unet import parse_blocks, preset
from pack.ip_models.attention import masks
from pack.ip_models.attention.call import BatchMode
from pack.ip_models.attention.keyvalue import KvScaling
from pack.ip_models.attention.masks import MaskRule, RegionMask
from pack.ip_models.references.features import Region, Regions
from pack.ip_models.weights.gains import Weights
from pack.ip_models.weights.schedule import Curve, Ramp
from pack.nodes.host.model import patches
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones import kernel, unet_patch
from pack.nodes.host.model.bind import mark
from torch import Tensor

ROUNDING, EFFECT = 1e-5, 0.01
FEATURES, MORE = tiny.random_features(3, seed=3), tiny.random_features(1, seed=4)
BINDING = object()


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    tensors = tiny.adapter_tensors(twin(), "standard", seed=5)
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tensors)


def noise(batch: int = 3, height: int = 16, width: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(batch, 4, height, width, generator=generator)


def sample(model: Any, start: Tensor | None = None, cfg: float = 4.0) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    prompts = [[[torch.randn(1, 8, 768, generator=generator), {}]] for _ in range(2)]
    positive, negative = (mark(prompt, BINDING) for prompt in prompts)
    start = noise() if start is None else start
    return comfy.sample.sample(
        model,
        start,
        2,
        cfg,
        "euler",
        "normal",
        positive,
        negative,
        torch.zeros_like(start),
        disable_pbar=True,
        seed=1,
    )


@cache
def plain() -> Tensor:
    return sample(twin().model)


def soft(planes: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(planes, 60, 90, generator=generator)


def blocks(rule: Any) -> Weights:
    return Weights(blocks=(rule,))


WAYS: dict[str, dict[str, Any]] = {
    "block weights": {"weights": blocks(parse_blocks("2: 0.5, 5: 1, 6: -0.7"))},
    "flipped layers": {"weights": blocks(preset("composition precise", boost=1.5))},
    "steps": {"weights": Weights(steps=(Ramp(1.0, 0.3, Curve.EASE_OUT),))},
    "frames": {"weights": Weights(frames=(Ramp(values=(0.2, 1.0)),))},
    "both and blocks": {
        "weights": blocks(preset("ease in"))
        .times(Weights(steps=(Ramp(0.5, 1.0),)))
        .times(Weights(frames=(Ramp(1.0, 0.5),)))
    },
    "a mask for each picture": {"mask": soft(2)},
    "mask as in diffusers": {"mask": soft(1), "mask_rule": MaskRule.DIFFUSERS},
    "a reference for each picture": {"batch": BatchMode.LOOP},
    "spread references and masks": {"batch": BatchMode.SPREAD, "mask": soft(2)},
    "K+V": {"scaling": KvScaling.K_V},
    "K+V with penalty": {"scaling": KvScaling.K_V_PENALTY, "weights": Weights(steps=(Ramp(),))},
    "K+mean(V)": {
        "scaling": KvScaling.K_MEAN_V_PENALTY,
        "weights": Weights(frames=(Ramp(1.0, 0.5),)),
    },
    "bound": {"binding": BINDING},
    "window of the run": {"start_percent": 0.0, "end_percent": 0.9},
}
REGIONS = Regions((Region(FEATURES, soft(1), 0.8), Region(MORE, soft(2, seed=2), -0.5)))
NAMES = [*WAYS, "regions"]


def use(model: Any, adapter: LoadedAdapter, way: str, scale: float = 1.0) -> Any:
    if way == "regions":
        return apply(model, adapter, REGIONS, Settings(scale))
    return apply(model, adapter, FEATURES, Settings(scale, **WAYS[way]))


@pytest.mark.parametrize("way", NAMES)
def test_every_way_has_an_effect_and_leaves_nothing_behind(
    adapter: LoadedAdapter, way: str
) -> None:
    model = use(twin().model, adapter, way)
    picture = sample(model)
    assert tiny.relative(picture, plain()) > EFFECT
    for prompt in patches.prompts_of(model).prompts:
        assert len(prompt.keys._moved) == 0
        assert prompt.mask is None or len(prompt.mask._moved) == 0
    sibling = sample(use(model, adapter, "steps", 0.4))
    assert tiny.relative(sibling, picture) > 1e-3
    assert torch.equal(sample(model), picture)
    assert torch.equal(sample(patches.remove(model)), plain())
    assert torch.equal(sample(twin().model), plain())


@pytest.mark.parametrize("way", NAMES)
def test_scale_nought_is_the_plain_model_bit_for_bit(adapter: LoadedAdapter, way: str) -> None:
    assert torch.equal(sample(use(twin().model, adapter, way, 0.0)), plain())


@pytest.mark.parametrize(
    "off",
    [
        {"weights": Weights(steps=(Ramp(0.0, 0.0),))},
        {"weights": Weights(frames=(Ramp(0.0, 0.0),))},
        {"weights": blocks(parse_blocks("{}"))},
        {"mask": torch.zeros(2, 30, 20)},
        {"mask": torch.zeros(8, 8), "mask_rule": MaskRule.DIFFUSERS},
        {"mask": torch.full((8, 8), 0.4), "mask_rule": MaskRule.DIFFUSERS},
        {"binding": object()},
    ],
    ids=" and ".join,
)
def test_whatever_is_off_is_the_plain_model_bit_for_bit(
    adapter: LoadedAdapter, off: dict[str, Any]
) -> None:
    for scaling in KvScaling:
        settings = Settings(scaling=scaling, **off)
        assert torch.equal(sample(apply(twin().model, adapter, FEATURES, settings)), plain())


def test_mask_and_complement_are_the_whole_for_every_picture(adapter: LoadedAdapter) -> None:
    mask = soft(3)
    model = apply(twin().model, adapter, FEATURES, Settings(mask=mask))
    both = apply(model, adapter, FEATURES, Settings(mask=1 - mask))
    whole = apply(twin().model, adapter, FEATURES, Settings())
    assert tiny.relative(sample(both), sample(whole)) < ROUNDING
    assert tiny.relative(sample(model), sample(whole)) > EFFECT


@pytest.mark.parametrize("scaling", list(KvScaling))
@pytest.mark.parametrize("weight", [0.7, -0.4, 1.0])
def test_kv_scaling_by_the_book(scaling: KvScaling, weight: float, tmp_path: Path) -> None:
    """Section 4.2 of the specification as a plain patch for each layer, in double precision."""
    double = tiny.twins("sd1", torch.float64)
    tensors = tiny.adapter_tensors(double, "standard", seed=5)
    adapter = tiny.load_tensors(tmp_path, tensors)
    features = tiny.random_features(2, seed=8, dtype=torch.float64)
    call = tiny.make_call(double)
    ours = apply(double.model, adapter, features, Settings(weight, scaling=scaling))
    key_values = adapter.key_values(features)
    layers = patches.prompts_of(ours).prompts[0].layers
    theirs = double.model.clone()
    both = [key_values.pairs(rows.double()) for rows in (key_values.cond, key_values.uncond)]
    for address, place in layers.items():
        # What is seen without a reference is kept once for both references.
        cond, uncond = (pairs[place.position] for pairs in both)
        key, value = (
            torch.cat((half, without.repeat(1, 2, 1)))
            for half, without in zip(cond, uncond, strict=True)
        )
        patch = by_the_book(key, value, weight, scaling)
        theirs.set_model_attn2_replace(patch, *address)
    out = tiny.run_comfy(ours, call)
    assert tiny.relative(out, tiny.run_comfy(double.model, call)) > EFFECT
    assert tiny.relative(out, tiny.run_comfy(theirs, call)) < 1e-12


def by_the_book(
    key: Tensor, value: Tensor, weight: float, scaling: KvScaling
) -> Callable[..., Tensor]:
    def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)

    def patch(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
        heads, width = extra["n_heads"], q.shape[-1]
        ip_k, ip_v = key[[1, 0]], value[[1, 0]]  # the negative prompt comes first
        penalised = weight * width / 1280
        text = attend(q, k, v, heads)
        if scaling is KvScaling.V_ONLY:
            return text + weight * attend(q, ip_k, ip_v, heads)
        if scaling is KvScaling.K_V:
            return text + attend(q, weight * ip_k, weight * ip_v, heads)
        if scaling is KvScaling.K_V_PENALTY:
            return text + attend(q, penalised * ip_k, penalised * ip_v, heads)
        each = ip_v.unflatten(1, (2, -1))  # of both references
        mean = each.mean(2, keepdim=True).expand_as(each).flatten(1, 2)
        return text + attend(q, penalised * ip_k, (ip_v - mean) + penalised * mean, heads)

    return patch


class Seen:
    """The grids on which masks were asked for, with the queries of the layer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.grids: set[tuple[int, int]] = set()
        self.prepared: list[tuple[int, int]] = []
        original, prepare = RegionMask.on, masks._reduced

        def on(mask: RegionMask, height: int, width: int, like: Tensor, *rest: Any) -> Tensor:
            assert height * width == like.shape[1]
            self.grids.add((height, width))
            return original(mask, height, width, like, *rest)

        def reduced(planes: Tensor, grid: masks.Grid, *rest: Any) -> Tensor:
            self.prepared.append(grid[:2])
            return prepare(planes, grid, *rest)

        monkeypatch.setattr(RegionMask, "on", on)
        monkeypatch.setattr(masks, "_reduced", reduced)


def levels(height: int, width: int) -> set[tuple[int, int]]:
    """Grids of the four levels of SD1.5: each convolution of stride two rounds up."""
    found = [(height, width)]
    for _ in range(3):
        found.append(((found[-1][0] + 1) // 2, (found[-1][1] + 1) // 2))
    return set(found)


@pytest.mark.parametrize("size", [(32, 32), (33, 19), (37, 41), (8, 96), (95, 13)], ids=str)
def test_masks_lie_on_the_true_grid_of_each_layer(
    adapter: LoadedAdapter, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(monkeypatch)
    model = apply(twin().model, adapter, MORE, Settings(mask=soft(1)))
    start = noise(1, *size)
    assert tiny.relative(sample(model, start, 1.0), sample(twin().model, start, 1.0)) > EFFECT
    assert seen.grids == levels(*size)
    # Once for each grid, though there are sixteen layers and two steps.
    assert sorted(seen.prepared) == sorted(seen.grids)


def test_masks_lie_on_the_grid_of_a_picture_shrunk_inside_the_model(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(monkeypatch)
    model = apply(twin().model, adapter, MORE, Settings(mask=soft(1)))
    shrunk = PatchModelAddDownscale.execute(
        model, 3, 2.0, 0.0, 0.9, True, "bicubic", "bicubic"
    ).result[0]
    start = noise(1, 40, 56)
    picture = sample(shrunk, start)
    assert seen.grids - levels(40, 56), "no layer was shrunk"
    without = PatchModelAddDownscale.execute(
        twin().model, 3, 2.0, 0.0, 0.9, True, "bicubic", "bicubic"
    ).result[0]
    assert tiny.relative(picture, sample(without, start)) > EFFECT


def test_masks_do_not_mind_tiled_self_attention(adapter: LoadedAdapter) -> None:
    model = apply(twin().model, adapter, MORE, Settings(mask=soft(1)))
    start = noise(1, 32, 48)
    tiled, without = (HyperTile.execute(m, 128, 1, 0, False)[0] for m in (model, twin().model))
    assert tiny.relative(sample(tiled, start), sample(without, start)) > EFFECT


@cache
def unpatched() -> counts.Counts:
    bed = tiny_bed("sd1")
    bed.sample(bed.model, 1, 3)  # loads the model
    return counts.profile(bed, bed.model, 3)[0]


# What a model call may cost besides its layers: reading the noise level and weighing the rows.
MOST_BESIDES = {"steps": 3, "both and blocks": 4, "K+V with penalty": 3}


@pytest.mark.parametrize("way", NAMES)
def test_two_kernels_for_each_layer_and_reference(way: str, tmp_path: Path) -> None:
    """A mask is no third one: it is multiplied and added in one."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (host_attention, unet_patch, kernel):
            patch.setattr(module, "optimized_attention", host_attention.attention_pytorch)
        bed = tiny_bed("sd1")
        tensors = tiny.adapter_tensors(twin(), "standard", seed=5)
        loaded = tiny.load_tensors(tmp_path, tensors)
        way_without_binding = {**WAYS.get(way, {})}
        way_without_binding.pop("binding", None)
        if way == "regions":
            model = apply(bed.model, loaded, REGIONS, Settings())
        else:
            model = apply(bed.model, loaded, FEATURES, Settings(**way_without_binding))
        before = unpatched()
        after, _ = counts.profile(bed, model, 3)
    extra = after - before
    attentions = sum(len(p.layers) for p in patches.prompts_of(model).prompts)
    assert extra.attention == attentions > 0
    reads = 1 if patches.prompts_of(model).needs_sigma else 0
    assert extra.kernels <= 2 * attentions + MOST_BESIDES.get(way, reads)
    assert extra.syncs == reads
    assert extra.products == 0
