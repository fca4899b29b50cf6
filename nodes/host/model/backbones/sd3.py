"""SD3.5: the joint blocks of a MODEL, their norms, and what goes around its calls."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable
from contextlib import contextmanager
from typing import Any, cast

import comfy.model_base
import torch

from .....ip_models.layer import Layer
from .....ip_models.transformer.layers import JOINT, BlockAddress, layers_of_counts
from .....ip_models.transformer.vocabulary import SD3
from ...protocols import Model, TransformerOptions
from .backbone import BaseNorms
from .own import own_object, own_weight
from .sd3_patch import patched
from .transformer import GRID, Transformer, grid_of

_NETWORK = "diffusion_model"


class StableDiffusion3(Transformer):
    """See `Backbone`; slots are `BlockAddress`es."""

    vocabulary = SD3

    def layers(self, model: Model) -> tuple[Layer, ...]:
        """See `Backbone.layers`."""
        network: Any = own_object(model, _NETWORK)
        if not isinstance(model.model, comfy.model_base.SD3) or not hasattr(
            network, "joint_blocks"
        ):
            return ()
        counts = ((JOINT, len(network.joint_blocks)),)
        return layers_of_counts(counts, int(network.hidden_size))

    def norms(self, model: Model) -> BaseNorms | None:
        """See `Backbone.norms`."""
        network: Any = own_object(model, _NETWORK)
        base: Any = model.model
        pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        for number, block in enumerate(network.joint_blocks):
            path = f"{_NETWORK}.joint_blocks.{number}.x_block.attn"
            attention = getattr(getattr(block, "x_block", None), "attn", None)
            weights = [getattr(attention, name, None) for name in ("ln_q", "ln_k")]
            if any(getattr(norm, "weight", None) is None for norm in weights):
                return None
            query, key = (
                own_weight(model, f"{path}.{name}.weight", getattr(attention, name).weight)
                for name in ("ln_q", "ln_k")
            )
            pairs.append((query.detach().float().cpu(), key.detach().float().cpu()))
        marked = any(".attn.ln_" in key for key in model.patches)
        mark = model.patches_uuid if marked else None
        dtype: torch.dtype = base.manual_cast_dtype or base.get_dtype()
        stored = dtype.itemsize < 2  # a type of weights, not one to compute with
        return BaseNorms(network, mark, tuple(pairs), torch.bfloat16 if stored else dtype)

    @contextmanager
    def calling(
        self,
        network: torch.nn.Module,
        options: TransformerOptions,
        slots: Iterable[Hashable],
        latent: tuple[int, int],
    ) -> Generator[TransformerOptions]:
        """See `Backbone.calling`."""
        options = patched(options, cast("Iterable[BlockAddress]", slots))
        yield {**options, GRID: grid_of(network, latent)}
