"""Which base model a checkpoint file holds, from its header."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import comfy.model_detection
import torch

from ....ip_models.adapter.published import Layers, is_known
from ....ip_models.adapter.spec import UNET_FAMILIES
from ....ip_models.layer_address import LayerAddress, checkpoint_order, parse_address
from ..files import checkpoint
from ..model.backbones.layers import AttentionLayer

_SUFFIXES = (".safetensors", ".sft")
_PREFIXES = ("model.diffusion_model.", "", "unet.")
_KEY = ".to_k.weight"
_DIFFUSERS = re.compile(
    r"^(down_blocks|up_blocks|mid_block)\.(?:([0-9]{1,3})\.)?attentions\.([0-9]{1,3})"
    r"\.transformer_blocks\.([0-9]{1,3})\.attn2$"
)
_STAGES = {"down_blocks": "input", "up_blocks": "output", "mid_block": "middle"}
# What the host's own detection stumbles over in files it does not know.
_FOREIGN = (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class Base:
    """A base model.

    Attributes:
        layers: cross-attention in checkpoint order, empty where the model is no UNet.
        name: what the host calls a model that is no UNet, e.g. "Flux".
    """

    layers: tuple[AttentionLayer, ...]
    name: str = ""


class _Widths(NamedTuple):
    query: int
    context: int


def read_base(path: str) -> Base | None:
    """The base model in a file; None for what a header does not show.

    Raises:
        BrokenFile: the file is damaged.
    """
    if not path.lower().endswith(_SUFFIXES):
        return None
    shapes = checkpoint.read_shapes(path)
    for prefix in _PREFIXES:
        found = dict(_layers(shapes, prefix))
        if found:
            return _unet(found, f"{prefix}encoder_hid_proj.weight" in shapes)
    name = _transformer(shapes)
    return Base((), name) if name else None


def _layers(shapes: Mapping[str, Any], prefix: str) -> Iterator[tuple[LayerAddress, _Widths]]:
    for key, value in shapes.items():
        if not key.startswith(prefix) or not key.endswith(_KEY) or len(value.shape) != 2:
            continue
        name = key[len(prefix) : -len(_KEY)]
        address = parse_address(name) or _parse_diffusers(name)
        if address is not None:
            yield address, _Widths(*value.shape)


def _parse_diffusers(name: str) -> LayerAddress | None:
    match = _DIFFUSERS.match(name)
    if match is None:
        return None
    block, level = _STAGES[match[1]], int(match[2] or 0)
    # ComfyUI's blocks come in threes; the one before the first level is the convolution.
    place = 3 * level + int(match[3]) + (block == "input")
    return LayerAddress(block, 0 if block == "middle" else place, int(match[4]))


def _unet(found: dict[LayerAddress, _Widths], projected: bool) -> Base | None:
    # Weights packed by quantisation have other shapes than the layers they stand for.
    contexts = {widths.context for widths in found.values()}
    if len(contexts) > 1:
        return None
    ordered = checkpoint_order(found)
    base = Layers(contexts.pop(), tuple(found[one].query for one in ordered), projected)
    if base.context not in UNET_FAMILIES and not is_known(base):
        return None
    return Base(tuple(AttentionLayer(one, *found[one], projected) for one in ordered))


def _transformer(shapes: Mapping[str, Any]) -> str:
    """The host's name of a model that is no UNet, "" for what it does not know either."""
    prefix = _PREFIXES[0]
    whole = any(key.startswith(prefix) for key in shapes)
    try:
        like = {key: torch.empty(value.shape, device="meta") for key, value in shapes.items()}
        config = comfy.model_detection.detect_unet_config(like, prefix if whole else "")
        if not config or not config.get("image_model"):
            return ""
        known = comfy.model_detection.model_config_from_unet_config(config)
    except _FOREIGN:
        return ""
    return "" if known is None else type(known).__name__
