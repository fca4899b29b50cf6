"""What the patches of all diffusion transformers have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, cast

from torch import Tensor

from .....ip_models.adapter.spec import AdapterSpec
from .....ip_models.attention.attend import Attended, LayerEntry, add_to_rows
from .....ip_models.attention.masks import Grid
from .....ip_models.attention.record import LayerRecord
from .....ip_models.attention.stack import ActivePrompts, PromptStack
from .....ip_models.errors import WrongBatch
from .....ip_models.layer import Layer
from .....ip_models.transformer.layers import BlockAddress
from ...protocols import Model, TransformerOptions
from ..call import calls, rows
from .backbone import BaseNorms, TextProjection
from .kernel import unquantised_attention

log = logging.getLogger("ipadapter")

GRID = "ipadapter_grid"
_warned = set[str]()


class Transformer:
    """What backbones of transformers have in common, see `Backbone`.

    Nothing is put on a MODEL: patches go into the options of each call.
    """

    def text_projection(self, model: Model) -> TextProjection | None:
        """None: no adapter goes through it."""
        return None

    def norms(self, model: Model) -> BaseNorms | None:
        """None, unless adapters bring norms of their own."""
        return None

    def slot(self, layer: Layer, spec: AdapterSpec) -> Hashable:
        """See `Backbone.slot`."""
        return layer.slot

    def places(self, layer: Layer) -> tuple[Hashable, ...]:
        """See `Backbone.places`; some add after the block."""
        address = cast("BlockAddress", layer.slot)
        return address, address._replace(after=True)

    def hook(self, model: Model, slots: Iterable[Hashable]) -> None:
        """Nothing."""

    def unhook(self, model: Model) -> None:
        """Nothing was put on."""

    def hook_call(
        self, options: TransformerOptions, slots: Iterable[Hashable]
    ) -> TransformerOptions:
        """As they are, see `Backbone.calling`."""
        return options

    def processor_names(self, layers: Sequence[Layer]) -> list[str]:
        """None: no adapter of these models carries a LoRA."""
        return []


def grid_of(network: object, latent: tuple[int, int]) -> Grid:
    """The grid on which a network cuts a latent of (height, width) into patches."""
    patch = int(getattr(network, "patch_size", 2))
    height, width = (-(-side // patch) for side in latent)
    return height, width, latent


class Added(NamedTuple):
    """What the image prompts of a call add to a layer, and where it is noted if somebody looks."""

    entries: Sequence[LayerEntry] = ()
    record: LayerRecord | None = None


def added_to(extra: TransformerOptions, batch: int, like: Tensor, slot: BlockAddress) -> Added:
    """What the image prompts of a call add to a layer.

    Args:
        extra: the layer's options.
        batch: rows of its query.
        like: of the device and type of its query.

    Raises:
        WrongBatch: the layer has other rows than the call.
    """
    active = extra.get(calls.KEY)
    if isinstance(active, PromptStack):  # the model was called around the host's wrappers
        active = calls.active_in_layer(active, extra, batch)
    if not isinstance(active, ActivePrompts):
        return Added()
    if batch != active.batch or extra.get("cond_or_uncond") != active.places:
        name = f"{slot.kind} block {slot.number}"
        active = rows.of_layer(active, batch, extra, name)
    entries = active.table(like.device, like.dtype).get(slot, ())
    return Added(entries, active.layer_record(slot, batch) if entries else None)


def hears(extra: TransformerOptions, like: Tensor, slot: Hashable) -> bool:
    """Whether a layer hears any image prompt in this call."""
    active = extra.get(calls.KEY)
    if isinstance(active, ActivePrompts):
        return slot in active.table(like.device, like.dtype)
    return active is not None


def add(out: Tensor, attended: Attended, added: Added, extra: TransformerOptions) -> None:
    """Add image prompts to rows that nobody else holds, see `add_to_rows`."""
    # Users report damaged pictures with quantised kernels, as for UNets.
    attention: Callable[..., Tensor] = partial(
        unquantised_attention(), skip_reshape=True, low_precision_attention=False
    )
    (entries, record), grid = added, extra[GRID]
    if record is None:
        add_to_rows(out, attended, entries, grid, attention)
        return
    record.begin(out)
    add_to_rows(out, attended, entries, grid, record.listening(attention))
    record.end(entries, grid, attended.q, attended.before, attended.after)


def rows_after(address: BlockAddress, rows: int, grid: Grid) -> int:
    """How many rows stand after those of the picture, e.g. those of Kontext's other pictures.

    Args:
        rows: all that are not text.

    Raises:
        WrongBatch: there are fewer than the picture has.
    """
    height, width, _ = grid
    if rows < height * width:
        raise WrongBatch(
            f"{address.kind} block {address.number} has {rows} rows of the picture",
            f"its grid has {width} x {height}",
            "Take out the node that merges or drops rows, or the references",
        )
    return rows - height * width


def warn_once(text: str) -> None:
    """A warning that is not repeated in every step."""
    if text not in _warned:
        _warned.add(text)
        log.warning("%s", text)
