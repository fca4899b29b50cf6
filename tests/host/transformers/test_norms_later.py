"""SD3.5's keys follow the norms that the model has when it runs, not those at Apply."""

from __future__ import annotations

import pytest
import torch
from kit.models import tiny, transformer_cases, transformers
from kit.models.transformer_cases import SD3, Given
from kit.models.transformers import make_call, sample_host
from pack.ip_models.attention import timed_keys
from pack.nodes.host.model import patches

ROUNDING, EFFECT = 2e-6, 0.01


def test_norms_that_are_patched_after_apply_count_as_those_before() -> None:
    pair, call = transformers.tiny_sd3(), make_call()
    state = pair.model.model.state_dict()
    generator = torch.Generator().manual_seed(4)
    patch = {
        key: ("diff", (2.0 * torch.rand(value.shape, generator=generator),))
        for key, value in state.items()
        if ".x_block.attn.ln_" in key
    }
    assert patch
    before = pair.model.clone()
    before.add_patches(patch, 1.0)
    first = transformer_cases.patched(pair, SD3, Given(), model=before)
    later = transformer_cases.patched(pair, SD3, Given())
    untouched = sample_host(pair, later, call, 3.0)
    later.add_patches(patch, 1.0)
    out = sample_host(pair, later, call, 3.0)
    assert tiny.relative(out, sample_host(pair, first, call, 3.0)) < ROUNDING
    assert tiny.relative(out, untouched) > EFFECT


def test_where_there_is_no_room_for_all_each_level_is_made_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where there is no room for all, those that are past make way."""
    pair, call = transformers.tiny_sd3(), make_call()
    model = transformer_cases.patched(pair, SD3, Given())
    (prompt,) = patches.prompts_of(model).prompts
    keys = prompt.keys
    monkeypatch.setattr(timed_keys, "_MOST_BYTES", 3 * keys._level_bytes)
    made: list[float] = []
    original = keys._make

    def counted(levels: list[float]) -> object:
        made.extend(levels)
        return original(levels)

    keys._make = counted
    sample_host(pair, model, call, 3.0, 8)
    assert len(made) == len(set(made)) == 8
    assert made == sorted(made, reverse=True)
    assert not keys._levels
