"""What an adapter file is, read from the shapes of its tensors and never from its name."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import BrokenFile, UnknownAdapter, UnsupportedAdapter
from .spec import ENCODER_NAMES, IDENTITY_WIDTH, UNET_FAMILIES, AdapterSpec, Family, Feature, Kind
from .state_dict import AdapterWeights, Shaped

_TRANSFORMERS = (Family.FLUX, Family.SD3)
_FULL_FACE_TOKENS = 257
_HEAD_WIDTH = 64
_LAYER_KEY = re.compile(r"^(\d+)\.(.+)$")


def read_spec(weights: AdapterWeights, name: str = "the file") -> AdapterSpec:
    """Recognise an adapter.

    Raises:
        UnknownAdapter: the layout is none of the published ones.
        BrokenFile: the layout is known but tensors are missing or disagree with each other.
    """
    for wanted, reject in _FOREIGN:
        if any(wanted in key for key in (*weights.projection, *weights.layers)):
            raise UnsupportedAdapter(
                f"{name} is {reject}",
                "this pack applies IP-Adapter files of SD1.5, SD2, SDXL and Kolors",
                "Use the nodes made for that model, or choose an IP-Adapter file",
            )
    for recognises, read in _LADDER:
        if recognises(weights):
            try:
                return read(weights, name)
            except KeyError as missing:
                raise _broken(name, f"has no tensor {missing.args[0]}") from None
            except IndexError:
                raise _broken(name, "has a tensor with too few dimensions") from None
    if any(key in weights.projection for key in _CORNERSTONES):
        raise _broken(name, "lacks part of its image projection")
    raise UnknownAdapter(
        f"{name} has an image projection with {', '.join(sorted(weights.projection)[:4])}",
        "no published IP-Adapter is built like that",
        "Choose one of the IP-Adapter files listed in the README",
    )


def _broken(name: str, what: str) -> BrokenFile:
    return BrokenFile(f"{name} {what}", "a whole adapter file is needed", "Download the file again")


def _rows(tensor: Shaped) -> int:
    return int(tensor.shape[0])


def _columns(tensor: Shaped) -> int:
    return int(tensor.shape[-1])


def _exact_tokens(rows: int, width: int, name: str) -> int:
    if width == 0 or rows % width:
        raise _broken(name, f"projects to {rows} values, which is no multiple of {width}")
    return rows // width


def _layer_table(weights: AdapterWeights, name: str) -> dict[int, tuple[int, int]]:
    """Index of each layer -> (query width, context width), checked for consistency."""
    keys: dict[int, dict[str, Shaped]] = {}
    for key, value in weights.layers.items():
        match = _LAYER_KEY.match(key)
        if not match:
            raise _broken(name, f"has an unknown tensor {key} among its layers")
        keys.setdefault(int(match[1]), {})[match[2]] = value
    table: dict[int, tuple[int, int]] = {}
    for index, tensors in sorted(keys.items()):
        for half in ("to_k_ip.weight", "to_v_ip.weight"):
            if half not in tensors:
                raise _broken(name, f"has no tensor {index}.{half}")
        key_shape = tuple(tensors["to_k_ip.weight"].shape)
        value_shape = tuple(tensors["to_v_ip.weight"].shape)
        if key_shape != value_shape or len(key_shape) != 2:
            raise _broken(name, f"has key {key_shape} but value {value_shape} in layer {index}")
        table[index] = (int(key_shape[0]), int(key_shape[1]))
    if len({context for _, context in table.values()}) > 1:
        raise _broken(name, "has layers for contexts of different width")
    return table


def _spec(
    weights: AdapterWeights,
    name: str,
    kind: Kind,
    tokens: int,
    source: tuple[Feature, int],
    family: Family | None = None,
) -> AdapterSpec:
    layers = _layer_table(weights, name)
    context = next(iter(layers.values()))[1]
    if family not in _TRANSFORMERS and list(layers) != list(range(1, 2 * len(layers), 2)):
        raise _broken(name, "has gaps in the numbers of its layers, which count up in twos from 1")
    family = family or UNET_FAMILIES.get(context)
    if family is None:
        raise UnknownAdapter(
            f"{name} attends to a context {context} wide",
            "adapters exist for 768 (SD1.5), 1024 (SD2) and 2048 (SDXL)",
            "Choose an adapter for one of these models",
        )
    feature, width = source
    encoder = ENCODER_NAMES.get(source, f"an encoder with {width} wide {feature.value} features")
    if family is Family.KOLORS and width == 1024:
        encoder = "ViT-L 336"
    return AdapterSpec(
        family=family,
        kind=kind,
        tokens=tokens,
        feature=feature,
        feature_width=width,
        context_width=context,
        layers=tuple(layers),
        layer_widths=tuple(width for width, _ in layers.values()),
        encoder=encoder,
        has_lora=bool(weights.lora),
    )


def _width_check(weights: AdapterWeights, name: str, out_width: int) -> None:
    context = next(iter(_layer_table(weights, name).values()))[1]
    if out_width != context:
        raise _broken(name, f"projects to tokens {out_width} wide for layers {context} wide")


def _read_standard(weights: AdapterWeights, name: str) -> AdapterSpec:
    proj, norm = weights.projection["proj.weight"], weights.projection["norm.weight"]
    _width_check(weights, name, _rows(norm))
    tokens = _exact_tokens(_rows(proj), _rows(norm), name)
    return _spec(weights, name, Kind.STANDARD, tokens, (Feature.POOLED, _columns(proj)))


def _read_resampler(weights: AdapterWeights, name: str) -> AdapterSpec:
    p = weights.projection
    width, source = _rows(p["proj_out.weight"]), _columns(p["proj_in.weight"])
    _width_check(weights, name, width)
    tokens, latent_width = int(p["latents"].shape[1]), _columns(p["latents"])
    _resampler_check(weights, name)
    if source == IDENTITY_WIDTH:
        return _spec(weights, name, Kind.PORTRAIT_UNNORMED, tokens, (Feature.IDENTITY, source))
    kolors = latent_width == 2048 and source == 1024
    family = Family.KOLORS if kolors else None
    return _spec(weights, name, Kind.PLUS, tokens, (Feature.PENULTIMATE, source), family)


def _resampler_check(weights: AdapterWeights, name: str, prefix: str = "") -> None:
    p = {k[len(prefix) :]: v for k, v in weights.projection.items() if k.startswith(prefix)}
    depth = {key.split(".")[1] for key in p if key.startswith("layers.")}
    if depth != {str(layer) for layer in range(len(depth))} or not depth:
        raise _broken(name, "has gaps in the numbers of its resampler layers")
    if _rows(p["layers.0.0.to_q.weight"]) % _HEAD_WIDTH:
        raise _broken(name, "has resampler heads that are not 64 wide")
    _rows(p["layers.0.1.1.weight"])  # if it is missing, the KeyError names it


def _read_full_face(weights: AdapterWeights, name: str) -> AdapterSpec:
    p = weights.projection
    _width_check(weights, name, _rows(p["proj.3.weight"]))
    source = (Feature.PENULTIMATE, _columns(p["proj.0.weight"]))
    return _spec(weights, name, Kind.FULL_FACE, _FULL_FACE_TOKENS, source)


def _read_face_id(weights: AdapterWeights, name: str) -> AdapterSpec:
    p = weights.projection
    width = _rows(p["norm.weight"])
    _width_check(weights, name, width)
    tokens = _exact_tokens(_rows(p["proj.2.weight"]), width, name)
    kind = Kind.FACEID if tokens == 4 else Kind.PORTRAIT
    return _spec(weights, name, kind, tokens, (Feature.IDENTITY, _columns(p["proj.0.weight"])))


def _read_face_id_plus(weights: AdapterWeights, name: str) -> AdapterSpec:
    p = weights.projection
    width = _rows(p["norm.weight"])
    family = Family.KOLORS if width == 4096 else None
    if family is None:
        _width_check(weights, name, width)
    tokens = _exact_tokens(_rows(p["proj.2.weight"]), width, name)
    identity = _columns(p["proj.0.weight"])
    if identity != IDENTITY_WIDTH:
        raise _broken(name, f"reads a face {identity} wide, where recognisers give 512")
    _resampler_check(weights, name, "perceiver_resampler.")
    source = (Feature.PENULTIMATE, _columns(p["perceiver_resampler.proj_in.weight"]))
    return _spec(weights, name, Kind.FACEID_PLUS, tokens, source, family)


def _read_xlabs(weights: AdapterWeights, name: str) -> AdapterSpec:
    proj, norm = weights.projection["proj.weight"], weights.projection["norm.weight"]
    tokens = _exact_tokens(_rows(proj), _rows(norm), name)
    return _spec(weights, name, Kind.XLABS, tokens, (Feature.POOLED, _columns(proj)), Family.FLUX)


def _read_flux_instantx(weights: AdapterWeights, name: str) -> AdapterSpec:
    p = weights.projection
    tokens = _exact_tokens(_rows(p["proj.2.weight"]), _rows(p["norm.weight"]), name)
    source = (Feature.POOLED, _columns(p["proj.0.weight"]))
    return _spec(weights, name, Kind.INSTANTX, tokens, source, Family.FLUX)


def _read_sd3(weights: AdapterWeights, name: str) -> AdapterSpec:
    p = weights.projection
    source = (Feature.PENULTIMATE, _columns(p["proj_in.weight"]))
    return _spec(weights, name, Kind.INSTANTX, int(p["latents"].shape[1]), source, Family.SD3)


def _has(*keys: str) -> Callable[[AdapterWeights], bool]:
    return lambda weights: all(key in weights.projection for key in keys)


def _is_xlabs(weights: AdapterWeights) -> bool:
    return any(key.endswith("to_k_ip.bias") for key in weights.layers)


def _is_sd3(weights: AdapterWeights) -> bool:
    timed = "time_embedding.linear_1.weight" in weights.projection
    return timed or any(".norm_ip." in key for key in weights.layers)


def _is_flux_instantx(weights: AdapterWeights) -> bool:
    keys = (value for key, value in weights.layers.items() if key.endswith("to_k_ip.weight"))
    wide = any(tuple(value.shape) == (3072, 4096) for value in keys)
    return wide and "proj.0.weight" in weights.projection


# A file with one of these was an adapter before it lost another tensor.
_CORNERSTONES = ("proj.bias", "norm.bias", "norm.weight", "proj.weight", "norm_out.weight")
_FOREIGN = (
    ("proj_new_input.", "an IP-Adapter-Instruct file"),
    ("id_to_k", "a PuLID file"),
    ("id_embedding_mapping", "a PuLID file"),
)
# First match wins: each rung is narrower than those below it.
_LADDER = (
    (_is_xlabs, _read_xlabs),
    (_is_sd3, _read_sd3),
    (_is_flux_instantx, _read_flux_instantx),
    (_has("perceiver_resampler.proj_in.weight"), _read_face_id_plus),
    (_has("latents"), _read_resampler),
    (_has("proj.3.weight"), _read_full_face),
    (_has("proj.0.weight", "norm.weight"), _read_face_id),
    (_has("proj.weight", "norm.weight"), _read_standard),
)
