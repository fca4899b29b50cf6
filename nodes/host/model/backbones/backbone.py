"""What the rest of the pack needs to know of a kind of diffusion model."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import torch
from torch import Tensor

from .....ip_models.adapter.spec import AdapterSpec
from .....ip_models.layer import Layer
from .....ip_models.weights.vocabulary import Vocabulary
from ...protocols import Model, TransformerOptions


@dataclass(frozen=True)
class TextProjection:
    """The model's own projection of text, on whatever device it is called.

    Attributes:
        linear: the module, which stays where the host keeps it.
        patched: the host's mark of the MODEL's weights, None where they are the file's.
        weight, bias: as they are while this MODEL runs.
        scale: of what it gives to image tokens.
    """

    linear: object
    patched: UUID | None
    weight: Tensor = field(compare=False)
    bias: Tensor | None = field(compare=False)
    scale: float = 1.0

    def __call__(self, tokens: Tensor) -> Tensor:
        """(..., text encoder) -> (..., context)."""
        weight = self.weight.to(tokens)
        bias = None if self.bias is None else self.bias.to(tokens)
        if self.scale != 1:
            weight, bias = weight * self.scale, None if bias is None else bias * self.scale
        return torch.nn.functional.linear(tokens, weight, bias)


@dataclass(frozen=True)
class BaseNorms:
    """The model's own norms of queries and keys, where an adapter brings others for its layers.

    Attributes:
        network: whose they are.
        patched: the host's mark of the MODEL's weights, None where they are the file's.
        pairs: for each layer the weight of the query's norm and of the key's, (head width,).
        dtype: in which the model computes.
    """

    network: object
    patched: UUID | None
    pairs: tuple[tuple[Tensor, Tensor], ...] = field(compare=False)
    dtype: torch.dtype = torch.float32

    def same(self, other: BaseNorms) -> bool:
        """Whether they are as long and hold the same numbers."""
        pairs = zip(self.pairs, other.pairs, strict=False)
        return len(self.pairs) == len(other.pairs) and all(
            torch.equal(one, its)
            for own, others in pairs
            for one, its in zip(own, others, strict=True)
        )


class Backbone(Protocol):
    """A kind of diffusion model.

    Attributes:
        vocabulary: what users call its blocks, and its presets.
    """

    vocabulary: Vocabulary

    def layers(self, model: Model) -> tuple[Layer, ...]:
        """The layers that can take image prompts, in the order of adapter files.

        None if the MODEL is of another kind.

        Raises:
            WrongBase: it is of this kind, and something is in the way of its layers.
        """
        ...

    def text_projection(self, model: Model) -> TextProjection | None:
        """The projection of a MODEL with a text encoder of another width, None for all others."""
        ...

    def norms(self, model: Model) -> BaseNorms | None:
        """Norms that an adapter's own take the place of, None for a MODEL without such adapters."""
        ...

    def slot(self, layer: Layer, spec: AdapterSpec) -> Hashable:
        """Where an adapter adds to a layer: its slot, or another place of its block."""
        ...

    def places(self, layer: Layer) -> tuple[Hashable, ...]:
        """Every place where any adapter may add to a layer."""
        ...

    def hook(self, model: Model, slots: Iterable[Hashable]) -> None:
        """Patch layers of a MODEL of one's own, so that they add what the table of a call says."""
        ...

    def unhook(self, model: Model) -> None:
        """Take these patches off again; other packs' patches stay where they were."""
        ...

    def hook_call(
        self, options: TransformerOptions, slots: Iterable[Hashable]
    ) -> TransformerOptions:
        """Options of a call with the patches in place, whatever came after them; a new dict."""
        ...

    def calling(
        self,
        network: torch.nn.Module,
        options: TransformerOptions,
        slots: Iterable[Hashable],
        latent: tuple[int, int],
    ) -> AbstractContextManager[TransformerOptions]:
        """The same for the time of a call of the network, in which it may need more than that.

        Args:
            latent: height and width of what the network is called with.
        """
        ...

    def processor_names(self, layers: Sequence[Layer]) -> list[str]:
        """diffusers' name of every attention, self and cross, in the order of adapter files."""
        ...
