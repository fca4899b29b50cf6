"""Stable Diffusion UNets: cross-attention layers, read from the live model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....ip_models.layers import LayerAddress, checkpoint_order, parse_address


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


@dataclass(frozen=True)
class TextProjection:
    """The model's own projection of text, on whatever device it is called.

    Attributes:
        linear: the module, which stays where the host keeps it.
    """

    linear: Any

    def __call__(self, tokens: Tensor) -> Tensor:
        """(..., text encoder) -> (..., context)."""
        weight, bias = self.linear.weight, self.linear.bias
        bias = None if bias is None else bias.to(tokens)
        return torch.nn.functional.linear(tokens, weight.to(tokens), bias)


def text_projection(model: Any) -> TextProjection | None:
    """The projection of a MODEL with a text encoder of another width, None for all others."""
    linear = getattr(model.get_model_object("diffusion_model"), "encoder_hid_proj", None)
    return None if linear is None else TextProjection(linear)


def read_unet(model: Any) -> list[AttentionLayer]:
    """Layers in the order of adapter files; none if the MODEL is no UNet."""
    diffusion_model = model.get_model_object("diffusion_model")
    projected = text_projection(model) is not None
    found: dict[LayerAddress, AttentionLayer] = {}
    for name, module in diffusion_model.named_modules():
        address = parse_address(name.removeprefix("_orig_mod."))
        if address is not None:
            width, context = int(module.to_q.out_features), int(module.to_k.in_features)
            found[address] = AttentionLayer(address, width, context, projected)
    return [found[address] for address in checkpoint_order(found)]
