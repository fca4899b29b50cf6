"""Those who are measured: what loading and applying means to each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pack.ip_models.references.features import ImageFeatures
from pack.ip_models.weights.gains import EVERYWHERE, Weights
from pack.nodes.host.model.adapter import LoadedAdapter, load
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor, nn


@dataclass(frozen=True)
class How:
    """What a user sets at the node."""

    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mask: Tensor | None = None

    @property
    def windowed(self) -> bool:
        """Whether the noise level has to be known."""
        return self.start > 0 or self.end < 1


class Contender(Protocol):
    """A pack that can load an adapter file and apply it to a MODEL.

    Attributes:
        hears_middle: whether the middle block hears the reference.
    """

    name: str
    hears_middle: bool

    def load(self, path: Path) -> Any:
        """What its loader node gives."""
        ...

    def apply(self, model: Any, adapter: Any, features: ImageFeatures, how: How) -> Any:
        """What its apply node gives."""
        ...

    def module(self, model: Any, adapter: Any) -> nn.Module:
        """The module with the adapter's weights, after applying."""
        ...


class Ours:
    """This pack, entered where its nodes enter it."""

    name = "ours"
    hears_middle = True

    def load(self, path: Path) -> LoadedAdapter:
        return load(str(path))

    def apply(
        self,
        model: Any,
        adapter: LoadedAdapter,
        features: ImageFeatures,
        how: How,
        weights: Weights = EVERYWHERE,
    ) -> Any:
        settings = Settings(how.scale, how.start, how.end, how.mask, weights)
        return apply(model, adapter, features, settings)

    def module(self, model: Any, adapter: LoadedAdapter) -> nn.Module:
        return adapter.patcher.model
