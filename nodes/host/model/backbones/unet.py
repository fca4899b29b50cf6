"""Stable Diffusion UNets: cross-attention layers of a MODEL.

They are worked out from the numbers the host built the UNet from. The modules themselves are read
only where these are missing: any other branch or pack may have wrapped or replaced them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast
from uuid import UUID

import torch
from torch import Tensor

from .....ip_models.errors import WrongBase
from .....ip_models.layer_address import LayerAddress, checkpoint_order, parse_address
from ...protocols import Model
from .own import own_object, own_weight

_NETWORK = "diffusion_model"
_TEXT = f"{_NETWORK}.encoder_hid_proj"
_DOWN = re.compile(r"^input_blocks\.(\d+)\.0\.op$")
_UP = re.compile(r"^output_blocks\.(\d+)\.\d+\.conv$")
_PARTS = ("to_q", "to_k", "to_v", "to_out")  # what the host's transformer block calls
_NUMBERS = {
    "model_channels",
    "channel_mult",
    "num_res_blocks",
    "transformer_depth",
    "transformer_depth_output",
    "transformer_depth_middle",
    "context_dim",
}


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
        patched: the host's mark of the MODEL's weights, None where they are the file's.
        weight, bias: as they are while this MODEL runs.
    """

    linear: object
    patched: UUID | None
    weight: Tensor = field(compare=False)
    bias: Tensor | None = field(compare=False)

    def __call__(self, tokens: Tensor) -> Tensor:
        """(..., text encoder) -> (..., context)."""
        bias = None if self.bias is None else self.bias.to(tokens)
        return torch.nn.functional.linear(tokens, self.weight.to(tokens), bias)


def text_projection(model: Model) -> TextProjection | None:
    """The projection of a MODEL with a text encoder of another width, None for all others."""
    linear = cast("_Linear | None", own_object(model, _TEXT))
    if linear is None:
        return None
    names = [name for name in ("weight", "bias") if getattr(linear, name, None) is not None]
    own = {name: own_weight(model, f"{_TEXT}.{name}", getattr(linear, name)) for name in names}
    patched = any(f"{_TEXT}.{name}" in model.patches for name in names)
    return TextProjection(
        linear, model.patches_uuid if patched else None, own["weight"], own.get("bias")
    )


class _Stack(NamedTuple):
    """Cross-attention layers that run one after the other.

    Attributes:
        block, number: see `LayerAddress`.
        layers: how many, which may be less than none where the block has nothing but convolutions.
        level: how often the latent is halved before them.
    """

    block: str
    number: int
    layers: int
    level: int


def read_unet(model: Model) -> list[AttentionLayer]:
    """Layers in the order of adapter files; none if the MODEL is no UNet.

    Raises:
        WrongBase: another node has put something else in the place of what has to be patched.
    """
    network = own_object(model, _NETWORK)
    projected = own_object(model, _TEXT) is not None
    config = _config(model)
    if config is None:
        return _read_modules(model, network, projected)
    if not hasattr(network, "input_blocks"):
        raise _in_the_way(_NETWORK, network)
    layers = [
        AttentionLayer(address, _width(config, stack.level), config["context_dim"], projected)
        for stack in _stacks(config)
        for address in _addresses(stack)
    ]
    for layer in layers:
        _require_open(model, _path(layer.address))
    return layers


def read_depths(model: Model) -> list[int]:
    """For each layer of `read_unet`, how often the latent is halved before it."""
    config = _config(model)
    if config is not None:
        return [stack.level for stack in _stacks(config) for _ in _addresses(stack)]
    names = list(_module_names(own_object(model, _NETWORK)))
    down, up = _matches(_DOWN, names), _matches(_UP, names)

    def depth(address: LayerAddress) -> int:
        if address.block == "input":
            return sum(number <= address.number for number in down)
        # A block of the output is enlarged after its attention.
        risen = sum(number < address.number for number in up) if address.block == "output" else 0
        return len(down) - risen

    return [depth(layer.address) for layer in read_unet(model)]


def _config(model: Model) -> Mapping[str, Any] | None:
    """The numbers the host built this UNet from, None for a model that was built otherwise."""
    config = getattr(getattr(model.model, "model_config", None), "unet_config", None)
    if not isinstance(config, dict):
        return None
    numbers = cast("dict[str, Any]", config)
    if numbers.get("disable_unet_model_creation") or not numbers.keys() >= _NUMBERS:
        return None
    return numbers if isinstance(numbers["context_dim"], int) else None


def _stacks(config: Mapping[str, Any]) -> Iterator[_Stack]:
    """All blocks in the order of adapter files, numbered as the host builds them."""
    counts = config["num_res_blocks"]
    levels = range(len(config["channel_mult"]))
    if isinstance(counts, int):
        counts = [counts for _ in levels]
    depths = iter(config["transformer_depth"])
    number = 0  # the first convolution
    for level in levels:
        for _ in range(counts[level]):
            number += 1
            yield _Stack("input", number, next(depths), level)
        number += 1  # the one that halves
    depths = iter(reversed(config["transformer_depth_output"]))
    number = 0
    for level in reversed(levels):
        for _ in range(counts[level] + 1):
            yield _Stack("output", number, next(depths), level)
            number += 1
    yield _Stack("middle", 0, config["transformer_depth_middle"], levels[-1])


def _width(config: Mapping[str, Any], level: int) -> int:
    """Of the queries: as many whole heads as there is room for."""
    channels = config["model_channels"] * config["channel_mult"][level]
    heads = config.get("num_head_channels", -1)
    return channels - channels % (config.get("num_heads", 1) if heads == -1 else heads)


def _addresses(stack: _Stack) -> list[LayerAddress]:
    return [LayerAddress(stack.block, stack.number, layer) for layer in range(stack.layers)]


def _path(address: LayerAddress) -> str:
    block, number, layer = address
    place = "middle_block" if block == "middle" else f"{block}_blocks.{number}"
    return f"{_NETWORK}.{place}.1.transformer_blocks.{layer}.attn2"


def _require_open(model: Model, path: str) -> None:
    """Refuse what stands in the place of an attention layer and has not got its parts."""
    attention = own_object(model, path)
    if attention is not None and not all(hasattr(attention, part) for part in _PARTS):
        raise _in_the_way(path, attention)


def _in_the_way(path: str, thing: object) -> WrongBase:
    return WrongBase(
        f"another node has put a {type(thing).__name__} in the place of {path} of this MODEL",
        "ComfyUI's own UNet and attention layers are needed there",
        "Take the MODEL from before that node",
    )


def _read_modules(model: Model, network: object, projected: bool) -> list[AttentionLayer]:
    found: dict[LayerAddress, AttentionLayer] = {}
    for name in _module_names(network):
        address = parse_address(name)
        if address is not None:
            path = f"{_NETWORK}.{name}"
            _require_open(model, path)
            attention = cast("_CrossAttention", own_object(model, path))
            width, context = int(attention.to_q.out_features), int(attention.to_k.in_features)
            found[address] = AttentionLayer(address, width, context, projected)
    return [found[address] for address in checkpoint_order(found)]


def _module_names(network: object) -> Iterator[str]:
    """As they were before the network was compiled; none for an engine that is no module."""
    if isinstance(network, torch.nn.Module):
        for name, _ in network.named_modules():
            yield name.removeprefix("_orig_mod.")


def _matches(pattern: re.Pattern[str], names: Iterable[str]) -> list[int]:
    return [int(match[1]) for match in map(pattern.match, names) if match]
