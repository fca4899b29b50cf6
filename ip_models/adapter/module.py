"""The adapter as a module: image projection, and to_k_ip and to_v_ip of each attention layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..attention.joined import JoinedKeyValues
from ..attention.keyvalue import KeyValues
from ..errors import WrongBase
from ..projection.layer_maps import FLUX_HEAD, LayerMaps, TimedMaps
from ..projection.projections import (
    VERSION_1,
    FacePlusProjection,
    FaceProjection,
    FaceShape,
    LinearProjection,
    Structure,
    TokenProjection,
)
from ..projection.resampler import HEAD_WIDTH, Resampler, ResamplerShape
from ..projection.time_resampler import TimeResampler
from .spec import IDENTITY_WIDTH, AdapterSpec, Kind, require_supported
from .state_dict import AdapterWeights, Shaped, highest_number

NormPair = tuple[Tensor, Tensor]
_TIMESTEPS = 1000
_LEVELS_TOGETHER = 8
_LARGEST_QUOTIENT = 1e4


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
                str(index): _maps(spec, width, weights, operations, where)
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
            kept.put(layer, *maps(joined))
        return kept.made

    def key_values_at(
        self,
        inputs: tuple[Tensor, ...],
        references: int,
        levels: Sequence[float],
        norms: Sequence[NormPair],
        on_layer: Callable[[], None],
    ) -> list[KeyValues]:
        """Keys and values at several noise levels, for adapters whose tokens depend on them.

        Args:
            inputs, references, on_layer: see `key_values`.
            levels: noise levels (sigma), 0..1.
            norms: weights of the base's own norms of queries and of keys, for each layer. Queries
                are as these leave them, and what the adapter's norms would make of them is in the
                keys instead.

        Returns:
            Those of each level, on the CPU.

        Raises:
            WrongBase: see `own_keys`.
        """
        self.own_keys(norms)
        (features,) = inputs
        tokens, times = self._timed_tokens(features, levels)
        own = references * tokens.shape[2]
        made: list[list[tuple[Tensor, Tensor]]] = [[] for _ in levels]
        for maps, (query, _) in zip(self.ip_adapter.values(), norms, strict=True):
            on_layer()
            factor = (maps.norm_q.weight.to(query) / query).to(tokens)  # pyright: ignore
            for level, (rows, time) in enumerate(zip(tokens, times, strict=True)):
                key, value = (half.flatten(0, 1)[None] for half in maps(rows, time))
                key = (key.unflatten(-1, (-1, len(factor))) * factor).flatten(-2)
                made[level].append((key.cpu(), value.cpu()))
        return [
            KeyValues.pack(
                [(key[:, :own], value[:, :own]) for key, value in layers],
                [(key[:, own:], value[:, own:]) for key, value in layers],
            )
            for layers in made
        ]

    def _timed_tokens(self, features: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
        """(levels, n, tokens, context) and (levels, n, time), some levels at once."""
        assert isinstance(self.image_proj, TimeResampler)
        # In bfloat16 a timestep of 611 would be one of 612.
        times = torch.tensor(levels, dtype=torch.float32, device=features.device) * _TIMESTEPS
        made: list[tuple[Tensor, Tensor]] = []
        for some in times.split(_LEVELS_TOGETHER):
            rows = features.repeat(len(some), 1, 1)
            tokens, time = self.image_proj.at(rows, some.repeat_interleave(len(features)))
            apart = (len(some), len(features))
            made.append((tokens.unflatten(0, apart), time.unflatten(0, apart)))
        tokens, time = (torch.cat(parts) for parts in zip(*made, strict=True))
        return tokens, time

    def own_keys(self, norms: Sequence[NormPair]) -> tuple[Tensor, ...]:
        """What the base's own keys of each layer are multiplied with, (head width,) each.

        The adapter norms queries and keys with weights of its own; those of the base are divided
        out, and what is for the query goes to the key, which it is multiplied with.

        Args:
            norms: see `key_values_at`.

        Raises:
            WrongBase: a weight of the base is so small that nothing is left to be divided.
        """
        factors: list[Tensor] = []
        for maps, (query, key) in zip(self.ip_adapter.values(), norms, strict=True):
            wanted = (maps.norm_q.weight, maps.norm_k.weight)  # pyright: ignore
            product = torch.ones_like(query)
            for own, base in zip(wanted, (query, key), strict=True):
                product = product * own.to(base) / base  # pyright: ignore
            if not bool((product.abs() < _LARGEST_QUOTIENT).all()):
                raise WrongBase(
                    "this MODEL norms a channel of its queries or keys to nearly nothing",
                    "the adapter's own norms can only take the place of others than 0",
                    "Load the SD3.5 Large it was trained on",
                )
            factors.append(product)
        return tuple(factors)


def _maps(
    spec: AdapterSpec, width: int, weights: AdapterWeights, operations: Any, where: dict[str, Any]
) -> nn.Module:
    """Empty maps of one layer."""
    context = spec.context_width
    if spec.timed:
        time = int(weights.projection["time_embedding.linear_2.weight"].shape[0])
        head = int(weights.layers["0.norm_q.weight"].shape[0])
        return TimedMaps(context, width, time, head, operations, **where)
    head = FLUX_HEAD if spec.kind is Kind.INSTANTX else 0
    return LayerMaps(context, width, operations, spec.kind is Kind.XLABS, head, **where)


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
    if spec.kind in (Kind.STANDARD, Kind.XLABS):
        return LinearProjection(
            spec.feature_width, spec.tokens, spec.context_width, operations, **where
        )
    if spec.kind is Kind.FULL_FACE:
        return TokenProjection(spec.feature_width, spec.context_width, operations, **where)
    if spec.timed:
        pairs = int(tensors["time_embedding.linear_1.weight"].shape[1]) // 2
        time = 2 * pairs  # a sine and a cosine each, so that an odd width does not fit
        return TimeResampler(_resampler_shape(spec, tensors), time, operations, **where)
    if spec.kind in (Kind.FACEID, Kind.PORTRAIT, Kind.INSTANTX):
        # The same two layers for a picture as for a face.
        return FaceProjection(_face_shape(spec, tensors), operations, **where)
    if spec.kind is Kind.FACEID_PLUS:
        # Its latents are the identity tokens.
        perceiver = _resampler_shape(spec, tensors, "perceiver_resampler.")
        perceiver = replace(perceiver, latent_width=spec.token_width)
        return FacePlusProjection(_face_shape(spec, tensors), perceiver, operations, **where)
    return Resampler(_resampler_shape(spec, tensors), operations, **where)


def _face_shape(spec: AdapterSpec, tensors: Mapping[str, Shaped]) -> FaceShape:
    hidden = int(tensors["proj.0.weight"].shape[0])
    width = spec.feature_width if spec.kind is Kind.INSTANTX else IDENTITY_WIDTH
    return FaceShape(width, hidden, spec.tokens, spec.token_width)


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
