"""The adapter as a module: image projection and one pair of key and value maps for each layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..attention.keyvalue import KeyValues
from ..errors import BrokenFile, WrongBase
from .projections import (
    VERSION_1,
    FacePlusProjection,
    FaceProjection,
    FaceShape,
    LinearProjection,
    Structure,
    TokenProjection,
)
from .resampler import Resampler, ResamplerShape
from .spec import AdapterSpec, Kind, require_supported
from .state_dict import AdapterWeights, Shaped

_PERCEIVER = "perceiver_resampler."


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

    def tokens(self, *inputs: Tensor, structure: Structure = VERSION_1) -> Tensor:
        """Image tokens of n references.

        Args:
            inputs: as `features.inputs` gives them, each (n, ...).
            structure: for FaceID plus, how the face's looks are heard.

        Returns:
            (n, tokens, context), or as wide as the text encoder for Kolors FaceID.
        """
        if isinstance(self.image_proj, FacePlusProjection):
            return self.image_proj(*inputs, structure)
        return self.image_proj(*inputs)

    def key_values(
        self,
        inputs: tuple[Tensor, ...],
        on_layer: Callable[[], None],
        structure: Structure = VERSION_1,
        hid_proj: Callable[[Tensor], Tensor] | None = None,
    ) -> KeyValues:
        """Project references to the keys and values of every layer.

        Args:
            inputs: each (2, references, ...), positive and negative, on the adapter's device.
            on_layer: called before each layer, to report progress or to stop.
            structure: see `tokens`.
            hid_proj: the base model's projection of text, which Kolors FaceID needs.

        Returns:
            Keys and values on the CPU, tokens of all references joined.

        Raises:
            WrongBase: the base model has no projection of text where one is needed.
        """
        tokens = self.tokens(*(rows.flatten(0, 1) for rows in inputs), structure=structure)
        if self.spec.through_text_projection:
            tokens = _projected(tokens, hid_proj)
        pairs = tokens.unflatten(0, (2, -1)).flatten(1, 2)
        layers: list[tuple[Tensor, Tensor]] = []
        for maps in self.ip_adapter.values():
            on_layer()
            layers.append((maps.to_k_ip(pairs), maps.to_v_ip(pairs)))  # pyright: ignore
        return _to_cpu(KeyValues.pack(layers))


def _projected(tokens: Tensor, hid_proj: Callable[[Tensor], Tensor] | None) -> Tensor:
    if hid_proj is None:
        raise WrongBase(
            "this MODEL has no projection of the text (encoder_hid_proj)",
            "a Kolors adapter for faces needs the Kolors UNet",
            "Load Kolors with a pack that brings its UNet",
        )
    return hid_proj(tokens)


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
    if spec.kind is Kind.FACEID_PLUS:
        inner = {k[len(_PERCEIVER) :]: v for k, v in tensors.items() if k.startswith(_PERCEIVER)}
        face, looks = _face_shape(spec, tensors), _resampler_shape(inner)
        return FacePlusProjection(face, looks, operations, **where)
    if spec.kind in (Kind.FACEID, Kind.PORTRAIT):
        return FaceProjection(_face_shape(spec, tensors), operations, **where)
    return Resampler(_resampler_shape(tensors, spec.tokens), operations, **where)


def _face_shape(spec: AdapterSpec, tensors: Mapping[str, Shaped]) -> FaceShape:
    hidden, identity = tensors["proj.0.weight"].shape
    width = int(tensors["norm.weight"].shape[0])
    return FaceShape(int(identity), int(hidden), spec.tokens, width)


def _resampler_shape(tensors: Mapping[str, Shaped], latents: int = 0) -> ResamplerShape:
    depth = len({key.split(".")[1] for key in tensors if key.startswith("layers.")})
    latent_width, feature_width = tensors["proj_in.weight"].shape
    return ResamplerShape(
        latent_count=latents,
        latent_width=int(latent_width),
        feature_width=int(feature_width),
        context_width=int(tensors["proj_out.weight"].shape[0]),
        inner_width=int(tensors["layers.0.0.to_q.weight"].shape[0]),
        hidden_width=int(tensors["layers.0.1.1.weight"].shape[0]),
        depth=depth,
    )


def _first_reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[1] if len(lines) > 1 else lines[0]).rstrip(".")[:200]
