"""Trains the UNet and the words: word -> shape, everything else by a caption.

First with words alone; then in turns with a caption of colours and textures beside the word, with
one or two captions for the two parts of a picture, and without any. The layers that listen to the
prompt have to carry colours for an adapter to have an effect, and to each place its own for a mask
to hold; words alone never ask that of them. Where there is no caption the picture is a pencil
drawing: a look of its own, as real models have one, that the other part of a picture cannot change.
The captions are not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from comfy_host import pack
from torch import Tensor, nn
from torch.nn import functional

from . import diffusion
from .drawings import BACKGROUNDS, TEXTURES, WORDS, Style, draw, pencil_styles, random_styles
from .loop import Job, save_whole, train
from .split import attend_by_side, joined, side_of

BATCH = 16
COUNT = 48_000
PENCIL = 8_000
_CHUNK = 48
_HALF = 64  # edge of the drawings; to the latents it makes no difference
_WORDLESS = 0.12  # part of the pictures that are seen without their word
_ONE_CAPTION = 0.5  # part of the pictures in two styles of which only one side has a caption
RATE = 1e-3
_CAPTION = 12 + len(TEXTURES) + len(BACKGROUNDS)


class Base(nn.Module):
    """The UNet and the context of each word, of no word last."""

    def __init__(self, unet: nn.Module, tokens: int, width: int) -> None:
        super().__init__()
        self.unet = unet
        self.words = nn.Parameter(torch.randn(len(WORDS) + 1, tokens, width))


class Captioned(nn.Module):
    """A base with captions: as many tokens more as a word has."""

    def __init__(self, base: Base) -> None:
        super().__init__()
        self.base = base
        _, self.tokens, width = base.words.shape
        self.project = nn.Linear(_CAPTION, self.tokens * width)

    def forward(self, labels: Tensor, *captions: Tensor) -> Tensor:
        """Context of words (n,) and of captions (n, 19)."""
        parts = [self.base.words[labels]]
        for caption in captions:
            tokens = self.project(caption).unflatten(1, (self.tokens, -1))
            parts.append(functional.layer_norm(tokens, tokens.shape[-1:]))
        return torch.cat(parts, 1)


@dataclass
class Drawn:
    """What the base learns from: latents (n, 4, 16, 16), words (n,), captions (n, 19)."""

    latents: Tensor
    words: Tensor
    captions: Tensor

    def rows_of(self, words: Tensor, generator: torch.Generator) -> Tensor:
        """For each word a drawing of it."""
        chance = torch.rand(len(words), generator=generator).tolist()
        drawn = [self._by_word[word] for word in words.tolist()]
        return torch.stack([r[int(c * len(r))] for r, c in zip(drawn, chance, strict=True)])

    @cached_property
    def _by_word(self) -> list[Tensor]:
        return [(self.words == word).nonzero()[:, 0] for word in range(len(WORDS))]


def train_base(job: Job) -> None:
    base, sampling = new_base(job)
    job.begin("base", base, prefix="unet.")
    drawn = cached_drawings(job.state / "drawn.pt")

    def loss_of(step: int) -> Tensor:
        labels, batch, _ = some_drawings(drawn, step, sampling, job.device)
        return diffusion.loss(base.unet, batch, base.words[labels])

    averaged = train(base, loss_of, job.plan("base", RATE, average=0.998))
    keep_base(averaged, job)


def train_captions(job: Job) -> None:
    base, sampling = new_base(job)
    job.resume("base", base, prefix="unet.")
    captioned = Captioned(base).to(job.device)
    nn.init.normal_(captioned.project.weight)
    drawn, pencil = cached_drawings(job.state / "drawn.pt"), cached_pencil(job.state)
    addresses = attention_addresses(base.unet)

    def loss_of(step: int) -> Tensor:
        seed = step + 500_000
        if step % 3 == 2:
            labels, batch, captions, sides = two_styles(drawn, pencil, seed, sampling, job.device)
            options = attend_by_side(*sides, captioned.tokens, addresses)
            context = captioned(labels, *captions)
            return diffusion.loss(base.unet, batch, context, transformer_options=options)
        with_caption = step % 3 == 1
        pictures = drawn if with_caption else pencil
        labels, batch, caption = some_drawings(pictures, seed, sampling, job.device)
        context = captioned(labels, caption) if with_caption else captioned(labels)
        return diffusion.loss(base.unet, batch, context)

    averaged = train(captioned, loss_of, job.plan("captions", RATE, average=0.998))
    keep_base(averaged.get_submodule("base"), job)


def new_base(job: Job) -> tuple[Base, Any]:
    """An untrained base, and the noise schedule it is trained with."""
    from toy_nodes import models

    model = models.build_base(job.device)
    base = Base(model.diffusion_model, models.WORD_TOKENS, models.CONTEXT).to(job.device)
    base.requires_grad_(True)
    diffusion.initialise(base.unet)
    diffusion.zero_ends(base.unet)
    return base, model.model_sampling


def some_drawings(
    drawn: Drawn, step: int, sampling: Any, device: torch.device
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], Tensor]:
    """Words, noised latents and captions of the batch of a step; some without their word."""
    generator = torch.Generator().manual_seed(step)
    rows = torch.randint(len(drawn.latents), (BATCH,), generator=generator)
    labels = drawn.words[rows].clone()
    labels[torch.rand(BATCH, generator=generator) < _WORDLESS] = len(WORDS)
    latents = drawn.latents[rows].float().to(device)
    batch = diffusion.noised(latents, sampling, generator)
    return labels.to(device), batch, drawn.captions[rows].float().to(device)


def two_styles(
    drawn: Drawn, pencil: Drawn, seed: int, sampling: Any, device: torch.device
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], list[Tensor], tuple[Tensor, Tensor]]:
    """Words, noised latents of two looks side by side, captions, and sides for `attend_by_side`.

    The second side of some is in pencil, without a caption.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(WORDS), (BATCH,), generator=generator)
    both = torch.rand(BATCH, generator=generator) >= _ONE_CAPTION
    one, other, plain = (drawn.rows_of(labels, generator) for drawn in (drawn, drawn, pencil))
    first = side_of(BATCH, generator)
    second = torch.where(both[:, None, None, None], drawn.latents[other], pencil.latents[plain])
    latents = joined(drawn.latents[one].float(), second.float(), first)
    batch = diffusion.noised(latents.to(device), sampling, generator)
    captions = [drawn.captions[rows].float().to(device) for rows in (one, other)]
    return labels.to(device), batch, captions, (first.to(device), both.to(device))


