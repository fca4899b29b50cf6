"""Trains a standard and a Plus adapter: the base frozen, the reference dropped at random.

The reference of a picture is another drawing in the same style: other word, other place. So the
adapter learns colours, texture and background, and leaves the shape to the word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from comfy_host import pack
from torch import Tensor, nn

from . import diffusion
from .attention import attend
from .drawings import WORDS, draw, random_styles
from .encoder import features, normalise
from .loop import Job, save_whole, train

BATCH = 16
RATE = 1.5e-3
COUNT = 8_000
_CHUNK = 48
_HALF = 64
_DROPPED = 0.08  # part of the pictures without their word, without reference, and without both
_HEAD = 64
PLUS_TOKENS, PLUS_WIDTH, PLUS_DEPTH = 8, 128, 2


@dataclass
class Pairs:
    """What adapters learn from.

    Attributes:
        latents: (COUNT, 4, 16, 16) of the pictures.
        words: (COUNT,) of the pictures.
        pooled: (COUNT, width) of their references.
        penultimate: (COUNT, sequence, width) of their references.
        nothing: (1, sequence, width), penultimate features of zero pixels.
    """

    latents: Tensor
    words: Tensor
    pooled: Tensor
    penultimate: Tensor
    nothing: Tensor


def train_adapter(kind: str, job: Job) -> None:
    from toy_nodes import models

    patcher, words = models.load_base(job.target("base"))
    unet = patcher.model.diffusion_model.to(job.device).requires_grad_(False)
    words, sampling = words.to(job.device), patcher.model.model_sampling.to(job.device)
    pairs = cached_pairs(job)
    addresses, adapter = build_adapter(kind, patcher, pairs)
    job.begin(f"adapter_{kind}", adapter)
    adapter.to(job.device)
    positive = pairs.pooled if kind == "standard" else pairs.penultimate
    negative = torch.zeros_like(pairs.pooled[:1]) if kind == "standard" else pairs.nothing

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(len(pairs.words), (BATCH,), generator=generator)
        labels, seen = pairs.words[rows].clone(), positive[rows].float()
        chance = torch.rand(BATCH, generator=generator)
        labels[chance < 2 * _DROPPED] = len(WORDS)
        seen[(chance > _DROPPED) & (chance < 3 * _DROPPED)] = negative.float()
        tokens = adapter.tokens(seen.to(job.device))
        patches = {
            a: decoupled(m, tokens)
            for a, m in zip(addresses, adapter.ip_adapter.values(), strict=True)
        }
        latents = pairs.latents[rows].float().to(job.device)
        batch = diffusion.noised(latents, sampling, generator, early=True)
        options = {"patches_replace": {"attn2": patches}}
        return diffusion.loss(
            unet, batch, words[labels.to(job.device)], transformer_options=options
        )

    averaged = train(adapter, loss_of, job.plan(kind, RATE, average=0.995))
    job.keep(f"adapter_{kind}", averaged.state_dict())


def decoupled(maps: Any, tokens: Tensor) -> Callable[..., Tensor]:
    """Attention of one layer to the words and, beside it, to the image tokens."""

    def both(q: Tensor, k: Tensor, v: Tensor, extra: Any) -> Tensor:
        heads = extra["n_heads"]
        return attend(q, k, v, heads) + attend(q, maps.to_k_ip(tokens), maps.to_v_ip(tokens), heads)

    return both


def build_adapter(kind: str, patcher: Any, pairs: Pairs) -> tuple[Sequence[Any], Any]:
    """Addresses of the layers, and the pack's own module of that layout."""
    from toy_nodes.models import CONTEXT

    module = pack("ip_models.adapter.module")
    recognise = pack("ip_models.adapter.recognise")
    state_dict = pack("ip_models.adapter.state_dict")
    backbones = pack("nodes.host.model.backbones.layers")
    layers = backbones.attention_layers(patcher)
    shapes = _projection_shapes(kind, pairs, CONTEXT)
    for position, layer in enumerate(layers):
        for half in "kv":
            shapes[f"ip_adapter.{2 * position + 1}.to_{half}_ip.weight"] = (layer.width, CONTEXT)
    tensors = {key: torch.zeros(shape) for key, shape in shapes.items()}
    canonical = state_dict.canonical(tensors, f"the toy {kind} adapter")
    adapter = module.IPAdapter(recognise.read_spec(canonical), canonical, nn)
    diffusion.initialise(adapter)
    if kind == "plus":
        nn.init.normal_(adapter.image_proj.latents, std=PLUS_WIDTH**-0.5)
    _begin_as_words(adapter, layers, patcher.model.diffusion_model)
    return [layer.slot for layer in layers], adapter


