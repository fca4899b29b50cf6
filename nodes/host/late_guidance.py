"""Euler on the schedule of XLabs-AI/x-flux with true guidance from a step on.

The host's sampler does it. The schedule is that of black-forest-labs/flux, `sampling.py`
(Apache-2.0), shifted by the number of patches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import node_helpers
import torch
from torch import Tensor

from .protocols import Conditioning, Model

_FEWEST, _LEAST_SHIFT = 256, 0.5
_MOST, _MOST_SHIFT = 4096, 1.15
_PATCH = 4  # latent pixels


@dataclass(frozen=True)
class LateGuidance:
    """When the negative prompt counts.

    Attributes:
        scale: of guidance.
        first: step from which on there is any, from 0.
        steps: of the whole schedule.
        share: of these steps that is run, 0..1.
    """

    scale: float
    first: int
    steps: int
    share: float = 1.0

    def sigmas(self, latent: Tensor) -> Tensor:
        """Noise levels for a latent of (n, channels, height, width)."""
        patches = latent.shape[-2] * latent.shape[-1] / _PATCH
        slope = (_MOST_SHIFT - _LEAST_SHIFT) / (_MOST - _FEWEST)
        shift = math.exp(_LEAST_SHIFT + slope * (patches - _FEWEST))
        times = torch.linspace(1, 0, self.steps + 1)
        levels = shift / (shift + (1 / times - 1))
        return levels if self.share > 0.99 else levels[: int(len(levels) * self.share)]


class _Guider(comfy.samplers.CFGGuider):
    """Guidance of 1 until a noise level is reached."""

    begins = 0.0
    scale = 1.0

    def predict_noise(self, x: Tensor, timestep: Tensor, *args: Any, **kwargs: Any) -> Any:
        """See the host's; a scale of 1 leaves the negative prompt out."""
        heard = float(timestep.max()) <= self.begins * (1 + 1e-6)
        self.set_cfg(self.scale if heard else 1.0)
        return super().predict_noise(x, timestep, *args, **kwargs)


def sample(
    model: Model,
    prompts: Sequence[Conditioning],
    latent: dict[str, Any],
    seed: int,
    late: LateGuidance,
    strength: float,
) -> dict[str, Any]:
    """A LATENT made of noise, or of a latent that is not empty.

    Args:
        prompts: positive and negative; the guidance of the first counts for both, 1 if it has none.
        strength: how much of a latent is made anew, 0..1.
    """
    given: Tensor = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    sigmas = late.sigmas(given)
    guidance = float(prompts[0][0][1].get("guidance", 1.0))
    positive, negative = (
        node_helpers.conditioning_set_values(prompt, {"guidance": guidance}) for prompt in prompts
    )
    guider = _Guider(model)
    guider.set_conds(positive, negative)
    guider.scale = late.scale
    if bool(given.any()):  # the picture of a latent, from the level that its strength leaves
        share = min(max(strength, 0.0), 1.0)
        sigmas = sigmas[min(int((1 - share) * len(sigmas)), max(0, len(sigmas) - 1)) :]
        if len(sigmas) < 2:
            return {**latent, "samples": given}
    # Steps are counted from where the run begins.
    guider.begins = float(sigmas[late.first]) if late.first < len(sigmas) - 1 else -1.0
    noise = comfy.sample.prepare_noise(given, seed, latent.get("batch_index"))
    base: Any = model.model
    space = base.latent_format
    if len(sigmas) < 2:  # no step at all: the noise it would have begun with
        return {**latent, "samples": space.process_out(noise)}
    samples = guider.sample(
        noise,
        given,
        comfy.samplers.sampler_object("euler"),
        sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=latent_preview.prepare_callback(model, len(sigmas) - 1),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    # The host takes the noise that is left for a scale of the picture, x-flux leaves it in.
    left = 1 - float(sigmas[-1])
    samples = samples if left == 1 else space.process_out(space.process_in(samples) * left)
    return {**latent, "samples": samples}