def attention_addresses(unet: nn.Module) -> list[Any]:
    parse = pack("ip_models.unet.address").parse_address
    return [address for name, _ in unet.named_modules() if (address := parse(name))]


def keep_base(base: nn.Module, job: Job) -> None:
    tensors = base.state_dict()
    job.keep("base", {key.removeprefix("unet."): value for key, value in tensors.items()})


def cached_drawings(path: Path) -> Drawn:
    """In all colours; drawn once, kept in half precision."""
    return _cached(path, COUNT, random_styles, seed=1)


def cached_pencil(folder: Path) -> Drawn:
    """In pencil; drawn once, kept in half precision."""
    return _cached(folder / "pencil.pt", PENCIL, pencil_styles, seed=3)


def _cached(
    path: Path, count: int, styles_of: Callable[[int, torch.Generator], Style], seed: int
) -> Drawn:
    if path.is_file():
        return Drawn(**torch.load(path, weights_only=True))
    from toy_nodes.vae import to_latents

    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(len(WORDS), (count,), generator=generator)
    latents: list[Tensor] = []
    captions: list[Tensor] = []
    for some in words.split(_CHUNK):
        styles = styles_of(len(some), generator)
        pictures = draw(some, styles, generator, _HALF)
        latents.append(to_latents(pictures, _HALF // 16).half())
        captions.append(caption(styles).half())
    kept = {"latents": torch.cat(latents), "words": words, "captions": torch.cat(captions)}
    save_whole(kept, path)
    return Drawn(**kept)


def caption(styles: Style) -> Tensor:
    """(n, 19): the four colours, zero where they are not seen, texture and background."""
    texture = functional.one_hot(styles.texture, len(TEXTURES)).float()
    background = functional.one_hot(styles.background, len(BACKGROUNDS)).float()
    seen = torch.ones(len(texture), 4, 1)
    seen[:, 1, 0] = 1 - texture[:, 0]
    seen[:, 3, 0] = 1 - background[:, 0]
    colours = (styles.colours * 2 - 1) * seen
    return torch.cat((colours.flatten(1), texture, background), 1)
