"""What all diffusion training shares: the noise of ComfyUI's schedule and the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def initialise(module: nn.Module, seed: int = 0) -> None:
    """Start as usual; ComfyUI's layers leave that out, because they are always loaded."""
    torch.manual_seed(seed)
    for child in module.modules():
        if isinstance(child, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_uniform_(child.weight, a=5**0.5)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.Embedding):
            nn.init.normal_(child.weight, std=0.02)
        elif isinstance(child, (nn.GroupNorm, nn.LayerNorm)):
            nn.init.ones_(child.weight)
            nn.init.zeros_(child.bias)


def zero_ends(unet: nn.Module) -> None:
    """Every block begins as "change nothing", which makes deep networks learn faster."""
    for name, child in unet.named_modules():
        if name.endswith(("out_layers.3", "proj_out", "out.2", "attn2.to_out.0")):
            for parameter in child.parameters():
                nn.init.zeros_(parameter)


def noised(
    latents: Tensor, sampling: Any, generator: torch.Generator, early: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Input of the UNet, its time step and what it should predict (v), for random times.

    Args:
        early: prefer times at which there is much noise, which is when colours are decided.
    """
    chance = torch.rand(len(latents), generator=generator)
    times = ((chance.sqrt() if early else chance) * len(sampling.sigmas)).long()
    sigma = sampling.sigmas[times.to(sampling.sigmas.device)].to(latents)[:, None, None, None]
    signal = (1 + sigma**2).rsqrt()
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    amount = sigma * signal
    return signal * latents + amount * noise, times.to(latents), signal * noise - amount * latents


def loss(
    unet: Callable[..., Tensor], batch: tuple[Tensor, Tensor, Tensor], context: Tensor, **more: Any
) -> Tensor:
    """Mean squared error of the prediction."""
    x, times, wanted = batch
    return nn.functional.mse_loss(unet(x, times, context=context, **more), wanted)
