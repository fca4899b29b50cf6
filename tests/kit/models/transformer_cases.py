"""The same image prompts for our side and for the reference: adapters, features, negatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from kit.models import transformer_adapters, transformer_reference
from kit.models.transformer_reference import Prompt, Step
from kit.models.transformers import Pair
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.layer import Layer
from pack.ip_models.references.features import ImageFeatures
from pack.ip_models.weights.gains import Gain, Weights
from pack.nodes.host.model import adapter as adapters
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """A published layout: its weights, the reference's way to run it, the features it reads."""

    tensors: Callable[[Pair, int], dict[str, Tensor]]
    reference: Callable[..., Step]
    width: int
    sequence: int | None = None


XLABS = Layout(
    transformer_adapters.xlabs,
    transformer_reference.with_xlabs,
    transformer_adapters.XLABS_WIDTH,
)
INSTANTX = Layout(
    transformer_adapters.instantx,
    transformer_reference.with_instantx,
    transformer_adapters.SIGLIP_WIDTH,
)
SD3 = Layout(
    transformer_adapters.sd3,
    transformer_reference.with_sd3,
    transformer_adapters.SIGLIP_WIDTH,
    transformer_adapters.SEQUENCE,
)


@dataclass(frozen=True)
class Given:
    """One adapter as it is applied.

    Attributes:
        references: how many pictures it shows.
        scale: for all blocks, or one for each that it has layers for.
        seed: of its weights and of the features.
        negative: whether a negative image is given.
        grid: (rows, columns) of the mask, None without one.
    """

    references: int = 1
    scale: float | tuple[float, ...] = 0.7
    seed: int = 1
    negative: bool = False
    grid: Tensor | None = None


@dataclass(frozen=True)
class PerBlock:
    """A rule of weights: a factor for each layer, in the order of the file."""

    factors: tuple[float, ...]

    def gains(self, layers: Sequence[Layer], reference: int, references: int) -> list[Gain]:
        """See `BlockRule.gains`."""
        assert len(layers) == len(self.factors)
        return [Gain(factor) for factor in self.factors]


def patched(pair: Pair, layout: Layout, *given: Given, model: Any = None, **settings: Any) -> Any:
    """The MODEL of the pair, or another one of its kind, with adapters one after the other."""
    model = pair.model if model is None else model
    for one in given:
        model = apply(
            model,
            loaded(pair, layout, one.seed),
            features(layout, one),
            settings_of(one, **settings),
        )
    return model


def stepping(pair: Pair, layout: Layout, *given: Given) -> Step:
    """The reference with all adapters."""
    return layout.reference(pair, *(prompt(pair, layout, one) for one in given))


def loaded(pair: Pair, layout: Layout, seed: int) -> LoadedAdapter:
    """An adapter of tensors in memory."""
    name = f"adapter{seed}.safetensors"
    return adapters.of_weights(canonical(layout.tensors(pair, seed), name), name)


def settings_of(one: Given, **more: Any) -> Settings:
    """Scale and mask as a node sets them."""
    if isinstance(one.scale, tuple):
        more |= {"weights": Weights(blocks=(PerBlock(one.scale),))}
    else:
        more |= {"scale": one.scale}
    if one.grid is not None:
        # A square of the picture's pixels for each patch, so that every rule gives the patches.
        more |= {"mask": one.grid.repeat_interleave(16, 0).repeat_interleave(16, 1)[None]}
    return Settings(**more)


def features(layout: Layout, one: Given) -> ImageFeatures:
    """What the encoder would say; where a layout must not read negative rows, they are noise."""
    positive, negative = _rows(layout, one)
    noise = torch.randn_like(negative, dtype=torch.float32)
    pooled = layout.sequence is None
    black = layout is XLABS
    shown = negative if one.negative else noise
    return ImageFeatures(
        pooled=positive if pooled else None,
        penultimate=None if pooled else positive,
        negative_pooled=shown if pooled else None,
        negative_penultimate=None if pooled else shown,
        source="ViT-L" if layout is XLABS else "SigLIP",
        black_pooled=(noise if one.negative else negative) if black else None,
        negative_given=one.negative,
    )


def prompt(pair: Pair, layout: Layout, one: Given) -> Prompt:
    """The same for the reference, with the negative that each published implementation hears."""
    positive, negative = _rows(layout, one)
    if not one.negative:
        if layout is INSTANTX:
            negative = positive
        elif layout is SD3:
            negative = torch.zeros_like(negative)
    rows = None if one.grid is None else one.grid.flatten()
    return Prompt(layout.tensors(pair, one.seed), positive, negative, one.scale, rows)


def _rows(layout: Layout, one: Given) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 + one.seed)
    shape = (layout.width,) if layout.sequence is None else (layout.sequence, layout.width)
    positive = torch.randn(one.references, *shape, generator=generator)
    return positive, torch.randn(1, *shape, generator=generator)
