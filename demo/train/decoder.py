"""Trains the way back from latents to pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from . import diffusion
from .drawings import WORDS, draw, random_styles
from .loop import Job, train

BATCH = 12
RATE = 2e-3
_BLUR = 0.06  # latents out of a sampler are never as clean as those of a drawing


def train_decoder(job: Job) -> None:
    from toy_nodes.vae import ToyVAE, to_latents

    vae = ToyVAE().to(job.device)
    diffusion.initialise(vae)
    torch.nn.init.zeros_(vae.leave.weight)
    job.begin("vae", vae)

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        words = torch.randint(len(WORDS), (BATCH,), generator=generator)
        pictures = draw(words, random_styles(BATCH, generator), generator)
        latents = to_latents(pictures)
        latents = latents + _BLUR * torch.randn(latents.shape, generator=generator)
        seen = vae.decode(latents.to(job.device)) / 2 + 0.5
        return functional.l1_loss(seen, pictures.to(job.device))

    averaged = train(vae, loss_of, job.plan("vae", RATE, average=0.995))
    job.keep("vae", averaged.state_dict())
