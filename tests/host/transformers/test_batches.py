"""Batches, bindings, schedules and scalings on transformers: everything that UNets have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import comfy.samplers
import comfy_extras.nodes_easycache as easy_cache
import pytest
import torch
from kit.models import tiny, transformer_cases, transformers
from kit.models.transformer_cases import INSTANTX, SD3, XLABS, Given, Layout
from kit.models.transformers import GUIDANCE, Pair, make_call
from pack.ip_models.attention.call import BatchMode
from pack.ip_models.attention.keyvalue import KvScaling
from pack.ip_models.references.combine import Combine, combine
from pack.ip_models.references.features import ImageFeatures, Region, Regions
from pack.ip_models.weights.gains import Weights
from pack.ip_models.weights.schedule import Ramp
from pack.nodes.host.model import bind, patches
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor

ROUNDING, EFFECT = 2e-6, 0.01
BEDS = [
    pytest.param(transformers.tiny_flux, XLABS, id="Flux-XLabs"),
    pytest.param(transformers.tiny_flux, INSTANTX, id="Flux-InstantX"),
    pytest.param(transformers.tiny_chroma, INSTANTX, id="Chroma-InstantX"),
    pytest.param(transformers.tiny_sd3, SD3, id="SD3.5"),
]
every_bed = pytest.mark.parametrize(("build", "layout"), BEDS)
PLAIN = Settings()


def features(layout: Layout, seed: int, count: int = 1) -> ImageFeatures:
    own = transformer_cases.features(layout, Given(references=count, seed=seed))
    black = transformer_cases.features(layout, Given(seed=99)).black_pooled  # one of the encoder
    return replace(own, black_pooled=black)


def run(
    pair: Pair,
    model: Any,
    batch: int = 1,
    cfg: float = 3.0,
    prompts: tuple[Any, Any] | None = None,
    steps: int = 4,
) -> Tensor:
    """Euler steps on the same noise for each picture."""
    call = make_call()
    guidance = {"guidance": GUIDANCE} if pair.family == "flux" else {}
    negative, positive = prompts or tuple(
        [[half.context, {"pooled_output": half.pooled, **guidance}]]
        for half in (call.negative(), call.positive())
    )
    noise = call.negative().x.repeat(batch, 1, 1, 1)
    return comfy.sample.sample_custom(
        model,
        noise,
        cfg,
        comfy.samplers.sampler_object("euler"),
        transformers.schedule(pair, steps),
        positive,
        negative,
        torch.zeros_like(noise),
        disable_pbar=True,
        seed=1,
    )


@every_bed
def test_each_picture_of_a_batch_has_its_reference(
    build: Callable[[], Pair], layout: Layout
) -> None:
    pair = build()
    adapter = transformer_cases.loaded(pair, layout, 1)
    one, two = features(layout, 3), features(layout, 4)
    both = combine([one, two], [1.0, 1.0], Combine.CONCAT)
    out = run(pair, apply(pair.model, adapter, both, Settings(batch=BatchMode.REPEAT_LAST)), 3)
    first, second = (run(pair, apply(pair.model, adapter, own, PLAIN)) for own in (one, two))
    assert tiny.relative(out[:1], first) < ROUNDING
    assert tiny.relative(out[1:2], second) < ROUNDING
    assert tiny.relative(out[2:], second) < ROUNDING
    assert tiny.relative(first, second) > EFFECT


@every_bed
def test_weights_over_pictures_and_steps(build: Callable[[], Pair], layout: Layout) -> None:
    pair = build()
    adapter, own = transformer_cases.loaded(pair, layout, 1), features(layout, 3)
    frames = Weights(frames=(Ramp(values=(1.0, 0.0, 0.5)),))
    out = run(pair, apply(pair.model, adapter, own, Settings(weights=frames)), 3)
    plain = run(pair, pair.model)
    for picture, scale in enumerate((1.0, 0.0, 0.5)):
        alone = run(pair, apply(pair.model, adapter, own, Settings(scale=scale)))
        assert tiny.relative(out[picture : picture + 1], alone) < ROUNDING
    assert tiny.relative(out[:1], plain) > EFFECT
    steps = Weights(steps=(Ramp(values=(1.0, 1.0, 0.0, 0.0)),))
    part = run(pair, apply(pair.model, adapter, own, Settings(weights=steps)))
    sigmas = transformers.schedule(pair, 4)
    window = Settings(levels=(1.0, float(sigmas[1])))
    assert tiny.relative(part, run(pair, apply(pair.model, adapter, own, window))) < ROUNDING
    assert tiny.relative(part, out[:1]) > EFFECT


@every_bed
def test_a_reference_bound_to_the_positive_leaves_the_negative_silent(
    build: Callable[[], Pair], layout: Layout
) -> None:
    pair, call = build(), make_call()
    adapter, own = transformer_cases.loaded(pair, layout, 1), features(layout, 3)
    model = apply(pair.model, adapter, own, Settings(binding="mark"))
    guidance = {"guidance": GUIDANCE} if pair.family == "flux" else {}
    negative, positive = (
        [[half.context, {"pooled_output": half.pooled, **guidance}]]
        for half in (call.negative(), call.positive())
    )
    bound = bind.mark(positive, "mark")
    out = run(pair, model, prompts=(negative, bound))
    loud, silent = (
        run(pair, apply(pair.model, adapter, own, PLAIN), prompts=(negative, positive)),
        run(pair, model, prompts=(negative, positive)),
    )
    assert torch.equal(silent, run(pair, pair.model, prompts=(negative, positive)))
    assert tiny.relative(out, silent) > EFFECT and tiny.relative(out, loud) > EFFECT
    # At guidance 1 nothing but the positive runs, and is as loud as without a binding.
    alone = run(pair, model, cfg=1.0, prompts=(negative, bound))
    free = run(pair, apply(pair.model, adapter, own, PLAIN), cfg=1.0, prompts=(negative, positive))
    assert tiny.relative(alone, free) < ROUNDING


@every_bed
def test_regions_are_masks_one_after_the_other(build: Callable[[], Pair], layout: Layout) -> None:
    pair = build()
    adapter = transformer_cases.loaded(pair, layout, 1)
    left = torch.zeros(1, 128, 96)
    left[..., :48] = 1
    one, two = features(layout, 3), features(layout, 4)
    regions = Regions((Region(one, left, 0.8), Region(two, 1 - left, 0.6)))
    out = run(pair, apply(pair.model, adapter, regions, PLAIN))
    by_hand = apply(pair.model, adapter, one, Settings(0.8, mask=left))
    by_hand = apply(by_hand, adapter, two, Settings(0.6, mask=1 - left))
    assert tiny.relative(out, run(pair, by_hand)) < ROUNDING
    assert tiny.relative(out, run(pair, pair.model)) > EFFECT


@every_bed
@pytest.mark.parametrize("scaling", [one for one in KvScaling if one is not KvScaling.V_ONLY])
def test_scalings_of_the_keys(
    build: Callable[[], Pair], layout: Layout, scaling: KvScaling
) -> None:
    pair = build()
    adapter, own = transformer_cases.loaded(pair, layout, 1), features(layout, 3)
    out = run(pair, apply(pair.model, adapter, own, Settings(0.6, scaling=scaling)))
    values = run(pair, apply(pair.model, adapter, own, Settings(0.6)))
    assert bool(out.isfinite().all())
    assert tiny.relative(out, values) > 1e-4
    whole = Settings(1.0, scaling=scaling)
    if scaling is KvScaling.K_V:  # at 1 nothing is scaled
        one = run(pair, apply(pair.model, adapter, own, whole))
        assert tiny.relative(one, run(pair, apply(pair.model, adapter, own, PLAIN))) < ROUNDING


@every_bed
def test_removed_from_a_stack_of_both_kinds(build: Callable[[], Pair], layout: Layout) -> None:
    pair = build()
    adapter, own = transformer_cases.loaded(pair, layout, 1), features(layout, 3)
    model = apply(pair.model, adapter, own, PLAIN)
    assert torch.equal(run(pair, patches.remove(model)), run(pair, pair.model))


@every_bed
def test_easy_cache_runs_beside(build: Callable[[], Pair], layout: Layout) -> None:
    """It reuses what whole calls gave; with a threshold of nearly nothing it changes nothing."""
    pair = build()
    adapter, own = transformer_cases.loaded(pair, layout, 1), features(layout, 3)
    model = apply(pair.model, adapter, own, PLAIN)
    cached = easy_cache.EasyCacheNode.execute(model, 1e-9, 0.0, 1.0, False).args[0]
    assert tiny.relative(run(pair, cached), run(pair, model)) < ROUNDING


def test_a_lora_counts_beside() -> None:
    """Its weights are the MODEL's own; the adapter adds to what they make."""
    pair = transformers.tiny_flux()
    adapter, own = transformer_cases.loaded(pair, XLABS, 1), features(XLABS, 3)
    key = "diffusion_model.double_blocks.0.img_attn.qkv.weight"
    weight = pair.model.model.state_dict()[key]
    with_lora = pair.model.clone()
    with_lora.add_patches({key: ("diff", (0.1 * torch.randn_like(weight),))}, 1.0)
    before, after = apply(with_lora, adapter, own, PLAIN), apply(pair.model, adapter, own, PLAIN)
    after.add_patches({key: with_lora.patches[key][0][1]}, 1.0)
    assert tiny.relative(run(pair, before), run(pair, after)) < ROUNDING
    assert tiny.relative(run(pair, before), run(pair, with_lora)) > EFFECT


