"""Image prompts on Flux, Chroma and SD3.5 are those of diffusers and the published processors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.models import checkpoints, transformer_cases, transformer_reference, transformers
from kit.models.tiny import relative
from kit.models.transformer_cases import INSTANTX, SD3, XLABS, Given, Layout
from kit.models.transformer_reference import Step
from kit.models.transformers import Call, Pair, make_call, run_host, run_reference
from pack.ip_models.attention.call import BatchMode
from pack.nodes.host.model.adapter import load
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor

CALL, RUN, EFFECT = 1e-6, 2e-6, 0.05
Build = Callable[[], Pair]

FLUX = (transformers.tiny_flux, transformers.full_flux)
CHROMA = (transformers.tiny_chroma, transformers.full_chroma)
LARGE = (transformers.tiny_sd3, transformers.full_sd3)
ON_FLUX = [(build, layout) for build in (*FLUX, *CHROMA) for layout in (XLABS, INSTANTX)]
EVERYWHERE = [*ON_FLUX, *((build, SD3) for build in LARGE)]
TINY = [pair for pair in EVERYWHERE if pair[0].__name__.startswith("tiny")]
NAMES = {id(XLABS): "XLabs", id(INSTANTX): "InstantX", id(SD3): "SD3.5"}


def name(value: object) -> str:
    """Of a model or a layout, for the list of tests."""
    return NAMES.get(id(value)) or getattr(value, "__name__", str(value))


everywhere = pytest.mark.parametrize(("build", "layout"), EVERYWHERE, ids=name)
tiny = pytest.mark.parametrize(("build", "layout"), TINY, ids=name)


def check(pair: Pair, layout: Layout, *given: Given, batch: int = 1) -> None:
    """One call with both polarities: ours, the reference's, and without a reference."""
    call = make_call(batch)
    ours = run_host(pair, transformer_cases.patched(pair, layout, *given), call)
    plain = run_host(pair, pair.model, call)
    theirs = transformer_cases.stepping(pair, layout, *given)(call)
    assert relative(theirs, plain) > EFFECT
    assert relative(ours, theirs) < CALL


def blocks(pair: Pair, layout: Layout) -> int:
    """How many the layout has layers for."""
    return pair.doubles if layout is XLABS else pair.blocks


@everywhere
@pytest.mark.parametrize("references", (1, 2))
def test_one_adapter(build: Build, layout: Layout, references: int) -> None:
    check(build(), layout, Given(references))


@everywhere
def test_a_negative_image(build: Build, layout: Layout) -> None:
    check(build(), layout, Given(negative=True))


@everywhere
def test_one_scale_for_each_block(build: Build, layout: Layout) -> None:
    pair = build()
    count = blocks(pair, layout)
    scale = tuple(0.9 - 0.8 * block / count for block in range(count))
    check(pair, layout, Given(scale=scale))


@everywhere
def test_two_adapters(build: Build, layout: Layout) -> None:
    pair = build()
    scale = tuple(0.3 + block % 3 * 0.2 for block in range(blocks(pair, layout)))
    check(pair, layout, Given(seed=1, scale=0.5), Given(2, seed=2, scale=scale))


@tiny
@pytest.mark.parametrize("container", ("flat", "nested"))
def test_adapters_of_files(build: Build, layout: Layout, container: str, tmp_path: Path) -> None:
    pair, call, given = build(), make_call(), Given(scale=0.7)
    suffix = "safetensors" if container == "flat" else "bin"
    tensors = layout.tensors(pair, given.seed)
    path = checkpoints.write(tmp_path / f"adapter.{suffix}", tensors, container)
    features, settings = transformer_cases.features(layout, given), Settings(given.scale)
    model = apply(pair.model, load(str(path)), features, settings)
    theirs = transformer_cases.stepping(pair, layout, given)(call)
    assert relative(run_host(pair, model, call), theirs) < CALL


@everywhere
def test_two_pictures_at_once(build: Build, layout: Layout) -> None:
    check(build(), layout, Given(2), batch=2)


