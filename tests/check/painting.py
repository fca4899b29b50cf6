"""Noise, noise levels and prompts that both sides get, and the run of each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.sample
import comfy.samplers
import torch
from check.base import Base
from check.question import Question
from pack.ip_models.adapter.spec import Family
from torch import Tensor

# The estimate of the finished latent at a noise level, of both prompts.
Predict = Callable[[Tensor, Tensor], Tensor]

_SIDES = {Family.SD1: 512}
_TRAINED, _ON_CPU = 1024, 2
_CFG = {Family.FLUX: 1.0, Family.SD3: 4.5}
_USUAL_CFG = 7.0
_SCHEDULES = {Family.FLUX: "simple", Family.SD3: "simple"}
_NOISE_TOKENS, _POOLED = 77, 1280
GUIDANCE = 3.5


@dataclass(frozen=True)
class Prompt:
    """What a text encoder says, (1, tokens, width) and (1, width)."""

    context: Tensor
    pooled: Tensor | None


@dataclass(frozen=True)
class Painting:
    """What both sides start from; everything is on the CPU in single precision.

    Attributes:
        sampling: the host's rules of noise levels for this model.
        said_by: what made the prompts' embeddings.
    """

    side: int
    cfg: float
    noise: Tensor
    sigmas: Tensor
    positive: Prompt
    negative: Prompt
    sampling: Any
    said_by: str

    @property
    def steps(self) -> int:
        """Model calls of a run."""
        return len(self.sigmas) - 1


def set_up(base: Base, question: Question, on_cpu: bool) -> Painting:
    """Noise of the seed, noise levels and embeddings of both prompts."""
    family = base.family
    side = question.size or _SIDES.get(family, _TRAINED) // (_ON_CPU if on_cpu else 1)
    steps = question.steps or (4 if on_cpu else 10)
    sampling = base.model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, _SCHEDULES.get(family, "normal"), steps)
    generator = torch.Generator().manual_seed(question.seed)
    latent = base.latent
    factor = getattr(latent, "spacial_downscale_ratio", 8)
    noise = torch.randn(1, latent.latent_channels, *[side // factor] * 2, generator=generator)
    positive, negative, said_by = _prompts(base, question, generator)
    cfg = question.cfg or _CFG.get(family, _USUAL_CFG)
    return Painting(
        side, cfg, noise, sigmas.float().cpu(), positive, negative, _on_cpu(sampling), said_by
    )


def _on_cpu(sampling: Any) -> Any:
    return copy.deepcopy(sampling).to("cpu")


def _prompts(base: Base, question: Question, generator: Any) -> tuple[Prompt, Prompt, str]:
    if base.clip is not None:
        both = [_encode(base.clip, text) for text in (question.prompt, question.negative)]
        return both[0], both[1], "ComfyUI's text encoder of the checkpoint"
    width, pooled = _widths(base)

    def noise() -> Prompt:
        # The file tells no words: tokens as loud as those of a text encoder.
        rows = torch.randn(1, _NOISE_TOKENS, width, generator=generator)
        return Prompt(rows, torch.randn(1, pooled, generator=generator) if pooled else None)

    return noise(), noise(), "random numbers: the file has no text encoder"


def _encode(clip: Any, text: str) -> Prompt:
    context, pooled = clip.encode_from_tokens(clip.tokenize(text), return_pooled=True)
    return Prompt(context.float().cpu(), None if pooled is None else pooled.float().cpu())


def _widths(base: Base) -> tuple[int, int]:
    config = base.config
    if base.family is Family.FLUX:
        return config["context_in_dim"], config["vec_in_dim"] or 0
    if base.family is Family.SD3:
        return config["context_embedder_config"]["params"]["in_features"], config["adm_in_channels"]
    return config["context_dim"], _POOLED if config.get("adm_in_channels") else 0


def paint(model: Any, painting: Painting) -> list[Tensor]:
    """A run of the host's Euler sampler: its estimate of the finished latent at each step."""
    trace: list[Tensor] = []
    # The sizes that SDXL is told, and the guidance that Flux is.
    side = painting.side
    sizes = {"width": side, "height": side, "target_width": side, "target_height": side}
    positive, negative = (
        [[p.context, {"pooled_output": p.pooled, "guidance": GUIDANCE, **sizes}]]
        for p in (painting.positive, painting.negative)
    )

    def note(step: int, denoised: Tensor, x: Tensor, steps: int) -> None:
        trace.append(denoised.float().cpu().clone())

    comfy.sample.sample_custom(
        model,
        painting.noise,
        painting.cfg,
        comfy.samplers.sampler_object("euler"),
        painting.sigmas,
        positive,
        negative,
        torch.zeros_like(painting.noise),
        callback=note,
        disable_pbar=True,
        seed=1,
    )
    return trace


def paint_by(predict: Predict, painting: Painting) -> list[Tensor]:
    """The same run by a plain loop of Euler's method."""
    sampling, sigmas = painting.sampling, painting.sigmas
    nothing = torch.zeros_like(painting.noise)
    x = sampling.noise_scaling(sigmas[0], painting.noise, nothing, True)
    trace: list[Tensor] = []
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        denoised = predict(x, sigma[None])
        x = x + (x - denoised) / sigma * (following - sigma)
        trace.append(denoised)
    return trace


def guided(positive: Tensor, negative: Tensor, cfg: float) -> Tensor:
    """Classifier-free guidance as the host has it."""
    return negative + (positive - negative) * cfg


def decode(base: Base, latent: Tensor) -> tuple[Tensor, str]:
    """(height, width, 3) in 0..1, and what made it of the latent."""
    if base.vae is not None:
        outside = base.latent.process_out(latent)
        return base.vae.decode(outside)[0, ..., :3].float().cpu().clamp(0, 1), "the VAE"
    shown = latent[0, :3].movedim(0, -1)
    grown = (shown / 4 + 0.5).clamp(0, 1).repeat_interleave(8, 0).repeat_interleave(8, 1)
    return grown, "three channels of the latent: the file has no VAE"
