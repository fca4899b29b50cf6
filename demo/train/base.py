"""Trains the UNet and the words: word -> shape, everything else by chance or by a caption.

First with words alone; then half of the time with a caption of colours and textures beside the
word, in turns with two captions for two parts of a picture. The layers that listen to the prompt
have to carry colours for an adapter to be heard, and to each place its own for a mask to hold;
words alone never ask that of them. The captions are not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from . import diffusion
from .drawings import BACKGROUNDS, TEXTURES, WORDS, Style, draw, random_styles
from .host import pack
from .loop import Job, train
from .split import hear_sides, joined, side_of

BATCH = 16
COUNT = 48_000
_CHUNK = 48
_HALF = 64  # edge of the drawings; to the latents it makes no difference
_WORDLESS = 0.12  # part of the pictures that are seen without their word
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
        self.say = nn.Linear(_CAPTION, self.tokens * width)

    def forward(self, said: Tensor, *captions: Tensor) -> Tensor:
        """Context of words (n,) and of captions (n, 19)."""
        parts = [self.base.words[said]]
        for caption in captions:
            tokens = self.say(caption).unflatten(1, (self.tokens, -1))
            parts.append(functional.layer_norm(tokens, tokens.shape[-1:]))
        return torch.cat(parts, 1)


@dataclass
class Drawn:
    """What the base learns from: latents (n, 4, 16, 16), words (n,), captions (n, 19)."""

    latents: Tensor
    words: Tensor
    captions: Tensor


def train_base(job: Job) -> None:
    base, sampling = new_base(job)
    job.begin("base", base, prefix="unet.")
    drawn = cached_drawings(job.state / "drawn.pt")

    def loss_of(step: int) -> Tensor:
        said, batch, _ = some_drawings(drawn, step, sampling, job.device)
        return diffusion.loss(base.unet, batch, base.words[said])

    averaged = train(base, loss_of, job.plan("base", RATE, average=0.998))
    save_base(averaged.state_dict(), job.target("base"))


def train_captions(job: Job) -> None:
    base, sampling = new_base(job)
    kept = {key: value.float() for key, value in load_file(job.target("base")).items()}
    base.load_state_dict({key if key == "words" else f"unet.{key}": kept[key] for key in kept})
    captioned = Captioned(base).to(job.device)
    nn.init.normal_(captioned.say.weight)
    drawn = cached_drawings(job.state / "drawn.pt")

    rows_of = [(drawn.words == word).nonzero()[:, 0] for word in range(len(WORDS))]
    addresses = attention_addresses(base.unet)

    def loss_of(step: int) -> Tensor:
        seed = step + 500_000
        if step % 4 == 3:
            said, batch, captions, first = two_styles(drawn, rows_of, seed, sampling, job.device)
            options = hear_sides(first, captioned.tokens, addresses)
            context = captioned(said, *captions)
            return diffusion.loss(base.unet, batch, context, transformer_options=options)
        said, batch, caption = some_drawings(drawn, seed, sampling, job.device)
        context = captioned(said, caption) if step % 2 else captioned(said)
        return diffusion.loss(base.unet, batch, context)

    averaged = train(captioned, loss_of, job.plan("captions", RATE, average=0.998))
    tensors = averaged.state_dict()
    tensors = {k.removeprefix("base."): v for k, v in tensors.items() if k.startswith("base.")}
    save_base(tensors, job.target("base"))


def new_base(job: Job) -> tuple[Base, Any]:
    """An untrained base, and the noise schedule it is trained with."""
    from toy_nodes import models

    model = models.build_base(job.device)
    base = Base(model.diffusion_model, models.WORD_TOKENS, models.CONTEXT).to(job.device)
    base.requires_grad_(True)
    diffusion.initialise(base.unet)
    diffusion.silence_ends(base.unet)
    return base, model.model_sampling


def some_drawings(
    drawn: Drawn, step: int, sampling: Any, device: torch.device
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], Tensor]:
    """Words, noised latents and captions of the batch of a step; some without their word."""
    generator = torch.Generator().manual_seed(step)
    rows = torch.randint(len(drawn.latents), (BATCH,), generator=generator)
    said = drawn.words[rows].clone()
    said[torch.rand(BATCH, generator=generator) < _WORDLESS] = len(WORDS)
    latents = drawn.latents[rows].float().to(device)
    batch = diffusion.noised(latents, sampling, generator)
    return said.to(device), batch, drawn.captions[rows].float().to(device)


def two_styles(
    drawn: Drawn, rows_of: list[Tensor], seed: int, sampling: Any, device: torch.device
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], list[Tensor], Tensor]:
    """Words, noised latents of two styles side by side, both captions, and where the first is."""
    generator = torch.Generator().manual_seed(seed)
    said = torch.randint(len(WORDS), (BATCH,), generator=generator)
    chance = torch.rand(2, BATCH, generator=generator).tolist()
    one, other = (
        torch.stack([rows_of[w][int(c * len(rows_of[w]))] for w, c in zip(said, row, strict=True)])
        for row in chance
    )
    first = side_of(BATCH, generator)
    latents = joined(drawn.latents[one].float(), drawn.latents[other].float(), first)
    batch = diffusion.noised(latents.to(device), sampling, generator)
    captions = [drawn.captions[rows].float().to(device) for rows in (one, other)]
    return said.to(device), batch, captions, first.to(device)


def attention_addresses(unet: nn.Module) -> list[Any]:
    parse = pack("ip_models.layers").parse_address
    return [address for name, _ in unet.named_modules() if (address := parse(name))]


def save_base(tensors: dict[str, Tensor], target: Path) -> None:
    named = {key.removeprefix("unet."): value for key, value in tensors.items()}
    save_file({key: value.half().cpu().contiguous() for key, value in named.items()}, target)


def cached_drawings(path: Path) -> Drawn:
    """Drawn once, kept in half precision."""
    if path.is_file():
        return Drawn(**torch.load(path, weights_only=True))
    from toy_nodes.vae import to_latents

    generator = torch.Generator().manual_seed(1)
    words = torch.randint(len(WORDS), (COUNT,), generator=generator)
    latents: list[Tensor] = []
    captions: list[Tensor] = []
    for some in words.split(_CHUNK):
        styles = random_styles(len(some), generator)
        pictures = draw(some, styles, generator, _HALF)
        latents.append(to_latents(pictures, _HALF // 16).half())
        captions.append(caption(styles).half())
    drawn = Drawn(torch.cat(latents), words, torch.cat(captions))
    torch.save(vars(drawn), path)
    return drawn


def caption(styles: Style) -> Tensor:
    """(n, 19): the four colours, zero where they are not seen, texture and background."""
    texture = functional.one_hot(styles.texture, len(TEXTURES)).float()
    background = functional.one_hot(styles.background, len(BACKGROUNDS)).float()
    seen = torch.ones(len(texture), 4, 1)
    seen[:, 1, 0] = 1 - texture[:, 0]
    seen[:, 3, 0] = 1 - background[:, 0]
    colours = (styles.colours * 2 - 1) * seen
    return torch.cat((colours.flatten(1), texture, background), 1)
