"""Transformers whose weights are stored in few bits, or that work in half precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from kit.models import transformer_cases, transformers
from kit.models.tiny import relative
from kit.models.transformer_cases import INSTANTX, SD3, XLABS, Given, Layout
from kit.models.transformers import Pair, Precision, make_call, run_host, run_reference

STORED = Precision(torch.float8_e4m3fn)
HALF = Precision(torch.bfloat16, torch.bfloat16)
CASES = [
    pytest.param(build, layout, id=f"{build.__name__}-{name}")
    for build, layout, name in (
        (transformers.tiny_flux, XLABS, "XLabs"),
        (transformers.tiny_flux, INSTANTX, "InstantX"),
        (transformers.tiny_sd3, SD3, "SD3.5"),
    )
]
every_case = pytest.mark.parametrize(("build", "layout"), CASES)


@every_case
def test_weights_stored_in_eight_bits(build: Callable[..., Pair], layout: Layout) -> None:
    pair, call, given = build(STORED), make_call(), Given()
    weight = next(pair.model.model.diffusion_model.parameters())
    assert weight.dtype == torch.float8_e4m3fn
    ours = run_host(pair, transformer_cases.patched(pair, layout, given), call)
    theirs = transformer_cases.stepping(pair, layout, given)(call)
    assert relative(theirs, run_reference(pair, call)) > 0.05
    assert relative(ours, theirs) < 1e-6


@every_case
def test_half_precision_costs_little_more_than_without_a_reference(
    build: Callable[..., Pair], layout: Layout
) -> None:
    """diffusers in half precision with InstantX' adapter is 1.7 times as far off as without it."""
    pair, call, given = build(HALF), make_call(), Given()
    ours = run_host(pair, transformer_cases.patched(pair, layout, given), call)
    assert ours.dtype == torch.bfloat16
    error = relative(ours, transformer_cases.stepping(pair, layout, given)(call))
    plain = relative(run_host(pair, pair.model, call), run_reference(pair, call))
    assert error < 2 * plain