@pytest.mark.parametrize("build", (*FLUX, *CHROMA), ids=name)
@pytest.mark.parametrize("first", (XLABS, INSTANTX), ids=name)
def test_adapters_of_both_kinds(build: Build, first: Layout) -> None:
    pair, call = build(), make_call()
    kinds = (first, INSTANTX if first is XLABS else XLABS)
    given = {id(XLABS): Given(seed=1), id(INSTANTX): Given(2, seed=2)}
    model = pair.model
    for layout in kinds:
        model = transformer_cases.patched(pair, layout, given[id(layout)], model=model)
    beside = transformer_cases.prompt(pair, XLABS, given[id(XLABS)])
    prompt = transformer_cases.prompt(pair, INSTANTX, given[id(INSTANTX)])
    theirs = transformer_reference.with_instantx(pair, prompt, beside=[beside])(call)
    for layout in kinds:
        alone = transformer_cases.stepping(pair, layout, given[id(layout)])(call)
        assert relative(theirs, alone) > EFFECT
    assert relative(run_host(pair, model, call), theirs) < CALL


def check_run(
    pair: Pair,
    model: Any,
    call: Call,
    step: Step,
    cfg: float,
    steps: int = 4,
    sampler: str = "euler",
) -> None:
    """A run of the sampler: ours, the reference's, and without a reference."""
    ours = transformers.sample_host(pair, model, call, cfg, steps, sampler)
    plain = transformers.sample_host(pair, pair.model, call, cfg, steps, sampler)
    theirs = transformers.sample_reference(pair, call, cfg, step, steps, sampler)
    assert relative(theirs, plain) > EFFECT
    assert relative(ours, theirs) < RUN


@everywhere
@pytest.mark.parametrize("cfg", (1.0, 3.5))
def test_a_run_of_the_sampler(build: Build, layout: Layout, cfg: float) -> None:
    pair, given = build(), Given(2)
    model = transformer_cases.patched(pair, layout, given)
    check_run(pair, model, make_call(), transformer_cases.stepping(pair, layout, given), cfg)


@tiny
def test_a_sampler_that_calls_between_its_steps(build: Build, layout: Layout) -> None:
    pair, given = build(), Given()
    model = transformer_cases.patched(pair, layout, given)
    step = transformer_cases.stepping(pair, layout, given)
    check_run(pair, model, make_call(), step, 3.0, steps=5, sampler="dpm_2")


@tiny
def test_prompts_of_different_lengths_are_called_one_by_one(build: Build, layout: Layout) -> None:
    pair, given = build(), Given()
    call = replace(make_call(), shorter=2)
    seen: list[int] = []
    model = transformer_cases.patched(pair, layout, given)
    watch = model.model.diffusion_model.register_forward_pre_hook(
        lambda _module, inputs: seen.append(len(inputs[0]))
    )
    step = transformer_cases.stepping(pair, layout, given)
    try:
        check_run(pair, model, call, step, 3.0)
    finally:
        watch.remove()
    assert set(seen) == {1}


@tiny
@pytest.mark.parametrize("window", ((0.0, 0.5), (0.3, 0.8)), ids=str)
def test_a_window_of_the_run(build: Build, layout: Layout, window: tuple[float, float]) -> None:
    pair, given = build(), Given(scale=1.0)
    start, end = window
    model = transformer_cases.patched(pair, layout, given, start_percent=start, end_percent=end)
    heard = transformer_cases.stepping(pair, layout, given)
    to_sigma = pair.model.get_model_object("model_sampling").percent_to_sigma
    first, last = to_sigma(start), to_sigma(end)
    steps = set[bool]()

    def step(call: Call) -> Tensor:
        inside = last <= call.sigma <= first
        steps.add(inside)
        return heard(call) if inside else run_reference(pair, call)

    check_run(pair, model, make_call(), step, 3.0, steps=6)
    assert steps == {True, False}


