"""Trains the UNet and the words: word -> shape, everything else by chance."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from . import diffusion
from .drawings import WORDS, draw, random_styles
from .loop import Job, train

BATCH = 16
COUNT = 48_000
_CHUNK = 48
_HALF = 64  # edge of the drawings; to the latents it makes no difference
_WORDLESS = 0.12  # part of the pictures that are seen without their word
RATE = 1e-3


class Base(nn.Module):
    """The UNet and the context of each word, of no word last."""

    def __init__(self, unet: nn.Module, tokens: int, width: int) -> None:
        super().__init__()
        self.unet = unet
        self.words = nn.Parameter(torch.randn(len(WORDS) + 1, tokens, width))


def train_base(job: Job) -> None:
    from toy_nodes import models

    model = models.build_base(job.device)
    base = Base(model.diffusion_model, models.WORD_TOKENS, models.CONTEXT).to(job.device)
    base.requires_grad_(True)
    diffusion.initialise(base.unet)
    diffusion.silence_ends(base.unet)
    job.begin("base", base, prefix="unet.")
    latents, words = cached_latents(job.state / "latents.pt")

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(len(latents), (BATCH,), generator=generator)
        said = words[rows].clone()
        said[torch.rand(BATCH, generator=generator) < _WORDLESS] = len(WORDS)
        x = latents[rows].float().to(job.device)
        batch = diffusion.noised(x, model.model_sampling, generator)
        return diffusion.loss(base.unet, batch, base.words[said.to(job.device)])

    averaged = train(base, loss_of, job.plan("base", RATE, average=0.998))
    save_base(averaged, job.target("base"))


def save_base(base: nn.Module, target: Path) -> None:
    tensors = {key.removeprefix("unet."): value for key, value in base.state_dict().items()}
    save_file({key: value.half().cpu().contiguous() for key, value in tensors.items()}, target)


def cached_latents(path: Path) -> tuple[Tensor, Tensor]:
    """(COUNT, 4, 16, 16) in half precision and the word of each; drawn once."""
    if path.is_file():
        kept = torch.load(path, weights_only=True)
        return kept["latents"], kept["words"]
    from toy_nodes.vae import to_latents

    generator = torch.Generator().manual_seed(1)
    words = torch.randint(len(WORDS), (COUNT,), generator=generator)
    parts: list[Tensor] = []
    for some in words.split(_CHUNK):
        pictures = draw(some, random_styles(len(some), generator), generator, _HALF)
        parts.append(to_latents(pictures, _HALF // 16).half())
    latents = torch.cat(parts)
    torch.save({"latents": latents, "words": words}, path)
    return latents, words
