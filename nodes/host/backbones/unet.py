"""Stable Diffusion UNets: cross-attention layers, read from the live model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ....ip_models.layers import LayerAddress, checkpoint_order, parse_address


@dataclass(frozen=True)
class AttentionLayer:
    """One cross-attention layer of a model.

    Attributes:
        width: of its queries.
        context: width of the text it attends to.
    """

    address: LayerAddress
    width: int
    context: int


def read_unet(model: Any) -> list[AttentionLayer]:
    """Layers in the order of adapter files; none if the MODEL is no UNet."""
    diffusion_model = model.get_model_object("diffusion_model")
    found: dict[LayerAddress, AttentionLayer] = {}
    for name, module in diffusion_model.named_modules():
        address = parse_address(name.removeprefix("_orig_mod."))
        if address is not None:
            width, context = int(module.to_q.out_features), int(module.to_k.in_features)
            found[address] = AttentionLayer(address, width, context)
    return [found[address] for address in checkpoint_order(found)]
