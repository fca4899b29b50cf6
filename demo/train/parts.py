"""The parts of the toy models: how long each is trained, and what must be there before."""

from __future__ import annotations

import torch

from .loop import Job

STEPS = {
    "base": 3600,
    "captions": 5200,
    "vae": 1500,
    "encoder": 2500,
    "judge": 900,
    "standard": 4000,
    "plus": 4000,
}
NEEDS = {
    "captions": ["base"],
    "standard": ["captions", "encoder"],
    "plus": ["captions", "encoder"],
}
SEED = 20


def train_part(part: str, job: Job) -> None:
    """Train a part, or go on where it was stopped."""
    from . import adapters, base, decoder, encoder, judge

    trainings = {
        "base": base.train_base,
        "captions": base.train_captions,
        "vae": decoder.train_decoder,
        "encoder": encoder.train_encoder,
        "judge": judge.train_judge,
    }
    torch.manual_seed(SEED)
    if part in trainings:
        trainings[part](job)
    else:
        adapters.train_adapter(part, job)
    if part == "encoder" and job.until is None:
        adapters.cached_pairs(job)  # here, because both adapters wait for it
