"""Copies from main memory that a call of the UNet waits for, counted without a GPU.

The UNet is moved to torch's meta device, which computes nothing and counts as another device. Such
a copy makes a GPU finish all that was asked of it before, so a step is to have none.
"""

from __future__ import annotations

from typing import Any

import torch
from bench.counter import OperatorLog
from torch import Tensor

_ELSEWHERE = torch.device("meta")
_CONTEXT = {"sd1": 768, "sdxl": 2048}


class _Uploads(OperatorLog):
    """Counts copies from the processor to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def record(self, func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        super().record(func, inputs, outputs)
        copies = func.overloadpacket.__name__ in ("_to_copy", "copy_")
        if copies and outputs and outputs[0].device == _ELSEWHERE:
            self.count += any(tensor.device.type == "cpu" for tensor in inputs)


def uploads(model: Any, family: str, pictures: int, calls: int = 2) -> list[int]:
    """Of each of some calls of a MODEL one after the other, whose UNet is moved away for good."""
    base = model.model.to(_ELSEWHERE)
    rows = 2 * pictures
    sigmas = torch.empty(rows, device=_ELSEWHERE)
    inputs = {"c_crossattn": torch.empty(rows, 8, _CONTEXT[family], device=_ELSEWHERE)}
    if family == "sdxl":
        inputs["y"] = torch.empty(rows, 2816, device=_ELSEWHERE)
    latent = torch.empty(rows, 4, 16, 16, device=_ELSEWHERE)
    options = model.model_options["transformer_options"]
    options = {**options, "cond_or_uncond": [1, 0], "sigmas": sigmas[:pictures]}
    found: list[int] = []
    for _ in range(calls):
        with torch.inference_mode(), _Uploads() as log:
            base.apply_model(latent, sigmas, transformer_options=dict(options), **inputs)
        found.append(log.count)
    return found
