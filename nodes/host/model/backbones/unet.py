"""Stable Diffusion UNets: cross-attention layers, read from the live model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from .....ip_models.layer_address import LayerAddress, checkpoint_order, parse_address
from ...protocols import Model

_DOWN = re.compile(r"^input_blocks\.(\d+)\.0\.op$")
_UP = re.compile(r"^output_blocks\.(\d+)\.\d+\.conv$")


@dataclass(frozen=True)
class AttentionLayer:
    """One cross-attention layer of a model.

    Attributes:
        width: of its queries.
        context: width of the text it attends to.
        projected: whether that text was wider and is projected by the model, as in Kolors.
    """

    address: LayerAddress
    width: int
    context: int
    projected: bool = False


class _Linear(Protocol):
    weight: Tensor
    bias: Tensor | None


class _CrossAttention(Protocol):
    """What the host's `CrossAttention` is made of."""

    to_q: torch.nn.Linear
    to_k: torch.nn.Linear


@dataclass(frozen=True)
class TextProjection:
    """The model's own projection of text, on whatever device it is called.

    Attributes:
        linear: the module, which stays where the host keeps it.
    """

    linear: _Linear

    def __call__(self, tokens: Tensor) -> Tensor:
        """(..., text encoder) -> (..., context)."""
        weight, bias = self.linear.weight, self.linear.bias
        bias = None if bias is None else bias.to(tokens)
        return torch.nn.functional.linear(tokens, weight.to(tokens), bias)


def text_projection(model: Model) -> TextProjection | None:
    """The projection of a MODEL with a text encoder of another width, None for all others."""
    linear = getattr(model.get_model_object("diffusion_model"), "encoder_hid_proj", None)
    return None if linear is None else TextProjection(linear)


def read_unet(model: Model) -> list[AttentionLayer]:
    """Layers in the order of adapter files; none if the MODEL is no UNet."""
    diffusion_model = model.get_model_object("diffusion_model")
    projected = text_projection(model) is not None
    found: dict[LayerAddress, AttentionLayer] = {}
    for name, module in diffusion_model.named_modules():
        address = parse_address(name.removeprefix("_orig_mod."))
        if address is not None:
            attention = cast("_CrossAttention", module)
            width, context = int(attention.to_q.out_features), int(attention.to_k.in_features)
            found[address] = AttentionLayer(address, width, context, projected)
    return [found[address] for address in checkpoint_order(found)]


def read_depths(model: Model) -> list[int]:
    """For each layer of `read_unet`, how often the latent is halved before it."""
    names = [
        name.removeprefix("_orig_mod.")
        for name, _ in model.get_model_object("diffusion_model").named_modules()
    ]
    down, up = _numbers(_DOWN, names), _numbers(_UP, names)

    def depth(address: LayerAddress) -> int:
        if address.block == "input":
            return sum(number <= address.number for number in down)
        # A block of the output is enlarged after its attention.
        risen = sum(number < address.number for number in up) if address.block == "output" else 0
        return len(down) - risen

    return [depth(layer.address) for layer in read_unet(model)]


def _numbers(pattern: re.Pattern[str], names: Iterable[str]) -> list[int]:
    return [int(match[1]) for match in map(pattern.match, names) if match]
