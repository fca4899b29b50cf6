"""The published file layouts, reduced to one: projection, layers, LoRA.

Layouts as listed in tencent-ailab/IP-Adapter @ 62e4af9 (`.bin`, training output), diffusers 0.42
(flat safetensors) and XLabs-AI/x-flux @ 4749542. Works on anything with a `shape` and a `dtype`, so
that a safetensors header is enough to recognise a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import BrokenFile, UnknownAdapter


class Shaped(Protocol):
    """A tensor, or the part of a file header that tells a tensor's shape and type."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


# In order of preference: files that carry everything twice (NOOB-IPA-MARK1) use the first.
_PROJECTION = ("image_proj.", "image_proj_model.", "ip_adapter_proj_model.")
_LAYERS = ("ip_adapter.", "adapter_modules.")
_XLABS = re.compile(
    r"^double_blocks\.(\d+)\.processor\.ip_adapter_double_stream_([kv])_proj\.(weight|bias)$"
)
_LORA = re.compile(r"^\d+\.to_(?:q|k|v|out)_lora\.")
_WRAPPERS = re.compile(r"(?:module\.|state_dict\.)+")


@dataclass(frozen=True)
class AdapterWeights:
    """One adapter file in the canonical layout.

    Attributes:
        projection: keys as in `image_proj`, e.g. `proj.weight`.
        layers: `<index>.to_k_ip.weight` and so on, index as in the file (1, 3, 5, ... for UNets).
        lora: `<processor>.to_q_lora.down.weight` and so on, empty for most files.
        ignored: keys that belong to none of the three.
    """

    projection: dict[str, Shaped]
    layers: dict[str, Shaped]
    lora: dict[str, Shaped] = field(default_factory=dict[str, Shaped])
    ignored: tuple[str, ...] = ()


def canonical(tensors: Mapping[str, Any], name: str = "the file") -> AdapterWeights:
    """Sort the tensors of an adapter file, nested or flat, into `AdapterWeights`.

    Raises:
        UnknownAdapter: the file has no image projection or no image attention layers.
    """
    flat = dict(_flatten(tensors))
    projection = _first_prefixed(flat, _PROJECTION)
    layers = _first_prefixed(flat, _LAYERS) or _xlabs_layers(flat)
    maps = {key: value for key, value in layers.items() if not _LORA.match(key)}
    if not projection or not maps:
        raise UnknownAdapter(
            f"{name} holds {_listing(flat)}",
            "an IP-Adapter holds image_proj and ip_adapter tensors",
            "Choose an IP-Adapter file; other models belong into their own folder",
        )
    known = _PROJECTION + _LAYERS + ("double_blocks.", "unet.")
    return AdapterWeights(
        projection=projection,
        layers=maps,
        lora={key: value for key, value in layers.items() if _LORA.match(key)},
        ignored=tuple(key for key in flat if not key.startswith(known)),
    )


def highest_number(keys: Iterable[str], prefix: str = "") -> int:
    """The highest number of at most three digits between a prefix and a dot, -1 without any."""
    numbered = re.compile(rf"{re.escape(prefix)}([0-9]{{1,3}})\.")
    return max((int(m[1]) for key in keys if (m := numbered.match(key))), default=-1)


def _flatten(tensors: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Shaped]]:
    for key, value in tensors.items():
        name = f"{prefix}{key}"
        if wrapped := _WRAPPERS.match(name):
            name = name[wrapped.end() :]
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")  # pyright: ignore[reportUnknownArgumentType]
        elif hasattr(value, "shape"):
            yield name, value


def _first_prefixed(flat: Mapping[str, Shaped], prefixes: tuple[str, ...]) -> dict[str, Shaped]:
    for prefix in prefixes:
        # Some tools save `image_proj.image_proj.proj.weight`.
        begins = re.compile(f"(?:{re.escape(prefix)})+")
        found = {key[m.end() :]: v for key, v in flat.items() if (m := begins.match(key))}
        if found:
            return found
    return {}


def _xlabs_layers(flat: Mapping[str, Shaped]) -> dict[str, Shaped]:
    matches = ((_XLABS.match(key), value) for key, value in flat.items())
    return {f"{m[1]}.to_{m[2]}_ip.{m[3]}": value for m, value in matches if m}


def _listing(flat: Mapping[str, Shaped]) -> str:
    if not flat:
        return "no tensors"
    shown = ", ".join(key[:80] for key in list(flat)[:3])
    return f"{len(flat)} tensors such as {shown}"


def broken(name: str, what: str) -> BrokenFile:
    """The refusal of a file that is an adapter but not a whole one."""
    return BrokenFile(f"{name} {what}", "a whole adapter file is needed", "Download the file again")
