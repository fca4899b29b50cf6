"""What an adapter file is, read from the shapes of its tensors and never from its name.

A few tensors tell the kind. Then `IPAdapter` is built on the meta device, where tensors have shapes
and no data, and must have the file's tensors and no other: what is recognised can be loaded.
"""

from __future__ import annotations

import re
from collections import Counter

import torch
from torch import nn

from .. import limits
from ..errors import BrokenFile, UnknownAdapter
from ..inputs import sides
from .layouts import ProjectionKind, read_projection
from .lora import require_whole
from .module import IPAdapter
from .spec import ENCODER_NAMES, UNET_FAMILIES, AdapterSpec, Family
from .state_dict import AdapterWeights, broken, highest_number

_LAYER_KEY = re.compile(r"^[0-9]{1,3}\.to_[kv]_ip\.weight$")
_META = torch.device("meta")


class _Structure:
    """`torch.nn` without the initial values of large maps, which cost time on meta too."""

    LayerNorm = nn.LayerNorm

    class Linear(nn.Linear):
        """Weight and bias as they were allocated."""

        def reset_parameters(self) -> None:
            """Leave them so."""


def read_spec(weights: AdapterWeights, name: str = "the file") -> AdapterSpec:
    """Recognise an adapter, and make sure that its tensors fill the module that is built for it.

    Raises:
        UnknownAdapter: the layout is none of the published ones.
        BrokenFile: the layout is known but tensors are missing, unknown or of another shape.
    """
    try:
        _require_plain(weights, name)
        context = _context_width(weights, name)
        spec = _spec(weights, read_projection(weights, context, name), context, name)
        if spec.supported:
            _require_loadable(spec, weights, name)
    except KeyError as missing:
        raise broken(name, f"has no tensor {_called(missing.args[0], weights)}") from None
    except IndexError:
        raise broken(name, "has a tensor with too few dimensions") from None
    return spec


def _called(key: str, weights: AdapterWeights) -> str:
    """A tensor by its name in published files, and in the UNet where the file goes by that."""
    module = weights.modules.get(key.partition(".")[0])
    return f"{key} ({module})" if module else key


def _require_plain(weights: AdapterWeights, name: str) -> None:
    """Refuse sizes that nothing can be built with, and types that nothing can be computed with."""
    for key, tensor in (weights.projection | weights.layers | weights.lora).items():
        if not all(0 < size < limits.SIZE for size in tensor.shape):
            raise broken(name, f"has a tensor {key[:80]} of {sides(tensor.shape)} values")
        if not getattr(tensor.dtype, "is_floating_point", False):
            raise BrokenFile(
                f"{name} has weights of type {tensor.dtype}",
                "floating point weights are needed",
                "Choose the file it was quantised from",
            )


def _context_width(weights: AdapterWeights, name: str) -> int:
    """Width of the text context that most layers attend to."""
    widths = [value.shape[-1] for key, value in weights.layers.items() if _LAYER_KEY.match(key)]
    if not widths:
        raise UnknownAdapter(
            f"{name} calls an attention layer {next(iter(weights.layers))[:120]}",
            "published adapters number their layers, as in ip_adapter.1.to_k_ip.weight, and a "
            "training names the attention of the UNet they are in",
            "Convert the file to one of these, or choose a published one",
        )
    return int(Counter(widths).most_common(1)[0][0])


def _spec(weights: AdapterWeights, found: ProjectionKind, context: int, name: str) -> AdapterSpec:
    family = found.family or UNET_FAMILIES.get(context)
    if family is None:
        raise UnknownAdapter(
            f"{name} attends to a context {context} wide",
            "adapters exist for 768 (SD1.5), 1024 (SD2) and 2048 (SDXL)",
            "Choose an adapter for one of these models",
        )
    # Files count the attention layers of a UNet with self-attention among them.
    first, step = (0, 1) if family in (Family.FLUX, Family.SD3) else (1, 2)
    layers = tuple(range(first, highest_number(weights.layers) + 1, step))
    pairs = [[weights.layers[f"{i}.to_{half}_ip.weight"] for half in "kv"] for i in layers]
    source = (found.feature, found.feature_width)
    other = f"the encoder it was trained with, {found.feature_width} wide"
    large = family is Family.KOLORS and found.feature_width == 1024
    return AdapterSpec(
        family=family,
        kind=found.kind,
        tokens=found.tokens,
        feature=found.feature,
        feature_width=found.feature_width,
        context_width=context,
        layers=layers,
        layer_widths=tuple(int(key.shape[0]) for key, _ in pairs),
        encoder="ViT-L 336" if large else ENCODER_NAMES.get(source, other),
        has_lora=bool(weights.lora),
    )


def _require_loadable(spec: AdapterSpec, weights: AdapterWeights, name: str) -> None:
    """Build the module and compare it with the file, tensor by tensor."""
    adapter = IPAdapter(spec, weights, _Structure, _META)
    for module, tensors in (
        (adapter.image_proj, weights.projection),
        (adapter.ip_adapter, weights.layers),
    ):
        built = dict(module.named_parameters())
        for key, parameter in built.items():
            if parameter.shape != torch.Size(tensors[key].shape):
                there, needed = sides(tensors[key].shape), sides(parameter.shape)
                raise broken(
                    name, f"does not fit its own layout: {key} has {there} values, not {needed}"
                )
        if unknown := sorted(tensors.keys() - built.keys()):
            raise broken(name, f"has an unknown tensor {unknown[0][:80]}")
    if weights.lora:
        require_whole(weights.lora, len(spec.layers), name)
