"""Random adapters for the small transformers, under the published keys."""

from __future__ import annotations

from kit.models import checkpoints
from kit.models.checkpoints import Shapes
from kit.models.transformer_sizes import CONTEXT, Sizes
from torch import Tensor

XLABS_WIDTH, SIGLIP_WIDTH, SEQUENCE = 768, 1152, 9
_TOKENS = 4
_RESAMPLER, _TIME = 128, 64


def xlabs(sizes: Sizes, seed: int = 1, tokens: int = _TOKENS) -> dict[str, Tensor]:
    """XLabs' layout; the tokens are as wide as the text, as diffusers' loader wants them."""
    shapes = _linear("ip_adapter_proj_model.proj", tokens * CONTEXT, XLABS_WIDTH)
    shapes |= _norm("ip_adapter_proj_model.norm", CONTEXT)
    for block in range(sizes.doubles):
        stem = f"double_blocks.{block}.processor.ip_adapter_double_stream"
        for part in "kv":
            shapes |= _linear(f"{stem}_{part}_proj", sizes.hidden, CONTEXT)
    return _measurable(sizes, checkpoints.fill(shapes, seed=seed), 1, 0.5)


def instantx(sizes: Sizes, seed: int = 1, tokens: int = _TOKENS) -> dict[str, Tensor]:
    """InstantX' layout for Flux: every block, nothing has a bias."""
    shapes = _linear("image_proj.proj.0", 2 * SIGLIP_WIDTH, SIGLIP_WIDTH)
    shapes |= _linear("image_proj.proj.2", tokens * CONTEXT, 2 * SIGLIP_WIDTH)
    shapes |= _norm("image_proj.norm", CONTEXT)
    for block in range(sizes.blocks):
        for part in "kv":
            shapes[f"ip_adapter.{block}.to_{part}_ip.weight"] = (sizes.hidden, CONTEXT)
    return _measurable(sizes, checkpoints.fill(shapes, seed=seed), 3, 1)


def sd3(sizes: Sizes, seed: int = 1, tokens: int = _TOKENS) -> dict[str, Tensor]:
    """InstantX' layout for SD3.5: a resampler that knows the noise level, norms in every block."""
    shapes = {f"image_proj.{key}": shape for key, shape in _timed_resampler(sizes, tokens).items()}
    for block in range(sizes.blocks):
        shapes |= {f"ip_adapter.{block}.{key}": shape for key, shape in _sd3_layer(sizes).items()}
    return _measurable(sizes, checkpoints.fill(shapes, seed=seed), 12, 3)


def _measurable(
    sizes: Sizes, tensors: dict[str, Tensor], tiny: float, full: float
) -> dict[str, Tensor]:
    """Values so much larger than fresh ones that the effect is far above the tolerances.

    In deep models the effect adds up, and with an effect above 1 the rounding does so too. Keys
    that are normed are small, so that what is added before the root is seen.
    """
    factor = full if sizes.deep else tiny
    factors = {".to_v_ip.": factor, "_stream_v_proj.": factor, ".to_k_ip.": 0.05}
    return {
        key: value * next((f for part, f in factors.items() if part in key), 1)
        for key, value in tensors.items()
    }


def _timed_resampler(sizes: Sizes, tokens: int) -> Shapes:
    dim = _RESAMPLER
    shapes: Shapes = {"latents": (1, tokens, dim)}
    shapes |= _linear("proj_in", dim, SIGLIP_WIDTH) | _linear("proj_out", sizes.hidden, dim)
    shapes |= _norm("norm_out", sizes.hidden)
    shapes |= _linear("time_embedding.linear_1", dim, _TIME)
    shapes |= _linear("time_embedding.linear_2", dim, dim)
    for layer in range(4):
        name = f"layers.{layer}"
        shapes |= _norm(f"{name}.0.norm1", dim) | _norm(f"{name}.0.norm2", dim)
        shapes |= _norm(f"{name}.1.0", dim) | _linear(f"{name}.2.1", 4 * dim, dim)
        shapes |= {
            f"{name}.0.to_q.weight": (dim, dim),
            f"{name}.0.to_kv.weight": (2 * dim, dim),
            f"{name}.0.to_out.weight": (dim, dim),
            f"{name}.1.1.weight": (4 * dim, dim),
            f"{name}.1.3.weight": (dim, 4 * dim),
        }
    return shapes


def _sd3_layer(sizes: Sizes) -> Shapes:
    norms: Shapes = {f"{name}.weight": (sizes.head,) for name in ("norm_q", "norm_k", "norm_ip_k")}
    return norms | {
        **_linear("norm_ip.linear", 2 * sizes.hidden, _RESAMPLER),
        "to_k_ip.weight": (sizes.hidden, sizes.hidden),
        "to_v_ip.weight": (sizes.hidden, sizes.hidden),
    }


def _linear(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
