"""The small transformers compute in ComfyUI what they compute in diffusers, without an adapter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kit.models import transformers
from kit.models.tiny import relative
from kit.models.transformers import Pair, make_call, run_host, run_reference

PAIRS = (
    transformers.tiny_flux,
    transformers.tiny_chroma,
    transformers.tiny_sd3,
    transformers.full_flux,
    transformers.full_chroma,
    transformers.full_sd3,
)
every_pair = pytest.mark.parametrize("build", PAIRS, ids=lambda build: build.__name__)


@every_pair
def test_one_call(build: Callable[[], Pair]) -> None:
    pair = build()
    call = make_call()
    ours, theirs = run_host(pair, pair.model, call), run_reference(pair, call)
    assert ours.shape == theirs.shape == call.x.shape
    assert relative(ours, theirs) < 1e-6
    # Both rows differ, and both depend on the noise level: the comparison sees all inputs.
    negative, positive = theirs.chunk(2)
    assert relative(negative, positive) > 0.1
    later = run_reference(pair, make_call(sigma=0.2))
    assert relative(later, theirs) > 1e-3


@pytest.mark.parametrize("cfg", (1.0, 3.0))
@every_pair
def test_a_run_of_the_sampler(build: Callable[[], Pair], cfg: float) -> None:
    pair = build()
    call = make_call()
    ours = transformers.sample_host(pair, pair.model, call, cfg)
    theirs = transformers.sample_reference(pair, call, cfg, lambda now: run_reference(pair, now))
    assert relative(ours, theirs) < 2e-6


@every_pair
def test_odd_latents_run_in_the_host(build: Callable[[], Pair]) -> None:
    pair = build()
    call = make_call(height=15, width=13)
    assert run_host(pair, pair.model, call).shape == call.x.shape