def half(call: Call) -> Tensor:
    """A mask on the grid of patches: nothing, some and all."""
    height, width = (size // 2 for size in call.x.shape[-2:])
    grid = torch.zeros(height, width)
    grid[1:6, 2:] = torch.linspace(0.25, 1, width - 2)
    return grid


@everywhere
def test_a_mask(build: Build, layout: Layout) -> None:
    check(build(), layout, Given(scale=1.0, grid=half(make_call())))


@everywhere
def test_two_adapters_in_two_places(build: Build, layout: Layout) -> None:
    grid = half(make_call())
    check(build(), layout, Given(grid=grid), Given(seed=2, grid=1 - grid))


@everywhere
def test_a_mask_of_zeros_is_silence(build: Build, layout: Layout) -> None:
    pair, call = build(), make_call()
    given = Given(grid=torch.zeros_like(half(call)))
    ours = run_host(pair, transformer_cases.patched(pair, layout, given), call)
    assert torch.equal(ours, run_host(pair, pair.model, call))


@pytest.mark.parametrize("layout", (XLABS, INSTANTX), ids=name)
@pytest.mark.parametrize("masked", (False, True))
def test_pictures_to_edit_hear_without_a_mask_only(layout: Layout, masked: bool) -> None:
    pair = transformers.tiny_flux()
    call = make_call()
    edited = torch.randn(call.x.shape, generator=torch.Generator().manual_seed(8))
    call = replace(call, edited=edited)
    given = Given(scale=1.0, grid=half(call) if masked else None)
    ours = run_host(pair, transformer_cases.patched(pair, layout, given), call)
    plain = run_host(pair, pair.model, call)
    theirs = transformer_cases.stepping(pair, layout, given)(call)
    assert relative(run_reference(pair, call), plain) < CALL
    assert relative(theirs, plain) > EFFECT
    assert relative(ours, theirs) < CALL


@pytest.mark.parametrize(("build", "layout"), TINY[:-1], ids=name)
def test_beside_a_controlnet(build: Build, layout: Layout) -> None:
    pair, call, given = build(), make_call(), Given()
    generator = torch.Generator().manual_seed(9)
    shape = (len(call.x), 48, pair.hidden)
    residuals = tuple(torch.randn(shape, generator=generator) for _ in range(pair.doubles))
    guided = replace(call, residuals=residuals)
    model = transformer_cases.patched(pair, layout, given)
    step = transformer_cases.stepping(pair, layout, given)
    assert relative(step(guided), step(call)) > EFFECT
    assert relative(run_host(pair, model, guided), step(guided)) < CALL


@tiny
def test_each_picture_hears_its_own_reference(build: Build, layout: Layout) -> None:
    pair, call, given = build(), make_call(2), Given(2)
    model = transformer_cases.patched(pair, layout, given, batch=BatchMode.LOOP)
    ours = run_host(pair, model, call)
    prompt = transformer_cases.prompt(pair, layout, given)
    for picture in range(2):
        rows = [picture, 2 + picture]
        positive = prompt.positive[picture : picture + 1]
        negative = prompt.negative[-1:] if layout is not INSTANTX else positive
        own = replace(prompt, positive=positive, negative=negative)
        alone = Call(call.x[rows], call.sigma, call.context[rows], call.pooled[rows])
        theirs = layout.reference(pair, own)(alone)
        assert relative(ours[rows], theirs) < CALL
        together = transformer_cases.stepping(pair, layout, given)(alone)
        assert relative(together, theirs) > EFFECT


@everywhere
def test_odd_latents_are_padded(build: Build, layout: Layout) -> None:
    """diffusers cannot run them; a picture that is full of references hears as without a mask."""
    pair = build()
    call = make_call(height=15, width=13)
    whole = run_host(pair, transformer_cases.patched(pair, layout, Given()), call)
    full = Given(grid=torch.ones(8, 7))
    masked = run_host(pair, transformer_cases.patched(pair, layout, full), call)
    assert relative(whole, run_host(pair, pair.model, call)) > EFFECT
    assert relative(masked, whole) < CALL
