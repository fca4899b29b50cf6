"""The arithmetic of image projections as the specification words it, in plain double precision."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
HEAD = 64


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    out = x.double() @ weights[f"{name}.weight"].double().T
    bias = weights.get(f"{name}.bias")
    return out if bias is None else out + bias.double()


def norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5)
    return scaled * weights[f"{name}.weight"].double() + weights[f"{name}.bias"].double()


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Every head by itself, q and k each scaled by width^-1/4."""
    out: list[Tensor] = []
    for qh, kh, vh in zip(*(t.chunk(heads, dim=-1) for t in (q, k, v)), strict=True):
        scale = qh.shape[-1] ** -0.25
        out.append(torch.softmax((qh * scale) @ (kh * scale).transpose(-1, -2), dim=-1) @ vh)
    return torch.cat(out, dim=-1)


def face_mlp(identity: Tensor, w: Weights) -> Tensor:
    """Linear, GELU, Linear, reshape, LayerNorm."""
    flat = linear(gelu(linear(identity, w, "proj.0")), w, "proj.2")
    return norm(flat.reshape(len(identity), -1, len(w["norm.weight"])), w, "norm")


def perceiver(z: Tensor, features: Tensor, w: Weights) -> Tensor:
    """z reads the features, four times over or as often as there are layers."""
    x = linear(features, w, "proj_in")
    for i in range(len({key.split(".")[1] for key in w if key.startswith("layers.")})):
        at, ff = f"layers.{i}.0", f"layers.{i}.1"
        a, b = norm(x, w, f"{at}.norm1"), norm(z, w, f"{at}.norm2")
        k, v = linear(torch.cat([a, b], dim=1), w, f"{at}.to_kv").chunk(2, dim=-1)
        heads = len(w[f"{at}.to_q.weight"]) // HEAD
        z = z + linear(attention(linear(b, w, f"{at}.to_q"), k, v, heads), w, f"{at}.to_out")
        z = z + linear(gelu(linear(norm(z, w, f"{ff}.0"), w, f"{ff}.1")), w, f"{ff}.3")
    return norm(linear(z, w, "proj_out"), w, "norm_out")


def resampler(features: Tensor, w: Weights) -> Tensor:
    return perceiver(w["latents"].double().expand(len(features), -1, -1), features, w)


def face_plus(
    identity: Tensor, crops: Tensor, w: Weights, shortcut: bool, scale: float = 1.0
) -> Tensor:
    inner = {
        key.removeprefix("perceiver_resampler."): value
        for key, value in w.items()
        if key.startswith("perceiver_resampler.")
    }
    tokens = face_mlp(identity, w)
    out = perceiver(tokens, crops, inner)
    return tokens + scale * out if shortcut else out
