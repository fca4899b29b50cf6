"""Trains the image encoder to say what is in a drawing: word, colours, texture, background."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import diffusion
from .attention import attend
from .drawings import BACKGROUNDS, TEXTURES, WORDS, Style, draw, random_styles
from .loop import Job, train

BATCH = 24
RATE = 1e-3
_ANSWERS = {"word": len(WORDS), "texture": len(TEXTURES), "background": len(BACKGROUNDS)}
_COLOURS = 12


class Pupil(nn.Module):
    """The encoder and the questions it is asked; only the encoder is kept."""

    def __init__(self, vision: Any, hidden: int, pooled: int) -> None:
        super().__init__()
        self.vision = vision
        self.pooled = nn.Linear(pooled, _COLOURS + sum(_ANSWERS.values()))
        self.patch = nn.Linear(hidden, 3)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Answers about the whole picture, and the mean colour of each patch."""
        pooled, penultimate = features(self.vision, pixels)
        return self.pooled(pooled), self.patch(penultimate[:, 1:])


def features(vision: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Pooled and penultimate features of normalised pictures.

    The host's own forward adds in place, which training does not allow.
    """
    model = vision.vision_model
    x = model.pre_layrnorm(model.embeddings(pixels))
    before = x
    for layer in model.encoder.layers:
        before = x
        x = x + layer.self_attn(layer.layer_norm1(x), None, _attention)
        x = x + layer.mlp(layer.layer_norm2(x))
    return vision.visual_projection(model.post_layernorm(x[:, 0])), before


def _attention(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Any = None, **_: Any) -> Tensor:
    return attend(q, k, v, heads)


def normalise(pictures: Tensor, encoder: Any) -> Tensor:
    """As ComfyUI does it, rounding to whole levels included."""
    levels = (pictures * 255).clamp(0, 255).round() / 255
    mean, spread = (
        pictures.new_tensor(v)[:, None, None] for v in (encoder.image_mean, encoder.image_std)
    )
    return (levels - mean) / spread


def train_encoder(job: Job) -> None:
    from toy_nodes import models

    encoder = models.build_encoder()
    encoder.model.float()  # the host may have chosen half precision, in which nothing is learned
    settings = models.VISION_CONFIG
    pupil = Pupil(encoder.model, int(settings["hidden_size"]), int(settings["projection_dim"]))
    pupil.to(job.device).requires_grad_(True)
    diffusion.initialise(pupil)
    nn.init.normal_(encoder.model.vision_model.embeddings.class_embedding, std=0.5)
    job.begin("encoder", pupil, prefix="vision.")

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        words = torch.randint(len(WORDS), (BATCH,), generator=generator)
        styles = random_styles(BATCH, generator)
        pictures = draw(words, styles, generator).to(job.device)
        about, patches = pupil(normalise(pictures, encoder))
        size = int(settings["patch_size"])
        means = functional.avg_pool2d(pictures, size).flatten(2).transpose(1, 2)
        answers = {"word": words, "texture": styles.texture, "background": styles.background}
        total = 10 * functional.mse_loss(patches, means)
        total = total + 10 * _colour_loss(
            about[:, :_COLOURS].unflatten(1, (4, 3)), styles, job.device
        )
        rest = about[:, _COLOURS:].split(list(_ANSWERS.values()), 1)
        for given, right in zip(rest, answers.values(), strict=True):
            total = total + 0.3 * functional.cross_entropy(given, right.to(job.device))
        return total

    averaged = train(pupil, loss_of, job.plan("encoder", RATE, average=0.995))
    job.keep("encoder", averaged.get_submodule("vision").state_dict())
    (job.state / "pairs.pt").unlink(missing_ok=True)  # of the encoder before


def _colour_loss(predicted: Tensor, styles: Style, device: torch.device) -> Tensor:
    """A colour that is not in the picture is not asked for."""
    seen = torch.ones(len(predicted), 4, 1, device=device)
    seen[:, 1, 0] = (styles.texture != 0).float().to(device)
    seen[:, 3, 0] = (styles.background != 0).float().to(device)
    return ((predicted - styles.colours.to(device)) ** 2 * seen).mean()
