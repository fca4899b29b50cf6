"""A small classifier of the drawn shapes, which judges what the toy models make."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .diffusion import initialise
from .drawings import WORDS, draw, random_styles
from .loop import Plan, train

BATCH = 48
STEPS = 700
_SIZE = 64


class Judge(nn.Module):
    """Pictures (n, 3, height, width) in 0..1 -> (n, words)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 48, 64, 64)
        self.steps = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.last = nn.Linear(64 * 16, len(WORDS))

    def forward(self, pictures: Tensor) -> Tensor:
        x = functional.interpolate(pictures, size=(_SIZE, _SIZE), mode="area") * 2 - 1
        for step in self.steps:
            x = functional.max_pool2d(functional.relu(step(x)), 2)
        return self.last(x.flatten(1))


def trained_judge(folder: Path) -> Judge:
    """Trained once and kept; about a minute."""
    judge = Judge()
    kept = folder / "judge_done.pt"
    if kept.is_file():
        judge.load_state_dict(torch.load(kept, weights_only=True))
        return judge.eval()
    initialise(judge)

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step + 50_000)
        words = torch.randint(len(WORDS), (BATCH,), generator=generator)
        pictures = draw(words, random_styles(BATCH, generator), generator, _SIZE)
        pictures = pictures + 0.03 * torch.randn(pictures.shape, generator=generator)
        return functional.cross_entropy(judge(pictures), words)

    averaged = train(judge, loss_of, Plan("judge", STEPS, 2e-3, folder / "judge.pt", 0.99))
    torch.save(averaged.state_dict(), kept)
    judge.load_state_dict(averaged.state_dict())
    return judge.eval()


@torch.no_grad()
def agreement(judge: Judge, pictures: Tensor, words: Tensor) -> float:
    """Part of the pictures (n, height, width, 3) that show what their word says."""
    return float((judge(pictures.movedim(-1, 1)).argmax(1) == words).float().mean())
