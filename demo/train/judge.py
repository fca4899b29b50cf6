"""A small classifier that learned from drawings and judges what the toy models make."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from toys import NODES

from .diffusion import initialise
from .drawings import TEXTURES, WORDS, draw, random_styles
from .loop import Job, train

BATCH = 48
RATE = 2e-3
_SIZE = 64
_GRAIN = 0.04  # noise on the drawings it learns from


class Judge(nn.Module):
    """Pictures (n, 3, height, width) in 0..1 -> (n, words) and (n, textures)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 48, 64, 64)
        self.steps = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.last = nn.Linear(64 * 16, len(WORDS) + len(TEXTURES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.interpolate(pictures, size=(_SIZE, _SIZE), mode="area") * 2 - 1
        for step in self.steps:
            x = functional.max_pool2d(functional.relu(step(x)), 2)
        words, textures = self.last(x.flatten(1)).split([len(WORDS), len(TEXTURES)], 1)
        return words, textures


def train_judge(job: Job) -> None:
    judge = Judge()
    initialise(judge)
    job.begin("judge", judge)
    judge.to(job.device)

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step + 50_000)
        words = torch.randint(len(WORDS), (BATCH,), generator=generator)
        styles = random_styles(BATCH, generator)
        pictures = draw(words, styles, generator, _SIZE)
        pictures = pictures + _GRAIN * torch.randn(pictures.shape, generator=generator)
        logits, textures = judge(pictures.to(job.device))
        return functional.cross_entropy(logits, words.to(job.device)) + functional.cross_entropy(
            textures, styles.texture.to(job.device)
        )

    averaged = train(judge, loss_of, job.plan("judge", RATE, average=0.99))
    job.keep("judge", averaged.state_dict())


def load_judge(path: Path = NODES / "weights" / "judge.safetensors") -> Judge:
    judge = Judge()
    judge.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    return judge.eval().requires_grad_(False)


def word_agreement(judge: Judge, pictures: Tensor, word: int) -> float:
    """Part of the pictures (n, height, width, 3) that show the word."""
    logits, _ = judge(pictures.movedim(-1, 1))
    return float((logits.argmax(1) == word).float().mean())


def texture_agreement(judge: Judge, pictures: Tensor, textures: Tensor) -> float:
    """Part of the pictures (n, height, width, 3) that show their texture, an index each."""
    _, logits = judge(pictures.movedim(-1, 1))
    return float((logits.argmax(1) == textures).float().mean())
