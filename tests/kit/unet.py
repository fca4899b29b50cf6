"""Weights and presets in the words for UNets, and layers at given addresses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pack.ip_models.layer import Layer
from pack.ip_models.unet.address import LayerAddress
from pack.ip_models.unet.layers import Facts, named_layers
from pack.ip_models.unet.vocabulary import UNET
from pack.ip_models.weights import block_weights, editor_data, outline, presets
from pack.ip_models.weights.editor_data import DrawnWeights
from pack.ip_models.weights.gains import BlockRule
from pack.ip_models.weights.outline import TransformerFactors

PRESETS = presets.names(UNET)
OUTLINES = {outline.name: outline for outline in UNET.outlines}


def unet_layers(addresses: Iterable[LayerAddress]) -> list[Layer]:
    """Layers in checkpoint order, whose widths do not matter."""
    return list(named_layers(dict.fromkeys(addresses, Facts(320, 768)), False))


def parse_blocks(text: str) -> BlockRule:
    return block_weights.parse_blocks(text, UNET)


def preset(name: str, composition: float = 1.0, boost: float = 1.0) -> BlockRule:
    return presets.preset(name, UNET, composition, boost)


def drawn_weights(question: Any) -> dict[str, DrawnWeights]:
    return editor_data.drawn_weights(question, UNET)


def transformer_factors(rule: BlockRule, family: str, references: int = 1) -> TransformerFactors:
    return outline.transformer_factors(rule, OUTLINES[family], references)
