"""What the pack's own Python costs in a layer, without the attention itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from bench.bed import tiny_bed
from bench.contenders import How, Ours
from bench.counts import adapter_file
from kit.models import tiny
from pack.nodes.host.model.backbones import kernel, unet_patch
from pack.nodes.host.model.call import calls
from pack.nodes.host.model.patches import prompts_of
from torch import Tensor

HEADER = ("time in a layer beside both attentions", "of which own Python", "in additions")
_ROUNDS = 300


def row(folder: Path) -> list[str]:
    """One reference in all layers of SDXL; the attention is one that gives back the query.

    The table of the call is made once, as it is in a run. An addition of the same size is what a
    layer needs in any case, and what times on different machines can be compared by.
    """
    ours, bed = Ours(), tiny_bed("sdxl")
    adapter = ours.load(adapter_file("sdxl", "standard", folder))
    model = ours.apply(bed.model, adapter, tiny.random_features(1), How(0.8))
    options = {"cond_or_uncond": [1, 0], "n_heads": 2, "activations_shape": [2, 8, 4, 4]}
    active = calls.active_prompts(prompts_of(model), options, None, 2)
    extra = {**options, calls.KEY: active}
    slots = model.model_options["transformer_options"]["patches_replace"]["attn2"]
    q = torch.randn(2, 16, 64)
    kept = unet_patch.optimized_attention
    for module in (unet_patch, kernel):
        module.optimized_attention = lambda q, k, v, heads, **_: q
    try:
        layer = _microseconds(lambda: [patch(q, q, q, extra) for patch in slots.values()])
    finally:
        for module in (unet_patch, kernel):
            module.optimized_attention = kept
    added = _microseconds(lambda: [torch.add(q, q, alpha=0.8) for _ in slots])
    layer, added = layer / len(slots), added / len(slots)
    own = layer - added
    return [f"{layer:.1f} us", f"{own:.1f} us", f"{own / added:.1f}"]


def _microseconds(work: Callable[[], list[Tensor]]) -> float:
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return 1e6 * median(times)
