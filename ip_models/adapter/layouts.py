"""The kinds of image projection, recognised by the names and sizes of a few of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..errors import UnknownAdapter
from .spec import IDENTITY_WIDTH, KOLORS_TEXT_WIDTH, Family, Feature, Kind
from .state_dict import AdapterWeights, Shaped

Tensors = Mapping[str, Shaped]

_FULL_FACE_TOKENS = 257
_Test = Callable[[AdapterWeights], bool]


class ProjectionKind(NamedTuple):
    """What an image projection tells; the family where the text context does not tell it."""

    kind: Kind
    tokens: int
    feature: Feature
    feature_width: int
    family: Family | None = None


_Reader = Callable[[Tensors, int], ProjectionKind]


def read_projection(weights: AdapterWeights, context: int, name: str) -> ProjectionKind:
    """Tell the kind of a projection; a tensor it lacks is a KeyError with its name.

    Args:
        context: width of the text context.

    Raises:
        UnknownAdapter: the projection is none of the published ones.
    """
    for recognises, read in _LADDER:
        if recognises(weights):
            return read(weights.projection, context)
    raise UnknownAdapter(
        f"{name} has an image projection with "
        f"{', '.join(key[:80] for key in sorted(weights.projection)[:4])}",
        "no published IP-Adapter is built like that",
        "Choose one of the IP-Adapter files listed in the README",
    )


def _rows(tensor: Shaped) -> int:
    return int(tensor.shape[0])


def _columns(tensor: Shaped) -> int:
    return int(tensor.shape[1])


def _read_standard(p: Tensors, context: int) -> ProjectionKind:
    proj = p["proj.weight"]
    return ProjectionKind(Kind.STANDARD, _rows(proj) // context, Feature.POOLED, _columns(proj))


def _read_resampler(p: Tensors, context: int) -> ProjectionKind:
    tokens, width = _columns(p["latents"]), _columns(p["proj_in.weight"])
    if width == IDENTITY_WIDTH:
        return ProjectionKind(Kind.PORTRAIT_UNNORMED, tokens, Feature.IDENTITY, width)
    kolors = _rows(p["proj_in.weight"]) == 2048 and width == 1024
    family = Family.KOLORS if kolors else None
    return ProjectionKind(Kind.PLUS, tokens, Feature.PENULTIMATE, width, family)


def _read_full_face(p: Tensors, context: int) -> ProjectionKind:
    width = _columns(p["proj.0.weight"])
    return ProjectionKind(Kind.FULL_FACE, _FULL_FACE_TOKENS, Feature.PENULTIMATE, width)


def _read_face_id(p: Tensors, context: int) -> ProjectionKind:
    tokens = _rows(p["proj.2.weight"]) // context
    kind = Kind.FACEID if tokens == 4 else Kind.PORTRAIT
    return ProjectionKind(kind, tokens, Feature.IDENTITY, IDENTITY_WIDTH)


def _read_face_id_plus(p: Tensors, context: int) -> ProjectionKind:
    kolors = _rows(p["norm.weight"]) == KOLORS_TEXT_WIDTH
    tokens = _rows(p["proj.2.weight"]) // (KOLORS_TEXT_WIDTH if kolors else context)
    width = _columns(p["perceiver_resampler.proj_in.weight"])
    family = Family.KOLORS if kolors else None
    return ProjectionKind(Kind.FACEID_PLUS, tokens, Feature.PENULTIMATE, width, family)


def _read_xlabs(p: Tensors, context: int) -> ProjectionKind:
    return _read_standard(p, context)._replace(kind=Kind.XLABS, family=Family.FLUX)


def _read_flux_instantx(p: Tensors, context: int) -> ProjectionKind:
    tokens, width = _rows(p["proj.2.weight"]) // context, _columns(p["proj.0.weight"])
    return ProjectionKind(Kind.INSTANTX, tokens, Feature.POOLED, width, Family.FLUX)


def _read_sd3(p: Tensors, context: int) -> ProjectionKind:
    return _read_resampler(p, context)._replace(kind=Kind.INSTANTX, family=Family.SD3)


def _has(*beginnings: str) -> _Test:
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
    """UNets count self-attention too, so that their first layer with image tokens is number 1."""
    return _has("proj.0.")(weights) and any(key.startswith("0.") for key in weights.layers)


# First match wins: each rung is narrower than those below it.
_LADDER: tuple[tuple[_Test, _Reader], ...] = (
    (_is_xlabs, _read_xlabs),
    (_is_sd3, _read_sd3),
    (_is_flux_instantx, _read_flux_instantx),
    (_has("perceiver_resampler."), _read_face_id_plus),
    (_has("latents", "norm_out."), _read_resampler),
    (_has("proj.3."), _read_full_face),
    (_has_mlp, _read_face_id),
    (_has("proj.weight", "proj.bias", "norm."), _read_standard),
)
