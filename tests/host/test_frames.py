"""Batches and videos: which picture gets which reference, mask and weight, in every window."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.context_windows
import comfy.sample
import numpy
import pytest
import torch
from kit.models import tiny
from kit.models.tiny import Twins
from pack.ip_models.attention.call import BatchMode
from pack.ip_models.attention.keyvalue import KeyValues
from pack.ip_models.attention.stack import PromptStack
from pack.ip_models.errors import BadInput
from pack.ip_models.references.features import ImageFeatures, Region, Regions
from pack.ip_models.weights.gains import Weights
from pack.ip_models.weights.schedule import Curve, Ramp
from pack.nodes.apply import ApplyIPAdapter
from pack.nodes.host.model import patches
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.weights import Schedule
from torch import Tensor

ROUNDING, EFFECT = 2e-5, 0.01
FRAMES = 7
FEATURES = tiny.random_features(3, seed=12)
EXPECTED = {
    BatchMode.REPEAT_LAST: [0, 1, 2, 2, 2, 2, 2],
    BatchMode.LOOP: [0, 1, 2, 0, 1, 2, 0],
    BatchMode.SPREAD: [0, 0, 0, 1, 1, 2, 2],
}


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    tensors = tiny.adapter_tensors(twin(), "standard", seed=5)
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tensors)


def noise() -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(FRAMES, 4, 8, 16, generator=generator)


def sample(model: Any, start: Tensor | None = None, steps: int = 2, cfg: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    positive, negative = ([[torch.randn(1, 8, 768, generator=generator), {}]] for _ in range(2))
    start = noise() if start is None else start
    return comfy.sample.sample(
        model,
        start,
        steps,
        cfg,
        "euler",
        "normal",
        positive,
        negative,
        torch.zeros_like(start),
        disable_pbar=True,
        seed=1,
    )


def only(features: ImageFeatures, i: int) -> ImageFeatures:
    pooled = features.pooled
    assert pooled is not None
    return ImageFeatures(
        pooled[i : i + 1],
        features.penultimate[i : i + 1],
        features.negative_pooled,
        features.negative_penultimate,
        features.source,
    )


def each(apply_to_frame: Callable[[int], Any]) -> Tensor:
    """Every picture sampled by itself with a MODEL of its own."""
    return torch.cat([sample(apply_to_frame(i), noise()[i : i + 1]) for i in range(FRAMES)])


@pytest.mark.parametrize("mode", list(EXPECTED))
def test_each_picture_gets_its_reference_alone(adapter: LoadedAdapter, mode: BatchMode) -> None:
    model = twin().model
    batch = sample(apply(model, adapter, FEATURES, Settings(batch=mode)))
    alone = each(lambda i: apply(model, adapter, only(FEATURES, EXPECTED[mode][i]), Settings()))
    assert tiny.relative(batch, alone) < ROUNDING
    together = sample(apply(model, adapter, FEATURES, Settings()))
    assert tiny.relative(batch, together) > EFFECT
    assert tiny.relative(batch, sample(model)) > EFFECT


def test_one_reference_is_the_same_in_every_mode(adapter: LoadedAdapter) -> None:
    pictures = [
        sample(apply(twin().model, adapter, only(FEATURES, 1), Settings(batch=mode)))
        for mode in BatchMode
    ]
    assert all(tiny.relative(one, pictures[0]) < ROUNDING for one in pictures)


def test_a_batch_of_masks_is_one_for_each_picture(adapter: LoadedAdapter) -> None:
    masks = torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(1))
    model = twin().model
    batch = sample(apply(model, adapter, FEATURES, Settings(mask=masks)))
    alone = each(lambda i: apply(model, adapter, FEATURES, Settings(mask=masks[min(i, 2)])))
    assert tiny.relative(batch, alone) < ROUNDING
    assert tiny.relative(batch, sample(model)) > EFFECT
    looped = sample(apply(model, adapter, FEATURES, Settings(mask=masks, batch=BatchMode.LOOP)))
    assert tiny.relative(looped, batch) > EFFECT


def test_weights_over_frames_are_scales_of_their_own(adapter: LoadedAdapter) -> None:
    ramp = Ramp(0.0, 1.2, Curve.EASE_IN_OUT)
    model = twin().model
    settings = Settings(scale=0.7, weights=Weights(frames=(ramp,)))
    batch = sample(apply(model, adapter, FEATURES, settings))
    alone = each(
        lambda i: apply(model, adapter, FEATURES, Settings(scale=0.7 * ramp.at(i, FRAMES)))
    )
    assert tiny.relative(batch, alone) < ROUNDING
    assert torch.allclose(batch[0], sample(model)[0], atol=1e-4)
    assert tiny.relative(batch[-1], sample(model)[-1]) > EFFECT


@pytest.mark.parametrize(
    "form", [list, tuple, numpy.array, torch.tensor], ids=lambda form: form.__name__
)
def test_a_list_of_scales_is_a_scale_for_each_picture(
    adapter: LoadedAdapter, form: Callable[[list[float]], Any]
) -> None:
    scales = [0.0, 0.8, -0.3, 1.2]  # the last one goes on
    model = twin().model
    node = ApplyIPAdapter.execute(model, adapter, FEATURES, form(scales), 0.0, 1.0)
    batch = sample(node.args[0])
    alone = each(lambda i: apply(model, adapter, FEATURES, Settings(scale=scales[min(i, 3)])))
    assert tiny.relative(batch, alone) < ROUNDING
    assert tiny.relative(batch[1], sample(model)[1]) > EFFECT


@pytest.mark.parametrize("scales", [[], [0.5, "loud"], [0.5, float("nan")], [0.5, 9], [[1.0]]])
def test_a_list_of_other_things_is_no_scale(adapter: LoadedAdapter, scales: Any) -> None:
    with pytest.raises(BadInput, match=r"needed"):
        ApplyIPAdapter.execute(twin().model, adapter, FEATURES, scales, 0.0, 1.0)


@pytest.mark.parametrize("numbers", [None, (1.0, 0.2, 0.6, 0.0)])
def test_two_references_fade_into_each_other(
    adapter: LoadedAdapter, numbers: tuple[float, ...] | None
) -> None:
    model, one, other = twin().model, only(FEATURES, 0), only(FEATURES, 1)
    weights = Schedule.execute("frames", numbers or 1.0, 0.0, "linear").args
    faded = apply(model, adapter, one, Settings(weights=weights[0]))
    batch = sample(apply(faded, adapter, other, Settings(weights=weights[1])))
    shares = [1 - i / (FRAMES - 1) if numbers is None else numbers[min(i, 3)] for i in range(7)]

    def by_hand(i: int) -> Any:
        first = apply(model, adapter, one, Settings(scale=shares[i]))
        return apply(first, adapter, other, Settings(scale=1 - shares[i]))

    assert tiny.relative(batch, each(by_hand)) < ROUNDING
    assert tiny.relative(batch, sample(faded)) > EFFECT


def test_weights_over_steps_are_windows_of_one_step(adapter: LoadedAdapter) -> None:
    ramp = Ramp(values=(0.9, 0.0, 0.4))
    model = twin().model
    scheduled = apply(model, adapter, FEATURES, Settings(weights=Weights(steps=(ramp,))))
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", 3)
    percents = torch.linspace(0, 1, 4001)
    levels = torch.tensor([float(sampling.percent_to_sigma(float(p))) for p in percents])
    stacked = model
    for step, factor in enumerate(ramp.values):
        near = levels - sigmas[step]
        start = float(percents[near >= 0][-1]) - 1e-3
        end = start + 3e-3
        window = Settings(factor, max(start, 0.0), min(end, 1.0))
        stacked = apply(stacked, adapter, FEATURES, window)
    ours, theirs = sample(scheduled, steps=3), sample(stacked, steps=3)
    assert tiny.relative(ours, theirs) < ROUNDING
    assert (
        tiny.relative(ours, sample(apply(model, adapter, FEATURES, Settings()), steps=3)) > EFFECT
    )


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2", "lcm"])
def test_steps_are_counted_for_samplers_that_call_the_model_twice(
    adapter: LoadedAdapter, sampler: str
) -> None:
    seen: list[tuple[int, int]] = []
    weights = Weights(steps=(Ramp(0.1, 1.0),))
    model = apply(twin().model, adapter, FEATURES, Settings(weights=weights))
    original = PromptStack.at

    def watched(self: Any, call: Any, *rest: Any) -> Any:
        seen.append((call.step, call.steps))
        return original(self, call, *rest)

    start = noise()[:1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PromptStack, "at", watched)
        comfy.sample.sample(
            model,
            start,
            4,
            1.0,
            sampler,
            "normal",
            [[torch.zeros(1, 8, 768), {}]],
            [[torch.zeros(1, 8, 768), {}]],
            torch.zeros_like(start),
            disable_pbar=True,
            seed=1,
        )
    places = [step for step, _ in seen]
    assert places == sorted(places)
    assert set(places) >= {0, 1, 2, 3}
    assert {steps for _, steps in seen} == {4}


def with_windows(model: Any, length: int, overlap: int, schedule: str) -> Any:
    windows = comfy.context_windows
    handler = windows.IndexListContextHandler(
        context_schedule=windows.get_matching_context_schedule(schedule),
        fuse_method=windows.get_matching_fuse_method("flat"),
        context_length=length,
        context_overlap=overlap,
        dim=0,
    )
    windowed = model.clone()
    windowed.model_options["context_handler"] = handler
    return windowed


def per_frame(adapter: LoadedAdapter) -> Any:
    """References, masks and weights that differ for every frame."""
    masks = torch.rand(FRAMES, 64, 128, generator=torch.Generator().manual_seed(2))
    features = tiny.random_features(FRAMES, seed=13)
    settings = Settings(
        mask=masks,
        weights=Weights(frames=(Ramp(0.3, 1.5),)),
        batch=BatchMode.REPEAT_LAST,
    )
    return apply(twin().model, adapter, features, settings)


@pytest.mark.parametrize("schedule", ["standard_static", "looped_uniform", "batched"])
def test_windows_of_the_host_get_the_references_of_their_frames(
    adapter: LoadedAdapter, schedule: str
) -> None:
    """A still-image UNet treats frames apart, so windows must not change anything."""
    model = per_frame(adapter)
    whole = sample(model)
    windowed = sample(with_windows(model, 4, 1 if schedule != "batched" else 0, schedule))
    assert tiny.relative(whole, sample(twin().model)) > EFFECT
    assert tiny.relative(windowed, whole) < ROUNDING


def test_windows_of_animatediff_get_the_references_of_their_frames(adapter: LoadedAdapter) -> None:
    """As AnimateDiff-Evolved announces them: a table with the frames of the window."""
    model = per_frame(adapter)
    whole = sample(model)
    frames = [5, 1, 2]
    window = model.clone()
    options = window.model_options["transformer_options"]
    options["ad_params"] = {"sub_idxs": frames, "full_length": FRAMES, "context_length": 3}
    assert tiny.relative(sample(window, noise()[frames]), whole[frames]) < ROUNDING
    options["ad_params"] = {"sub_idxs": None, "full_length": FRAMES}
    assert tiny.relative(sample(window), whole) < ROUNDING


def test_only_the_rows_of_a_window_are_moved(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_windows(per_frame(adapter), 2, 0, "batched")
    key_values = patches.prompts_of(model).prompts[0].keys
    sizes: set[int] = set()
    original = KeyValues.on

    def watched(self: KeyValues, rows: Any, *where: Any) -> Any:
        sizes.add(len(rows))
        return original(self, rows, *where)

    monkeypatch.setattr(KeyValues, "on", watched)
    sample(model, steps=1)
    assert key_values.references == FRAMES
    assert max(sizes) <= 2 * 3  # cond and uncond, two frames and the host's anchor frame


def test_regions_with_a_reference_for_each_picture(adapter: LoadedAdapter) -> None:
    left = torch.zeros(1, 8, 16)
    left[..., :8] = 1
    regions = Regions((Region(FEATURES, left, 1.0), Region(only(FEATURES, 0), 1 - left, 0.5)))
    model = twin().model
    batch = sample(apply(model, adapter, regions, Settings(batch=BatchMode.LOOP)))

    def alone(i: int) -> Any:
        parts = (Region(only(FEATURES, i % 3), left, 1.0), regions.regions[1])
        return apply(model, adapter, Regions(parts), Settings())

    assert tiny.relative(batch, each(alone)) < ROUNDING
