"""Which part of an adapter a tensor belongs to, whatever its file puts around the adapter.

A training (tencent-ailab/IP-Adapter @ 62e4af9, `tutorial_train*.py`) saves one module of `unet`,
`image_proj_model` and `adapter_modules`. The last lists the attention processors that are in the
UNet too, so that each of their tensors has two names; in safetensors one of them is left out,
mostly the number. Compiling, distributing and averaging put more words before a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .processors import Attention, numbered, read_attention


class Shaped(Protocol):
    """A tensor, or the part of a file header that tells a tensor's shape and type."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


Tensors = dict[str, Shaped]

# In order of preference: files that carry everything twice (NOOB-IPA-MARK1) use the first.
_PROJECTION = ("image_proj", "image_proj_model", "ip_adapter_proj_model")
_LAYERS = ("ip_adapter", "adapter_modules")
# The last one of a name counts: some tools save `image_proj.image_proj.proj.weight`.
_PARTS = _PROJECTION + _LAYERS
# Of DistributedDataParallel, torch.compile, FSDP and trainers: of no meaning in a name.
_WRAPPERS = {
    "module",
    "state_dict",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
}
_AVERAGED = {"ema", "ema_model", "model_ema", "module_ema", "averaged_model", "ema_state_dict"}
# Models that a module called ip_adapter may hold beside the adapter.
_BESIDE = ("unet.", "vae.", "text_encoder", "image_encoder", "controlnet.")
# Adapters that diffusers has loaded are numbered: the first one is to_k_ip.0.
_LOADED_FIRST = re.compile(r"\.(to_[kv]_ip)\.0\.(weight|bias)$")


@dataclass
class Parts:
    """The tensors of an adapter.

    Attributes:
        projection, layers: under the names of published files, without their prefix.
        modules: name in the UNet of the attention of an index, where the file tells.
        ambiguous: two names of one tensor where a file holds two adapters.
    """

    projection: Tensors = field(default_factory=dict[str, Shaped])
    layers: Tensors = field(default_factory=dict[str, Shaped])
    modules: dict[str, str] = field(default_factory=dict[str, str])
    ambiguous: tuple[str, ...] = ()

    @staticmethod
    def knows(key: str) -> bool:
        """Whether a tensor is expected in an adapter's file, be it only to be left."""
        return key.startswith("unet.") or bool(_split(key) or read_attention(key))


def flatten(tensors: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Shaped]]:
    """All tensors of a file, nested or flat, by their whole names without wrappers."""
    for key, value in tensors.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")  # pyright: ignore[reportUnknownArgumentType]
        elif hasattr(value, "shape"):
            yield ".".join(word for word in name.split(".") if word not in _WRAPPERS), value


def read_parts(flat: Mapping[str, Shaped]) -> Parts:
    """The adapter in a file: of averaged weights (EMA) where all of it is averaged."""
    averaged = {key: value for key, value in flat.items() if _AVERAGED & set(key.split("."))}
    if averaged:
        parts = _read(averaged)
        if parts.projection and parts.layers:
            return parts
        flat = {key: value for key, value in flat.items() if key not in averaged}
    return _read(flat)


def _read(flat: Mapping[str, Shaped]) -> Parts:
    parts = Parts()
    by_name: dict[str, Tensors] = {}
    first: dict[tuple[str, str], str] = {}
    attentions: dict[str, Attention] = {}
    for key, value in flat.items():
        if attention := read_attention(key):
            attentions[key] = attention
            continue
        named = _split(key)
        if named is None or (named[0] in _LAYERS and named[1].startswith(_BESIDE)):
            continue
        by_name.setdefault(named[0], {})[named[1]] = value
        if first.setdefault(named, key) != key:
            parts.ambiguous = parts.ambiguous or (first[named], key)
    parts.projection = _first(by_name, _PROJECTION)
    named = _by_number(attentions, flat, parts)
    parts.layers = named | _first(by_name, _LAYERS)
    return parts


def _first(by_name: Mapping[str, Tensors], names: Iterable[str]) -> Tensors:
    return next((by_name[name] for name in names if name in by_name), {})


def _split(key: str) -> tuple[str, str] | None:
    """The part of an adapter that a tensor is of, and its name there; None for any other tensor."""
    words = key.split(".")
    for place in range(len(words) - 2, -1, -1):
        if words[place] in _PARTS and (rest := ".".join(words[place + 1 :])):
            return words[place], rest
    return None


def _by_number(
    attentions: Mapping[str, Attention], flat: Mapping[str, Shaped], parts: Parts
) -> Tensors:
    """The tensors of attentions that are called by their place in the UNet."""
    own = {key: one for key, one in attentions.items() if one.adapter}
    # The UNet beside them, if it is there, says which layers there are.
    prefixes = {one.prefix for one in own.values()}
    numbers = numbered(one for one in attentions.values() if one.prefix in prefixes)
    found: Tensors = {}
    first: dict[str, str] = {}
    for key, one in own.items():
        number = str(numbers[one])
        name = _LOADED_FIRST.sub(r".\1.\2", f"{number}.{one.rest}")
        parts.modules[number] = one.module
        if first.setdefault(name, key) != key:
            parts.ambiguous = parts.ambiguous or (first[name], key)
        found[name] = flat[key]
    return found
