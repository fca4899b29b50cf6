"""Stable Diffusion UNets: cross-attention layers of a MODEL.

They are worked out from the numbers the host built the UNet from. The modules themselves are read
only where these are missing: any other branch or pack may have wrapped or replaced them.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from .....ip_models.adapter.spec import AdapterSpec
from .....ip_models.errors import WrongBase
from .....ip_models.layer import Layer
from .....ip_models.unet.address import LayerAddress, parse_address, processor_names
from .....ip_models.unet.layers import NUMBERS, Facts, layers_of_config, layers_of_names
from .....ip_models.unet.vocabulary import UNET
from ...protocols import Model, TransformerOptions
from . import unet_patch
from .backbone import BaseNorms, TextProjection
from .own import own_object, own_weight
from .unet_modules import added_in_modules, run_otherwise

_NETWORK = "diffusion_model"
_TEXT = f"{_NETWORK}.encoder_hid_proj"
_PARTS = ("to_q", "to_k", "to_v", "to_out")  # what the host's transformer block calls


class _Linear(Protocol):
    weight: Tensor
    bias: Tensor | None


class _CrossAttention(Protocol):
    """What the host's `CrossAttention` is made of."""

    to_q: torch.nn.Linear
    to_k: torch.nn.Linear


class Unet:
    """See `Backbone`; slots are the addresses of the host's `patches_replace["attn2"]`."""

    vocabulary = UNET

    def layers(self, model: Model) -> tuple[Layer, ...]:
        """See `Backbone.layers`."""
        network = own_object(model, _NETWORK)
        projected = own_object(model, _TEXT) is not None
        config = _config(model)
        if config is None:
            return _read_modules(model, network, projected)
        layers = layers_of_config(config, projected)
        if layers and not hasattr(network, "input_blocks"):
            raise _in_the_way(_NETWORK, network)
        for layer in layers:
            _require_open(model, _path(cast("LayerAddress", layer.slot)))
        return layers

    def text_projection(self, model: Model) -> TextProjection | None:
        """See `Backbone.text_projection`."""
        linear = cast("_Linear | None", own_object(model, _TEXT))
        if linear is None:
            return None
        names = [name for name in ("weight", "bias") if getattr(linear, name, None) is not None]
        own = {name: own_weight(model, f"{_TEXT}.{name}", getattr(linear, name)) for name in names}
        patched = any(f"{_TEXT}.{name}" in model.patches for name in names)
        mark = model.patches_uuid if patched else None
        return TextProjection(linear, mark, own["weight"], own.get("bias"))

    def norms(self, model: Model) -> BaseNorms | None:
        """None: queries are not normed."""
        return None

    def slot(self, layer: Layer, spec: AdapterSpec) -> Hashable:
        """See `Backbone.slot`."""
        return layer.slot

    def places(self, layer: Layer) -> tuple[Hashable, ...]:
        """See `Backbone.places`."""
        return (layer.slot,)

    def hook(self, model: Model, slots: Iterable[Hashable]) -> None:
        """See `Backbone.hook`."""
        unet_patch.hook(model, slots)

    def unhook(self, model: Model) -> None:
        """See `Backbone.unhook`."""
        unet_patch.unhook(model)

    def hook_call(
        self, options: TransformerOptions, slots: Iterable[Hashable]
    ) -> TransformerOptions:
        """See `Backbone.hook_call`."""
        return unet_patch.hook_call(options, slots)

    @contextmanager
    def calling(
        self,
        network: torch.nn.Module,
        options: TransformerOptions,
        slots: Iterable[Hashable],
        latent: tuple[int, int],
    ) -> Generator[TransformerOptions]:
        """See `Backbone.calling`."""
        addresses = cast("Iterable[LayerAddress]", slots)
        options = self.hook_call(options, addresses)
        others = run_otherwise(network, addresses, _inside)
        if not others:
            yield options
            return
        with added_in_modules(network, options, others) as freed:
            yield freed

    def processor_names(self, layers: Sequence[Layer]) -> list[str]:
        """See `Backbone.processor_names`."""
        return processor_names(cast("LayerAddress", layer.slot) for layer in layers)


def _config(model: Model) -> Mapping[str, Any] | None:
    """The numbers the host built this UNet from, None for a model that was built otherwise."""
    config = getattr(getattr(model.model, "model_config", None), "unet_config", None)
    if not isinstance(config, dict):
        return None
    numbers = cast("dict[str, Any]", config)
    if numbers.get("disable_unet_model_creation") or not numbers.keys() >= set(NUMBERS):
        return None
    return numbers if isinstance(numbers["context_dim"], int) else None


def _path(address: LayerAddress) -> str:
    return f"{_NETWORK}.{_inside(address)}"


def _inside(address: tuple[Any, ...]) -> str:
    """Name of a layer's module in the network."""
    block, number, layer = address
    place = "middle_block" if block == "middle" else f"{block}_blocks.{number}"
    return f"{place}.1.transformer_blocks.{layer}.attn2"


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


def _read_modules(model: Model, network: object, projected: bool) -> tuple[Layer, ...]:
    names, widths = list(_module_names(network)), dict[LayerAddress, Facts]()
    for name in names:
        address = parse_address(name)
        if address is not None:
            path = f"{_NETWORK}.{name}"
            _require_open(model, path)
            attention = cast("_CrossAttention", own_object(model, path))
            widths[address] = Facts(attention.to_q.out_features, attention.to_k.in_features)
    return layers_of_names(widths, names, projected)


def _module_names(network: object) -> Iterator[str]:
    """As they were before the network was compiled; none for an engine that is no module."""
    if isinstance(network, torch.nn.Module):
        for name, _ in network.named_modules():
            yield name.removeprefix("_orig_mod.")
