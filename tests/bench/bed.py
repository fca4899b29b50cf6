"""An unpatched MODEL and the KSampler runs it is measured in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.sample
import torch
from kit.models import tiny
from torch import Tensor

_PROMPT_LENGTH = 8
_SIZE = {"width": 512, "height": 512, "target_width": 512, "target_height": 512}


@dataclass(frozen=True, eq=False)
class Bed:
    """An unpatched MODEL and what it is asked to paint.

    Attributes:
        family: "sd1" or "sdxl".
        widths: width of each cross-attention layer.
        rows: height and width of the latent.
        tokens: of each prompt.
    """

    family: str
    model: Any
    widths: tuple[int, ...]
    rows: int
    tokens: int = _PROMPT_LENGTH

    @property
    def device(self) -> torch.device:
        """Where the MODEL runs."""
        return self.model.load_device

    @property
    def unet(self) -> torch.nn.Module:
        """The module whose calls are counted."""
        return self.model.model.diffusion_model

    def sample(
        self, model: Any, steps: int, batch: int = 1, after: Callable[..., None] | None = None
    ) -> Tensor:
        """ComfyUI's own KSampler with guidance, so positive and negative prompt in one call.

        Args:
            after: called by the sampler after each step.
        """
        context, options = (768, {}) if self.family == "sd1" else (2048, dict(_SIZE))
        generator = torch.Generator().manual_seed(4)
        prompts = [torch.randn(1, self.tokens, context, generator=generator) for _ in range(2)]
        if self.family == "sdxl":
            options["pooled_output"] = torch.randn(1, 1280, generator=generator)
        noise = torch.randn(batch, 4, self.rows, self.rows, generator=generator)
        positive, negative = ([[prompt, dict(options)]] for prompt in prompts)
        return comfy.sample.sample(
            model,
            noise,
            steps,
            5.0,
            "euler",
            "normal",
            positive,
            negative,
            torch.zeros_like(noise),
            callback=after,
            disable_pbar=True,
            seed=1,
        )


@cache
def tiny_twins(family: str) -> tiny.Twins:
    """The tiny UNet of the tests, made once."""
    return tiny.twins(family)


@cache
def tiny_bed(family: str) -> Bed:
    """A UNet of the real topology and small widths, on ComfyUI's device."""
    twin = tiny_twins(family)
    model = comfy.model_patcher.ModelPatcher(
        twin.model.model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=torch.device("cpu"),
    )
    return Bed(family, model, tuple(twin.widths), rows=16)