@torch.no_grad()
def _begin_as_words(adapter: Any, layers: Sequence[Any], unet: nn.Module) -> None:
    """Image tokens are read as words at first, as the authors of IP-Adapter began."""
    parse = pack("ip_models.unet.address").parse_address
    attention: dict[Any, Any] = {parse(name): module for name, module in unet.named_modules()}
    for layer, maps in zip(layers, adapter.ip_adapter.values(), strict=True):
        maps.to_k_ip.weight.copy_(attention[layer.slot].to_k.weight)
        maps.to_v_ip.weight.copy_(attention[layer.slot].to_v.weight)


def _projection_shapes(kind: str, pairs: Pairs, context: int) -> dict[str, tuple[int, ...]]:
    if kind == "standard":
        rows = 4 * context
        shapes: dict[str, tuple[int, ...]] = {
            "proj.weight": (rows, pairs.pooled.shape[-1]),
            "proj.bias": (rows,),
            "norm.weight": (context,),
            "norm.bias": (context,),
        }
    else:
        width, inner = PLUS_WIDTH, PLUS_WIDTH // _HEAD * _HEAD
        shapes = {
            "latents": (1, PLUS_TOKENS, width),
            "proj_in.weight": (width, pairs.penultimate.shape[-1]),
            "proj_in.bias": (width,),
            "proj_out.weight": (context, width),
            "proj_out.bias": (context,),
            "norm_out.weight": (context,),
            "norm_out.bias": (context,),
        }
        for layer in range(PLUS_DEPTH):
            attention, forward = f"layers.{layer}.0", f"layers.{layer}.1"
            for norm in (f"{attention}.norm1", f"{attention}.norm2", f"{forward}.0"):
                shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
            shapes[f"{attention}.to_q.weight"] = (inner, width)
            shapes[f"{attention}.to_kv.weight"] = (2 * inner, width)
            shapes[f"{attention}.to_out.weight"] = (width, inner)
            shapes[f"{forward}.1.weight"] = (4 * width, width)
            shapes[f"{forward}.3.weight"] = (width, 4 * width)
    return {f"image_proj.{key}": shape for key, shape in shapes.items()}


@torch.no_grad()
def cached_pairs(job: Job) -> Pairs:
    """Pictures and what the encoder says about their references; anew with another encoder."""
    path = job.state / "pairs.pt"
    if path.is_file() and path.stat().st_mtime > job.target("encoder").stat().st_mtime:
        return Pairs(**torch.load(path, weights_only=True))
    from toy_nodes import models
    from toy_nodes.vae import to_latents

    encoder = models.load_encoder(job.target("encoder"))
    vision = encoder.model.float().to(job.device)
    generator = torch.Generator().manual_seed(2)
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, COUNT, _CHUNK):
        count = min(_CHUNK, COUNT - start)
        words, others = torch.randint(len(WORDS), (2, count), generator=generator)
        styles = random_styles(count, generator)
        latents = to_latents(draw(words, styles, generator, _HALF), _HALF // 16)
        reference = draw(others, styles, generator).to(job.device)
        about = [f.cpu() for f in features(vision, normalise(reference, encoder))]
        parts.append((latents.half(), words, *(f.half() for f in about)))
    latents, words, pooled, penultimate = (torch.cat(column) for column in zip(*parts, strict=True))
    size = encoder.image_size
    _, nothing = features(vision, torch.zeros(1, 3, size, size, device=job.device))
    kept = {
        "latents": latents,
        "words": words,
        "pooled": pooled,
        "penultimate": penultimate,
        "nothing": nothing.cpu(),
    }
    save_whole(kept, path)
    return Pairs(**kept)
