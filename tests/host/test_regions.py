"""Areas, and references that are bound to one conditioning and not to the others."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import comfy.sample
import node_helpers
import pytest
import torch
from kit.models import tiny
from kit.models.tiny import Twins
from pack.ip_models.references.features import ImageFeatures, Region, Regions
from pack.nodes.host.model import patches
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.bind import mark
from torch import Tensor

ROUNDING, EFFECT = 1e-5, 0.01
HEIGHT, WIDTH = 16, 24
LEFT, RIGHT = (HEIGHT, 12, 0, 0), (HEIGHT, 12, 0, 12)
FEATURES, OTHER = tiny.random_features(1, seed=3), tiny.random_features(2, seed=4)
Conditioning = list[list[Any]]


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    tensors = tiny.adapter_tensors(twin(), "standard", seed=5)
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tensors)


def prompt(seed: int, **values: Any) -> Conditioning:
    generator = torch.Generator().manual_seed(100 + seed)
    return [[torch.randn(1, 8, 768, generator=generator), values]]


def sample(
    model: Any, positive: Conditioning, negative: Conditioning | None = None, cfg: float = 1.0
) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    start = torch.randn(1, 4, HEIGHT, WIDTH, generator=generator)
    return comfy.sample.sample(
        model,
        start,
        2,
        cfg,
        "euler",
        "normal",
        positive,
        negative or prompt(9),
        torch.zeros_like(start),
        disable_pbar=True,
        seed=1,
    )


def bound(
    model: Any, adapter: LoadedAdapter, features: ImageFeatures | Regions, *prompts: Conditioning
) -> tuple[Any, ...]:
    """The MODEL and the conditionings as the node hands them out."""
    binding = object()
    patched = apply(model, adapter, features, Settings(binding=binding))
    return (patched, *(mark(one, binding) for one in prompts))


def left_half(soft: bool = False) -> Tensor:
    """White on the left; a soft one has greys in it, but nothing on the right."""
    mask = torch.zeros(1, 8 * HEIGHT, 8 * WIDTH)
    generator = torch.Generator().manual_seed(6)
    share = torch.rand(1, 8 * HEIGHT, 4 * WIDTH, generator=generator) if soft else 1.0
    mask[..., : 4 * WIDTH] = share
    return mask


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_a_mask_is_cut_with_the_area_of_a_prompt(adapter: LoadedAdapter, cfg: float) -> None:
    """White over one prompt's area and black over the other's: as if bound to the first."""
    model, negative = twin().model, prompt(9)
    left, right = prompt(1, area=LEFT), prompt(2, area=RIGHT)
    masked = apply(model, adapter, FEATURES, Settings(mask=left_half()))
    patched, left_bound = bound(model, adapter, FEATURES, left)
    # Only the copies of the areas are negative prompts here, none is for the whole picture.
    negative = prompt(9, area=LEFT) + prompt(9, area=RIGHT) if cfg > 1 else negative
    theirs_negative = negative
    if cfg > 1:
        binding = patches.prompts_of(patched).prompts[0].binding
        theirs_negative = mark(negative[:1], binding) + negative[1:]
    ours = sample(masked, left + right, negative, cfg)
    theirs = sample(patched, left_bound + right, theirs_negative, cfg)
    assert tiny.relative(ours, sample(model, left + right, negative, cfg)) > EFFECT
    assert tiny.relative(ours, theirs) < ROUNDING


def test_a_percentage_area_cuts_the_mask_too(adapter: LoadedAdapter) -> None:
    masked = apply(twin().model, adapter, FEATURES, Settings(mask=left_half(soft=True)))
    in_pixels = sample(masked, prompt(1, area=LEFT) + prompt(2, area=RIGHT))
    percent = [prompt(i + 1, area=("percentage", 1.0, 0.5, 0.0, i * 0.5)) for i in range(2)]
    assert torch.equal(sample(masked, percent[0] + percent[1]), in_pixels)


def test_a_mask_cut_for_an_area_is_the_mask_of_a_picture_of_that_size(
    adapter: LoadedAdapter,
) -> None:
    """A prompt over the left half alone is a smaller picture with the left half of the mask."""
    model, mask = twin().model, left_half(soft=True)
    area = sample(apply(model, adapter, FEATURES, Settings(mask=mask)), prompt(1, area=LEFT))[
        ..., :12
    ]
    generator = torch.Generator().manual_seed(4)
    start = torch.randn(1, 4, HEIGHT, WIDTH, generator=generator)[..., :12].contiguous()
    small = comfy.sample.sample(
        apply(model, adapter, FEATURES, Settings(mask=mask[..., : 4 * WIDTH])),
        start,
        2,
        1.0,
        "euler",
        "normal",
        prompt(1),
        prompt(9),
        torch.zeros_like(start),
        disable_pbar=True,
        seed=1,
    )
    assert tiny.relative(area, small) < ROUNDING


def test_bounds_of_a_conditioning_mask_cut_the_mask(adapter: LoadedAdapter) -> None:
    model = twin().model
    bounds = {"mask": left_half(), "set_area_to_bounds": True, "mask_strength": 1.0}
    masked = apply(model, adapter, FEATURES, Settings(mask=1 - left_half()))
    black = sample(masked, prompt(1, **bounds) + prompt(2, area=RIGHT))
    patched, right_bound = bound(model, adapter, FEATURES, prompt(2, area=RIGHT))
    assert tiny.relative(black, sample(patched, prompt(1, **bounds) + right_bound)) < ROUNDING
    assert tiny.relative(black, sample(model, prompt(1, **bounds) + prompt(2, area=RIGHT))) > EFFECT


def test_bound_to_every_prompt_is_applied_to_the_model(adapter: LoadedAdapter) -> None:
    model, yes, no = twin().model, prompt(1), prompt(9)
    patched, yes_bound, no_bound = bound(model, adapter, OTHER, yes, no)
    everywhere = sample(apply(model, adapter, OTHER, Settings()), yes, no, 4.0)
    assert tiny.relative(everywhere, sample(model, yes, no, 4.0)) > EFFECT
    assert torch.equal(sample(patched, yes_bound, no_bound, 4.0), everywhere)


def test_what_is_bound_to_nothing_in_the_run_is_the_plain_model_bit_for_bit(
    adapter: LoadedAdapter,
) -> None:
    model, yes, no = twin().model, prompt(1), prompt(9)
    patched, yes_bound = bound(model, adapter, FEATURES, yes)
    assert torch.equal(sample(patched, yes, no, 4.0), sample(model, yes, no, 4.0))
    assert torch.equal(sample(model, yes_bound, no, 4.0), sample(model, yes, no, 4.0))


def with_negative(features: ImageFeatures, seed: int) -> ImageFeatures:
    """The same reference with another idea of none."""
    generator = torch.Generator().manual_seed(seed)
    assert features.negative_pooled is not None
    noise = torch.randn(features.negative_pooled.shape, generator=generator)
    return dataclasses.replace(features, negative_pooled=noise)


AREAS: dict[str, dict[str, Any]] = {
    "area": {"area": LEFT},
    "bounds": {"mask": left_half(), "set_area_to_bounds": True, "mask_strength": 1.0},
}


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("whole", [False, True])
def test_a_negative_prompt_that_is_not_bound_gets_nothing_of_an_area(
    adapter: LoadedAdapter, area: str, whole: bool
) -> None:
    """The host copies the area's prompt to the negative ones, with all that was set on it."""
    model = twin().model
    one, more = prompt(1, **AREAS[area]), prompt(2) if whole else prompt(2, area=RIGHT)
    pictures: list[Tensor] = []
    for seed in (1, 2):
        patched, marked = bound(model, adapter, with_negative(FEATURES, seed), one)
        pictures.append(sample(patched, marked + more, prompt(9), 4.0))
    assert torch.equal(pictures[0], pictures[1])
    assert tiny.relative(pictures[0], sample(model, one + more, prompt(9), 4.0)) > 1e-3
    # Where the negative prompt is bound, it makes a difference.
    with_both: list[Tensor] = []
    for seed in (1, 2):
        patched, marked, no = bound(model, adapter, with_negative(FEATURES, seed), one, prompt(9))
        with_both.append(sample(patched, marked + more, no, 4.0))
    assert tiny.relative(with_both[0], with_both[1]) > 1e-3


