"""What an image prompt adds to a call of a transformer, by count and not by clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import comfy.ldm.modules.attention as host_attention
import pytest
import torch
from bench.counter import Counts, measure
from kit.models import transformer_cases, transformers
from kit.models.transformer_cases import INSTANTX, SD3, XLABS, Given, Layout
from kit.models.transformers import Call, Pair, make_call, run_host
from pack.nodes.host.model.backbones import kernel

CPU = torch.device("cpu")
# Of each layer: attention, a copy of what it gives, and adding; for SD3.5 attention, the own keys
# times a factor, two joinings, and adding. Who goes by the noise level reads it once in a call.
MOST = {id(XLABS): 3, id(INSTANTX): 3, id(SD3): 5}
CASES = [
    pytest.param(build, layout, id=f"{build.__name__}-{name}")
    for build, layout, name in (
        (transformers.tiny_flux, XLABS, "XLabs"),
        (transformers.tiny_flux, INSTANTX, "InstantX"),
        (transformers.full_flux, INSTANTX, "InstantX"),
        (transformers.full_chroma, XLABS, "XLabs"),
        (transformers.tiny_sd3, SD3, "SD3.5"),
        (transformers.full_sd3, SD3, "SD3.5"),
    )
]
every_case = pytest.mark.parametrize(("build", "layout"), CASES)


@pytest.fixture(autouse=True, scope="module")
def _counted_attention() -> Iterator[None]:
    """PyTorch's attention, which is one kernel."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (host_attention, kernel):
            patch.setattr(module, "optimized_attention", host_attention.attention_pytorch)
        yield


def counted(pair: Pair, model: Any, call: Call) -> Counts:
    """Work of a call that is not the first of its kind: keys and masks are on the device."""
    run_host(pair, model, call)
    return measure(lambda: run_host(pair, model, call), pair.model.model.diffusion_model, CPU)


def added(pair: Pair, layout: Layout, call: Call, *given: Given) -> Counts:
    """What the image prompts add to a call without them."""
    model = transformer_cases.patched(pair, layout, *given)
    return counted(pair, model, call) - counted(pair, pair.model, call)


def heard_by(pair: Pair, layout: Layout) -> int:
    """Blocks that have a layer in such an adapter."""
    return pair.doubles if layout is XLABS else pair.blocks


def mask() -> torch.Tensor:
    """Half of the patches of the usual call."""
    return torch.linspace(0, 1, 48).reshape(8, 6)


@every_case
@pytest.mark.parametrize(
    ("given", "batch"),
    (
        ((Given(),), 1),
        ((Given(3),), 2),
        ((Given(grid=mask()),), 1),
        ((Given(grid=mask()), Given(seed=2, grid=1 - mask())), 1),
    ),
    ids=("plain", "3 references, batch 2", "mask", "two adapters with masks"),
)
def test_a_few_kernels_for_each_layer_and_nothing_else(
    build: Callable[[], Pair], layout: Layout, given: tuple[Given, ...], batch: int
) -> None:
    pair = build()
    more = added(pair, layout, make_call(batch), *given)
    layers, read = len(given) * heard_by(pair, layout), 1 if layout is SD3 else 0
    # Where two pictures share a reference, its key and its value are copied for the second.
    most = MOST[id(layout)] + (2 if batch > 1 else 0)
    assert more.attention == layers
    assert layers < more.kernels <= most * layers + read
    assert more.products == 0
    assert more.syncs == read


@every_case
def test_who_is_not_heard_costs_a_look_at_the_noise_level(
    build: Callable[[], Pair], layout: Layout
) -> None:
    pair, call = build(), make_call()
    model = transformer_cases.patched(pair, layout, Given(), end_percent=0.2)
    late = replace(call, sigma=0.05)
    more = counted(pair, model, late) - counted(pair, pair.model, late)
    assert more.attention == more.products == 0
    assert (more.kernels, more.syncs) == (1, 1)
