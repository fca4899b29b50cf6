"""Flux.1 and Chroma: the blocks of a MODEL, and what goes around its calls."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable
from contextlib import contextmanager
from typing import Any, cast

import comfy.ldm.chroma.model
import comfy.ldm.flux.model
import torch

from .....ip_models.adapter.spec import AdapterSpec, Kind
from .....ip_models.errors import WrongBase
from .....ip_models.layer import Layer
from .....ip_models.transformer.layers import DOUBLE, SINGLE, BlockAddress, layers_of_counts
from .....ip_models.transformer.vocabulary import FLUX
from ...protocols import Model, TransformerOptions
from .flux_patch import Heard, patched
from .own import own_object
from .transformer import GRID, Transformer, grid_of, warn_once

_NETWORK = "diffusion_model"
_NUNCHAKU = ("ComfyFluxWrapper", "Nunchaku")
_OWN = (comfy.ldm.flux.model.Flux, comfy.ldm.chroma.model.Chroma)


class Flux(Transformer):
    """See `Backbone`; slots are `BlockAddress`es."""

    vocabulary = FLUX

    def layers(self, model: Model) -> tuple[Layer, ...]:
        """See `Backbone.layers`."""
        network: Any = own_object(model, _NETWORK)
        kind = type(network).__name__
        if kind.startswith(_NUNCHAKU):
            raise WrongBase(
                f"this MODEL is one of Nunchaku ({kind}), which does not let nodes reach into its "
                "blocks",
                "a Flux that ComfyUI runs itself is needed",
                "Load Flux with Load Diffusion Model (fp8 is enough to save memory), or as GGUF",
            )
        if not _is_flux(model, network):
            return ()
        counts = ((DOUBLE, len(network.double_blocks)), (SINGLE, len(network.single_blocks)))
        return layers_of_counts(counts, int(network.hidden_size))

    def slot(self, layer: Layer, spec: AdapterSpec) -> Hashable:
        """See `Backbone.slot`; XLabs adds after the block."""
        address = cast("BlockAddress", layer.slot)
        return address._replace(after=spec.kind is Kind.XLABS)

    @contextmanager
    def calling(
        self,
        network: torch.nn.Module,
        options: TransformerOptions,
        slots: Iterable[Hashable],
        latent: tuple[int, int],
    ) -> Generator[TransformerOptions]:
        """See `Backbone.calling`."""
        heard = Heard()
        options = patched(options, cast("Iterable[BlockAddress]", slots), heard)
        yield {**options, GRID: grid_of(network, latent)}
        replacing = None if heard.asked else _replacing(network)
        if replacing:
            warn_once(
                f"{replacing} has replaced the forward function of this Flux, which then asks no "
                "block for image prompts: the references have no effect. Take out that node, or "
                "the references."
            )


def _is_flux(model: Model, network: object) -> bool:
    if not (hasattr(network, "double_blocks") and hasattr(network, "single_blocks")):
        return False
    original = getattr(network, "_orig_mod", network)  # before it was compiled
    return isinstance(original, _OWN) or isinstance(
        getattr(model.model, "diffusion_model", None), _OWN
    )


def _replacing(network: torch.nn.Module) -> str:
    """Whose function runs the network instead of the host's, "" if that is the host's own."""
    network = getattr(network, "_orig_mod", network)
    for name in ("forward_orig", "_forward", "forward"):
        own = vars(network).get(name) or getattr(type(network), name, None)
        module = str(getattr(own, "__module__", "") or "")
        if own is not None and not module.startswith("comfy."):
            return module.removeprefix("custom_nodes.").split(".")[0] or "another node"
    return ""
