"""Image prompts of a UNet whose layers another pack runs by a forward of its own.

The host does not run the forward of a layer whose slot is taken. Guidance inside the attention
(ComfyUI-NAG) exchanges that forward for one that knows what the further rows of the text are for.
There the slots are left free, and the image prompts are added to what goes into the layer's output
projection, where text and image are added up in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.nn import Module

from .....ip_models.attention.stack import ActivePrompts
from ...protocols import TransformerOptions
from ..call import calls, rows
from .unet_patch import LayerPatch, free_slots

_FORWARD, _LAYER, _CHILDREN = "forward", "attn2", "_modules"
Slot = tuple[Any, ...]
# The transformer block of each layer.
_blocks: WeakKeyDictionary[Module, dict[Slot, Module]] = WeakKeyDictionary()


def run_otherwise(
    network: object, slots: Iterable[Slot], path_of: Callable[[Slot], str]
) -> dict[Slot, str]:
    """Those of these layers that have been given another forward, or may get one in the call.

    A compiled network has one too, and is left as it is.

    Args:
        path_of: name of the module of a slot in the network.

    Returns:
        The names of their modules.
    """
    if not isinstance(network, Module):  # an engine
        return {}
    own = vars(network)
    if "_orig_mod" in own[_CHILDREN]:
        return {}
    everywhere = _FORWARD in own
    blocks = _blocks.setdefault(network, {})
    found: dict[Slot, str] = {}
    for slot in slots:
        block = blocks.get(slot)
        if block is None:  # looked for once, as this is done in every call
            block = blocks[slot] = _module(network, path_of(slot).rpartition(".")[0]) or network
        layer = vars(block)[_CHILDREN].get(_LAYER)
        if everywhere or (layer is not None and _FORWARD in vars(layer)):
            found[slot] = path_of(slot)
    return found


@contextmanager
def added_in_modules(
    network: Module, options: TransformerOptions, paths: Mapping[Slot, str]
) -> Generator[TransformerOptions]:
    """While this lasts, image prompts are added in the modules of layers whose slots nobody needs.

    Args:
        options: of the call, with the slots taken.
        paths: name of the module of each slot.

    Yields:
        Options in which these slots are free.
    """
    options, free = free_slots(options, paths)
    with ExitStack() as hooks:
        for patch in free:
            layer = _module(network, paths[patch.slot])
            for handle in _hooks(patch, layer) if layer is not None else ():
                hooks.callback(handle.remove)
        yield options


def _module(network: Module, path: str) -> Module | None:
    found: object = network
    for name in path.split("."):
        found = getattr(found, name, None)
    return cast("Module | None", found)


def _hooks(patch: LayerPatch, layer: Module) -> Iterable[Any]:
    """Handles of hooks that take the query and the options of a layer and add to its output."""
    seen: dict[str, Any] = {}

    def begin(_: Module, args: object, named: dict[str, Any]) -> None:
        seen["options"] = named.get("transformer_options") or {}

    def query(_: Module, args: object, q: Tensor) -> None:
        seen["q"] = q

    def add(_: Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        options, q = seen.get("options", {}), seen.pop("q", None)
        active = options.get(calls.KEY)
        if not isinstance(active, ActivePrompts):
            return None
        if q is None or q.shape != args[0].shape:
            raise rows.no_query(patch.name)
        extra = {**options, "n_heads": layer.heads, "attn_precision": layer.attn_precision}
        return (patch.with_images(args[0], q, active, extra), *args[1:])

    def end(*_: object) -> None:
        seen.clear()

    parts = cast("Any", layer)
    return (
        layer.register_forward_pre_hook(begin, with_kwargs=True),
        parts.to_q.register_forward_hook(query),
        parts.to_out.register_forward_pre_hook(add),
        layer.register_forward_hook(end),
    )