def test_a_bound_negative_prompt_is_not_for_the_positive(adapter: LoadedAdapter) -> None:
    model, corner = twin().model, prompt(9, area=(8, 12, 4, 8))
    pictures: list[Tensor] = []
    for features in (FEATURES, tiny.random_features(1, seed=66)):
        features = dataclasses.replace(
            features, negative_pooled=with_negative(FEATURES, 1).negative_pooled
        )
        patched, marked = bound(model, adapter, features, corner)
        pictures.append(sample(patched, prompt(1), prompt(8) + marked, 4.0))
    assert torch.equal(pictures[0], pictures[1])
    assert tiny.relative(pictures[0], sample(model, prompt(1), prompt(8) + corner, 4.0)) > 1e-4


def test_each_prompt_gets_its_own_reference(adapter: LoadedAdapter) -> None:
    model = twin().model
    one, two = prompt(1, area=LEFT), prompt(2, area=RIGHT)
    first, one_bound = bound(model, adapter, FEATURES, one)
    both, two_bound = bound(first, adapter, OTHER, two)
    picture = sample(both, one_bound + two_bound)
    left = sample(bound(model, adapter, FEATURES, one)[0], one_bound + two)
    assert tiny.relative(picture, left) > EFFECT
    crossed = sample(both, mark(one, patches.prompts_of(both).prompts[1].binding) + two_bound)
    assert tiny.relative(picture, crossed) > EFFECT
    # The two areas do not overlap: each half is what its own reference makes of it.
    alone = sample(first, one_bound)[..., :12]
    assert tiny.relative(picture[..., :12], alone) < ROUNDING
    regional = Regions((Region(FEATURES, left_half(), 1.0), Region(OTHER, 1 - left_half(), 1.0)))
    masked = sample(apply(model, adapter, regional, Settings()), one + two)
    assert tiny.relative(picture, masked) < ROUNDING


