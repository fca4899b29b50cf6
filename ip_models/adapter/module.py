"""The adapter as a module: image projection, and to_k_ip and to_v_ip of each attention layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..attention.joined import JoinedKeyValues
from ..attention.keyvalue import KeyValues
from ..errors import WrongBase
from .projections import (
    VERSION_1,
    FacePlusProjection,
    FaceProjection,
    FaceShape,
    LinearProjection,
    Structure,
    TokenProjection,
)
from .resampler import HEAD_WIDTH, Resampler, ResamplerShape
from .spec import IDENTITY_WIDTH, AdapterSpec, Kind, require_supported
from .state_dict import AdapterWeights, Shaped, highest_number


class LayerMaps(nn.Module):
    """The decoupled cross-attention's own key and value map of one layer."""

    def __init__(self, context: int, width: int, operations: Any, **where: Any) -> None:
        super().__init__()
        self.to_k_ip = operations.Linear(context, width, bias=False, **where)
        self.to_v_ip = operations.Linear(context, width, bias=False, **where)


class IPAdapter(nn.Module):
    """Weights of an adapter in the module tree of its file.

    Args:
        spec: what the file was recognised as.
        weights: its tensors, or a header's account of them where only the structure is wanted.
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

    def load(self, weights: AdapterWeights, assign: bool = False) -> None:
        """Take the tensors of a file, which `read_spec` has compared with this module."""
        state = {f"image_proj.{key}": value for key, value in weights.projection.items()}
        state |= {f"ip_adapter.{key}": value for key, value in weights.layers.items()}
        self.load_state_dict(state, assign=assign)  # pyright: ignore[reportArgumentType]

    def tokens(self, *inputs: Tensor, structure: Structure = VERSION_1) -> Tensor:
        """Image tokens of n references.

        Args:
            inputs: as `features.inputs` gives them, each (n, ...).
            structure: for FaceID plus, how the CLIP features of the face join its identity.

        Returns:
            (n, tokens, context), or as wide as the text encoder for Kolors FaceID.
        """
        if isinstance(self.image_proj, FacePlusProjection):
            return self.image_proj(*inputs, structure)
        return self.image_proj(*inputs)

    def key_values(
        self,
        inputs: tuple[Tensor, ...],
        references: int,
        on_layer: Callable[[], None],
        structure: Structure = VERSION_1,
        hid_proj: Callable[[Tensor], Tensor] | None = None,
    ) -> KeyValues:
        """Project references to the keys and values of every layer.

        Args:
            inputs: each (references + n, ...) on the adapter's device: what the references show,
                then what each of them shows without a reference, or all of them (n = 1), or
                nothing where that is the same (n = 0).
            on_layer: called before each layer, to report progress or to stop.
            structure: see `tokens`.
            hid_proj: the base model's projection of text, which Kolors FaceID needs.

        Returns:
            Keys and values on the CPU, tokens of all references joined.

        Raises:
            WrongBase: the base model has no projection of text where one is needed.
        """
        tokens = self.tokens(*inputs, structure=structure)
        if self.spec.through_text_projection:
            tokens = _projected(tokens, hid_proj)
        joined = tokens.flatten(0, 1)[None]
        own = references * tokens.shape[1]  # what comes after them is without a reference
        widths = self.spec.layer_widths
        kept = JoinedKeyValues(joined.shape[1], own, widths, joined.dtype)
        for layer, maps in enumerate(self.ip_adapter.values()):
            on_layer()
            kept.put(layer, 0, maps.to_k_ip(joined))  # pyright: ignore
            kept.put(layer, 1, maps.to_v_ip(joined))  # pyright: ignore
        return kept.made


def _projected(tokens: Tensor, hid_proj: Callable[[Tensor], Tensor] | None) -> Tensor:
    if hid_proj is None:
        raise WrongBase(
            "this MODEL has no projection of the text (encoder_hid_proj)",
            "a Kolors adapter for faces needs the Kolors UNet",
            "Load Kolors with a pack that brings its UNet",
        )
    return hid_proj(tokens)


def _dtype(tensors: Mapping[str, Shaped]) -> torch.dtype:
    """The widest type among tensors: all maps of a module are of one type."""
    return max((tensor.dtype for tensor in tensors.values()), key=lambda dtype: dtype.itemsize)


def _projection(
    spec: AdapterSpec, tensors: Mapping[str, Shaped], operations: Any, where: dict[str, Any]
) -> nn.Module:
    if spec.kind is Kind.STANDARD:
        return LinearProjection(
            spec.feature_width, spec.tokens, spec.context_width, operations, **where
        )
    if spec.kind is Kind.FULL_FACE:
        return TokenProjection(spec.feature_width, spec.context_width, operations, **where)
    if spec.kind in (Kind.FACEID, Kind.PORTRAIT):
        return FaceProjection(_face_shape(spec, tensors), operations, **where)
    if spec.kind is Kind.FACEID_PLUS:
        # Its latents are the identity tokens.
        perceiver = _resampler_shape(spec, tensors, "perceiver_resampler.")
        perceiver = replace(perceiver, latent_width=spec.token_width)
        return FacePlusProjection(_face_shape(spec, tensors), perceiver, operations, **where)
    return Resampler(_resampler_shape(spec, tensors), operations, **where)


def _face_shape(spec: AdapterSpec, tensors: Mapping[str, Shaped]) -> FaceShape:
    hidden = int(tensors["proj.0.weight"].shape[0])
    return FaceShape(IDENTITY_WIDTH, hidden, spec.tokens, spec.token_width)


def _resampler_shape(
    spec: AdapterSpec, tensors: Mapping[str, Shaped], prefix: str = ""
) -> ResamplerShape:
    def rows(key: str) -> int:
        return int(tensors[prefix + key].shape[0])

    return ResamplerShape(
        latent_count=spec.tokens,
        latent_width=rows("proj_in.weight"),
        feature_width=spec.feature_width,
        context_width=spec.token_width,
        heads=rows("layers.0.0.to_q.weight") // HEAD_WIDTH,
        hidden_width=rows("layers.0.1.1.weight"),
        depth=highest_number(tensors, f"{prefix}layers.") + 1,
    )
