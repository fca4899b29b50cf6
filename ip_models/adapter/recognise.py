"""What an adapter file is, read from the shapes of its tensors and never from its name.

The kind is told by a few tensors. Then `IPAdapter` is built on the meta device, where tensors have
shapes and no data, and must have the file's tensors and no other: what is recognised can be loaded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from ..errors import BrokenFile, UnknownAdapter, UnsupportedAdapter
from .lora import require_fit, require_whole
from .module import IPAdapter
from .spec import (
    ENCODER_NAMES,
    IDENTITY_WIDTH,
    KOLORS_TEXT_WIDTH,
    UNET_FAMILIES,
    AdapterSpec,
    Family,
    Feature,
    Kind,
)
from .state_dict import AdapterWeights, Shaped, highest_number

Tensors = Mapping[str, Shaped]

_FULL_FACE_TOKENS = 257
_LARGEST_SIZE = 2**24  # far above any published one, and its square can still be counted
_LAYER_KEY = re.compile(r"^[0-9]{1,3}\.to_[kv]_ip\.weight$")
_META = torch.device("meta")


class _Structure:
    """`torch.nn` without the initial values of large maps, which cost time on meta too."""

    LayerNorm = nn.LayerNorm

    class Linear(nn.Linear):
        """Weight and bias as they were allocated."""

        def reset_parameters(self) -> None:
            """Leave them so."""


class _Projection(NamedTuple):
    """What an image projection tells; its family where the text context does not."""

    kind: Kind
    tokens: int
    feature: Feature
    feature_width: int
    family: Family | None = None


def read_spec(weights: AdapterWeights, name: str = "the file") -> AdapterSpec:
    """Recognise an adapter, and make sure that its tensors fill the module that is built for it.

    Raises:
        UnsupportedAdapter: it is a relative of the IP-Adapter that other nodes are for.
        UnknownAdapter: the layout is none of the published ones.
        BrokenFile: the layout is known but tensors are missing, unknown or of another shape.
    """
    for wanted, reject in _FOREIGN:
        if any(wanted in key for key in (*weights.projection, *weights.layers)):
            raise UnsupportedAdapter(
                f"{name} is {reject}",
                "this pack applies IP-Adapter files of SD1.5, SD2, SDXL and Kolors",
                "Use the nodes made for that model, or choose an IP-Adapter file",
            )
    try:
        _require_plain(weights, name)
        context = _context_width(weights, name)
        spec = _spec(weights, _read_projection(weights, context, name), context, name)
        if spec.supported:
            _require_loadable(spec, weights, name)
    except KeyError as missing:
        raise _broken(name, f"has no tensor {missing.args[0]}") from None
    except IndexError:
        raise _broken(name, "has a tensor with too few dimensions") from None
    return spec


def _broken(name: str, what: str) -> BrokenFile:
    return BrokenFile(f"{name} {what}", "a whole adapter file is needed", "Download the file again")


def _require_plain(weights: AdapterWeights, name: str) -> None:
    """Refuse sizes that nothing can be built with, and types that nothing can be computed with."""
    for key, tensor in (weights.projection | weights.layers | weights.lora).items():
        if not all(0 < size < _LARGEST_SIZE for size in tensor.shape):
            raise _broken(name, f"has a tensor {key[:80]} of {_sizes(tensor)} values")
        if not getattr(tensor.dtype, "is_floating_point", False):
            raise BrokenFile(
                f"{name} has weights of type {tensor.dtype}",
                "floating point weights are needed",
                "Download the published file instead of a quantised one",
            )


def _context_width(weights: AdapterWeights, name: str) -> int:
    """Width of the text context that most layers attend to."""
    widths = [value.shape[-1] for key, value in weights.layers.items() if _LAYER_KEY.match(key)]
    if not widths:
        raise UnknownAdapter(
            f"{name} calls an attention layer {next(iter(weights.layers))[:120]}",
            "published adapters number their layers, as in ip_adapter.1.to_k_ip.weight",
            "Convert the file to those names, or choose a published one",
        )
    return int(Counter(widths).most_common(1)[0][0])


def _read_projection(weights: AdapterWeights, context: int, name: str) -> _Projection:
    for recognises, read in _LADDER:
        if recognises(weights):
            return read(weights.projection, context)
    raise UnknownAdapter(
        f"{name} has an image projection with "
        f"{', '.join(key[:80] for key in sorted(weights.projection)[:4])}",
        "no published IP-Adapter is built like that",
        "Choose one of the IP-Adapter files listed in the README",
    )


def _spec(weights: AdapterWeights, found: _Projection, context: int, name: str) -> AdapterSpec:
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
    other = f"an encoder with {found.feature_width} wide {found.feature.value} features"
    large = family is Family.KOLORS and found.feature_width == 1024
    return AdapterSpec(
        family=family,
        kind=found.kind,
        tokens=found.tokens,
        feature=found.feature,
        feature_width=found.feature_width,
        context_width=context,
        layers=layers,
        layer_widths=tuple(_rows(key) for key, _ in pairs),
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
                there, needed = _sizes(tensors[key]), _sizes(parameter)
                raise _broken(
                    name, f"does not fit its own layout: {key} has {there} values, not {needed}"
                )
        if unknown := sorted(tensors.keys() - built.keys()):
            raise _broken(name, f"has an unknown tensor {unknown[0][:80]}")
    if weights.lora:
        require_whole(weights.lora, len(spec.layers), name)
        require_fit(weights.lora, spec, name)


def _sizes(tensor: Shaped) -> str:
    return " x ".join(map(str, tensor.shape)) or "1"


def _rows(tensor: Shaped) -> int:
    return int(tensor.shape[0])


def _columns(tensor: Shaped) -> int:
    return int(tensor.shape[1])


def _read_standard(p: Tensors, context: int) -> _Projection:
    proj = p["proj.weight"]
    return _Projection(Kind.STANDARD, _rows(proj) // context, Feature.POOLED, _columns(proj))


def _read_resampler(p: Tensors, context: int) -> _Projection:
    tokens, width = _columns(p["latents"]), _columns(p["proj_in.weight"])
    if width == IDENTITY_WIDTH:
        return _Projection(Kind.PORTRAIT_UNNORMED, tokens, Feature.IDENTITY, width)
    kolors = _rows(p["proj_in.weight"]) == 2048 and width == 1024
    family = Family.KOLORS if kolors else None
    return _Projection(Kind.PLUS, tokens, Feature.PENULTIMATE, width, family)


def _read_full_face(p: Tensors, context: int) -> _Projection:
    width = _columns(p["proj.0.weight"])
    return _Projection(Kind.FULL_FACE, _FULL_FACE_TOKENS, Feature.PENULTIMATE, width)


def _read_face_id(p: Tensors, context: int) -> _Projection:
    tokens = _rows(p["proj.2.weight"]) // context
    kind = Kind.FACEID if tokens == 4 else Kind.PORTRAIT
    return _Projection(kind, tokens, Feature.IDENTITY, IDENTITY_WIDTH)


def _read_face_id_plus(p: Tensors, context: int) -> _Projection:
    kolors = _rows(p["norm.weight"]) == KOLORS_TEXT_WIDTH
    tokens = _rows(p["proj.2.weight"]) // (KOLORS_TEXT_WIDTH if kolors else context)
    width = _columns(p["perceiver_resampler.proj_in.weight"])
    family = Family.KOLORS if kolors else None
    return _Projection(Kind.FACEID_PLUS, tokens, Feature.PENULTIMATE, width, family)


def _read_xlabs(p: Tensors, context: int) -> _Projection:
    proj = p["proj.weight"]
    tokens = _rows(proj) // context
    return _Projection(Kind.XLABS, tokens, Feature.POOLED, _columns(proj), Family.FLUX)


def _read_flux_instantx(p: Tensors, context: int) -> _Projection:
    tokens, width = _rows(p["proj.2.weight"]) // context, _columns(p["proj.0.weight"])
    return _Projection(Kind.INSTANTX, tokens, Feature.POOLED, width, Family.FLUX)


def _read_sd3(p: Tensors, context: int) -> _Projection:
    tokens, width = _columns(p["latents"]), _columns(p["proj_in.weight"])
    return _Projection(Kind.INSTANTX, tokens, Feature.PENULTIMATE, width, Family.SD3)


def _has(*beginnings: str) -> Callable[[AdapterWeights], bool]:
    """Whether some tensor of the projection begins like that; a lost one can then be named."""
    return lambda weights: any(key.startswith(beginnings) for key in weights.projection)


def _has_mlp(weights: AdapterWeights) -> bool:
    return _has("proj.0.", "proj.2.")(weights) and _has("norm.")(weights)


def _is_xlabs(weights: AdapterWeights) -> bool:
    return any(key.endswith("to_k_ip.bias") for key in weights.layers)


def _is_sd3(weights: AdapterWeights) -> bool:
    timed = "time_embedding.linear_1.weight" in weights.projection
    return timed or any(".norm_ip." in key for key in weights.layers)


def _is_flux_instantx(weights: AdapterWeights) -> bool:
    keys = (value for key, value in weights.layers.items() if key.endswith("to_k_ip.weight"))
    wide = any(tuple(value.shape) == (3072, 4096) for value in keys)
    return wide and "proj.0.weight" in weights.projection


_FOREIGN = (
    ("proj_new_input.", "an IP-Adapter-Instruct file"),
    ("id_to_k", "a PuLID file"),
    ("id_embedding_mapping", "a PuLID file"),
)
# First match wins: each rung is narrower than those below it.
_LADDER: tuple[tuple[Callable[[AdapterWeights], bool], Callable[[Tensors, int], _Projection]], ...]
_LADDER = (
    (_is_xlabs, _read_xlabs),
    (_is_sd3, _read_sd3),
    (_is_flux_instantx, _read_flux_instantx),
    (_has("perceiver_resampler."), _read_face_id_plus),
    (_has("latents", "norm_out."), _read_resampler),
    (_has("proj.3."), _read_full_face),
    (_has_mlp, _read_face_id),
    (_has("proj.weight", "proj.bias", "norm."), _read_standard),
)
