"""The adapter as a module: image projection and one pair of key and value maps for each layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .errors import BrokenFile
from .keyvalue import KeyValues
from .projections import LinearProjection, TokenProjection
from .resampler import Resampler, ResamplerShape
from .spec import AdapterSpec, Kind, require_supported
from .state_dict import AdapterWeights, Shaped


class LayerMaps(nn.Module):
    """Key and value map of one attention layer."""

    def __init__(self, context: int, width: int, operations: Any, **where: Any) -> None:
        super().__init__()
        self.to_k_ip = operations.Linear(context, width, bias=False, **where)
        self.to_v_ip = operations.Linear(context, width, bias=False, **where)


class IPAdapter(nn.Module):
    """Weights of an adapter in the module tree of its file.

    Args:
        spec: what the file was recognised as.
        weights: its tensors, or shapes where only the structure is wanted.
        operations: namespace with `Linear` and `LayerNorm`, e.g. `torch.nn`.
        device: where the parameters are made; they are left uninitialised.

    Raises:
        UnsupportedAdapter: the kind cannot be applied yet.
    """

    def __init__(
        self,
        spec: AdapterSpec,
        weights: AdapterWeights,
        operations: Any,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        require_supported(spec, "the file")
        self.spec = spec
        where = {"device": device, "dtype": _dtype(weights.projection)}
        self.image_proj = _projection(spec, weights.projection, operations, where)
        where = {"device": device, "dtype": _dtype(weights.layers)}
        self.ip_adapter = nn.ModuleDict(
            {
                str(index): LayerMaps(spec.context_width, width, operations, **where)
                for index, width in zip(spec.layers, spec.layer_widths, strict=True)
            }
        )

    def load(self, weights: AdapterWeights, name: str, assign: bool = False) -> None:
        """Take the tensors of a file.

        Raises:
            BrokenFile: a key is missing, unexpected or of another shape.
        """
        state = {f"image_proj.{key}": value for key, value in weights.projection.items()}
        state |= {f"ip_adapter.{key}": value for key, value in weights.layers.items()}
        try:
            self.load_state_dict(state, assign=assign)  # pyright: ignore[reportArgumentType]
        except RuntimeError as error:
            raise BrokenFile(
                f"{name} does not fit its own layout ({_first_reason(error)})",
                "every tensor of the published layout is needed and no other",
                "Download the file again",
            ) from error

    def tokens(self, features: Tensor) -> Tensor:
        """(n, feature) or (n, sequence, feature) -> (n, tokens, context)."""
        return self.image_proj(features)

    def key_values(self, features: Tensor, on_layer: Callable[[], None]) -> KeyValues:
        """Project references to the keys and values of every layer.

        Args:
            features: (2, references, ...), positive and negative, on the adapter's device.
            on_layer: called before each layer, to report progress or to stop.

        Returns:
            Keys and values on the CPU, tokens of all references joined.
        """
        pairs = self.tokens(features.flatten(0, 1)).unflatten(0, (2, -1)).flatten(1, 2)
        layers: list[tuple[Tensor, Tensor]] = []
        for maps in self.ip_adapter.values():
            on_layer()
            layers.append((maps.to_k_ip(pairs), maps.to_v_ip(pairs)))  # pyright: ignore
        return _to_cpu(KeyValues.pack(layers))


def _to_cpu(key_values: KeyValues) -> KeyValues:
    packed = key_values.packed.to("cpu")
    return KeyValues(packed, key_values.widths, key_values.tokens)


def _dtype(tensors: dict[str, Shaped]) -> torch.dtype | None:
    """The widest type among tensors, None for mere shapes."""
    types = {tensor.dtype for tensor in tensors.values() if isinstance(tensor, Tensor)}
    whole = [dtype for dtype in types if not dtype.is_floating_point]
    if whole:
        raise BrokenFile(
            f"the file has weights of type {whole[0]}",
            "floating point weights are needed",
            "Download the published file instead of a quantised one",
        )
    return max(types, key=lambda dtype: dtype.itemsize, default=None)


def _projection(
    spec: AdapterSpec, tensors: dict[str, Shaped], operations: Any, where: dict[str, Any]
) -> nn.Module:
    if spec.kind is Kind.STANDARD:
        return LinearProjection(
            spec.feature_width, spec.tokens, spec.context_width, operations, **where
        )
    if spec.kind is Kind.FULL_FACE:
        return TokenProjection(spec.feature_width, spec.context_width, operations, **where)
    return Resampler(_resampler_shape(spec, tensors), operations, **where)


def _resampler_shape(spec: AdapterSpec, tensors: dict[str, Shaped]) -> ResamplerShape:
    depth = len({key.split(".")[1] for key in tensors if key.startswith("layers.")})
    return ResamplerShape(
        latent_count=spec.tokens,
        latent_width=int(tensors["latents"].shape[-1]),
        feature_width=spec.feature_width,
        context_width=spec.context_width,
        inner_width=int(tensors["layers.0.0.to_q.weight"].shape[0]),
        hidden_width=int(tensors["layers.0.1.1.weight"].shape[0]),
        depth=depth,
    )


def _first_reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[1] if len(lines) > 1 else lines[0]).rstrip(".")[:200]