def test_binding_again_keeps_what_was_bound_before(adapter: LoadedAdapter) -> None:
    model, yes = twin().model, prompt(1)
    first, once = bound(model, adapter, FEATURES, yes)
    second, twice = bound(first, adapter, OTHER, once)
    both = apply(apply(model, adapter, FEATURES, Settings()), adapter, OTHER, Settings())
    assert tiny.relative(sample(second, twice), sample(both, yes)) < ROUNDING
    assert len(once[0][1]) == 1 and yes[0][1] == {}


def test_bound_references_with_hooks_and_other_values_of_a_prompt(adapter: LoadedAdapter) -> None:
    model = twin().model
    values = {"strength": 0.6, "start_percent": 0.0, "end_percent": 0.4}
    yes = node_helpers.conditioning_set_values(prompt(1), values)
    patched, yes_bound = bound(model, adapter, FEATURES, yes)
    assert {key: yes_bound[0][1][key] for key in values} == values
    everywhere = apply(model, adapter, FEATURES, Settings())
    assert tiny.relative(
        sample(patched, yes_bound + prompt(2)), sample(everywhere, yes + prompt(2))
    ) > (1e-3)
    assert (
        tiny.relative(sample(patched, yes_bound + prompt(2)), sample(model, yes + prompt(2))) > 1e-3
    )


def test_regions_add_up(adapter: LoadedAdapter) -> None:
    """Each reference has an attention of its own: two full regions are two adapters applied."""
    model = twin().model
    regions = Regions((Region(FEATURES, None, 0.7), Region(OTHER, torch.ones(1, 8, 8), 0.3)))
    one_node = sample(apply(model, adapter, regions, Settings(0.5)), prompt(1))
    chain = apply(model, adapter, FEATURES, Settings(0.35))
    chain = apply(chain, adapter, OTHER, Settings(0.15))
    assert tiny.relative(one_node, sample(chain, prompt(1))) < ROUNDING
    assert tiny.relative(one_node, sample(model, prompt(1))) > EFFECT