@pytest.mark.parametrize(
    "sampler", ["dpm_2", "dpmpp_sde", "dpmpp_2s_ancestral", "er_sde", "seeds_2"]
)
def test_samplers_that_ask_for_levels_of_their_own(sampler: str) -> None:
    """SD3.5's keys are made for them when they are asked for; the same keys as made ahead."""
    pair, call = transformers.tiny_sd3(), make_call()
    adapter, own = transformer_cases.loaded(pair, SD3, 1), features(SD3, 3)
    model = apply(pair.model, adapter, own, PLAIN)
    stack = patches.prompts_of(model)
    (prompt,) = stack.prompts
    made: list[int] = []
    original = prompt.keys._make

    def counted(levels: Any) -> Any:
        made.append(len(levels))
        return original(levels)

    prompt.keys._make = counted
    negative, positive = (
        [[half.context, {"pooled_output": half.pooled}]]
        for half in (call.negative(), call.positive())
    )
    noise = call.negative().x

    def sampled(one: Any) -> Tensor:
        torch.manual_seed(0)
        return comfy.sample.sample_custom(
            one,
            noise,
            3.0,
            comfy.samplers.sampler_object(sampler),
            transformers.schedule(pair, 4),
            positive,
            negative,
            torch.zeros_like(noise),
            disable_pbar=True,
            seed=1,
        )

    out = sampled(model)
    assert bool(out.isfinite().all())
    assert tiny.relative(out, sampled(pair.model)) > EFFECT
    assert made[0] == 4 and len(made) > 1 and set(made[1:]) == {1}
    # Nothing made ahead: each level when it is asked for.
    lazy = replace(prompt, keys=prompt.keys._then(lambda keys: keys, 1, prompt.keys.tokens))
    lazy.keys.prepare = lambda levels: None
    options = model.model_options["transformer_options"]
    options["ipadapter"] = type(stack)((lazy,))
    assert tiny.relative(sampled(model), out) < ROUNDING
