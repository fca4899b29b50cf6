"""Writes a random IP-Adapter file that fits the tiny models; needs no ComfyUI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

CHANNELS = 32
POOLED_WIDTH = 1024
TEXT_WIDTH = 768
_PUBLISHED_CHANNELS = 320
_TOKENS = 4

# Width of the attention layer behind each key number of ip-adapter_sd15.safetensors.
_LAYERS = {
    **dict.fromkeys((1, 3, 25, 27, 29), 320),
    **dict.fromkeys((5, 7, 19, 21, 23), 640),
    **dict.fromkeys((9, 11, 13, 15, 17, 31), 1280),
}


def write_tiny_adapter(path: Path, seed: int = 0) -> None:
    """Write random weights in the layout of ip-adapter_sd15.safetensors for `tiny_unet`."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        "image_proj.proj.weight": unit_scale((_TOKENS * TEXT_WIDTH, POOLED_WIDTH), generator),
        "image_proj.proj.bias": torch.zeros(_TOKENS * TEXT_WIDTH),
        "image_proj.norm.weight": torch.ones(TEXT_WIDTH),
        "image_proj.norm.bias": torch.zeros(TEXT_WIDTH),
    }
    for number, published in sorted(_LAYERS.items()):
        width = published * CHANNELS // _PUBLISHED_CHANNELS
        for name in ("to_k_ip", "to_v_ip"):
            key = f"ip_adapter.{number}.{name}.weight"
            state[key] = unit_scale((width, TEXT_WIDTH), generator)
    save_file({key: tensor.half() for key, tensor in state.items()}, path)


def unit_scale(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random weights that give an output as large as their input."""
    fan_in = torch.Size(shape[1:]).numel()
    return torch.empty(torch.Size(shape)).normal_(std=fan_in**-0.5, generator=generator)
