"""Which attention kernel image prompts use, and whether torch.compile is at work."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

import comfy.ldm.modules.attention as host_attention
from comfy.ldm.modules.attention import attention_pytorch, optimized_attention
from torch import Tensor

# Kernels that do not know `low_precision_attention`, as of 0.33.
_QUANTISED_KERNELS = ("attention_comfy_kitchen_int8", "attention3_sage")
# What looks at Python's frames at present, None if nothing does; older torch does not tell.
# `is_compiling` is false in a frame that was looked at and left to Python, and true of its callees.
compiler = cast(
    "Callable[[], object | None]",
    getattr(import_module("torch._C._dynamo.eval_frame"), "get_eval_frame_callback", lambda: True),
)


def unquantised_attention() -> Callable[..., Tensor]:
    """The host's attention, unless it is one of those that quantise whatever they are asked."""
    for name in _QUANTISED_KERNELS:
        if optimized_attention is getattr(host_attention, name, None):
            return attention_pytorch
    return optimized_attention
