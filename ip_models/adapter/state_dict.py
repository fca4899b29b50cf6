"""The layouts of adapter files, published or saved by a training, reduced to one.

Layouts as listed in tencent-ailab/IP-Adapter @ 62e4af9 (`.bin`, training output), diffusers 0.42
(flat safetensors) and XLabs-AI/x-flux @ 4749542. A training saves more than the adapter, and each
attention layer under two names of which safetensors keeps one: see `layout_parts`. Works on
anything with a `shape` and a `dtype`, so that a safetensors header is enough to recognise a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import BrokenFile, UnknownAdapter
from .layout_parts import Shaped, flatten, read_parts
from .relatives import refuse_relatives

_XLABS = re.compile(
    r"^double_blocks\.(\d+)\.processor\.ip_adapter_double_stream_([kv])_proj\.(weight|bias)$"
)
_LORA = re.compile(r"^\d+\.to_(?:q|k|v|out)_lora\.")

_LOADED = "encoder_hid_proj.image_projection_layers"


@dataclass(frozen=True)
class AdapterWeights:
    """One adapter file in the canonical layout.

    Attributes:
        projection: keys as in `image_proj`, e.g. `proj.weight`.
        layers: `<index>.to_k_ip.weight` and so on, index as in the file (1, 3, 5, ... for UNets).
        lora: `<processor>.to_q_lora.down.weight` and so on, empty for most files.
        ignored: keys that belong to none of the three.
        modules: what a training calls the attention of an index, empty for published files.
    """

    projection: dict[str, Shaped]
    layers: dict[str, Shaped]
    lora: dict[str, Shaped] = field(default_factory=dict[str, Shaped])
    ignored: tuple[str, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict[str, str])

    def values(self) -> Iterator[Shaped]:
        """Every tensor that is needed."""
        for part in (self.projection, self.layers, self.lora):
            yield from part.values()


def canonical(tensors: Mapping[str, Any], name: str = "the file") -> AdapterWeights:
    """Sort the tensors of an adapter file, nested or flat, into `AdapterWeights`.

    Raises:
        UnsupportedAdapter: it is a relative of the IP-Adapter that other nodes are for.
        UnknownAdapter: the file has no image projection or no image attention layers, or those of
            two adapters.
    """
    flat = dict(flatten(tensors))
    refuse_relatives(flat, name)
    parts = read_parts(flat)
    layers = parts.layers or _xlabs_layers(flat)
    maps = {key: value for key, value in layers.items() if not _LORA.match(key)}
    if not parts.projection or not maps:
        raise _incomplete(name, flat, parts.projection, maps)
    if parts.ambiguous:
        raise UnknownAdapter(
            f"{name} holds {' and '.join(key[:80] for key in parts.ambiguous)}",
            "one adapter in a file is needed",
            "Save each adapter into a file of its own",
        )
    return AdapterWeights(
        projection=parts.projection,
        layers=maps,
        lora={key: value for key, value in layers.items() if _LORA.match(key)},
        ignored=tuple(key for key in flat if not parts.knows(key) and not _XLABS.match(key)),
        modules=parts.modules,
    )


def _incomplete(
    name: str, flat: Mapping[str, Shaped], projection: object, layers: object
) -> UnknownAdapter:
    """The refusal of a file that is no adapter, or that holds half of one."""
    held = _listing(flat)
    action = "Choose an IP-Adapter file; other models belong into their own folder"
    if projection or layers:
        held = "attention layers and no image projection (image_proj)"
        if projection:
            held = "an image projection and no attention layers (to_k_ip and to_v_ip)"
        action = (
            "Choose the file it was made from, e.g. model.safetensors of the training's "
            "checkpoint, or save both into one file"
        )
    if not projection and any(_LOADED in key for key in flat):
        held = f"an adapter as diffusers has it in memory ({_LOADED}), which is not read"
        action = "Save it under the names of published files, image_proj and ip_adapter"
    return UnknownAdapter(
        f"{name} holds {held}", "an IP-Adapter holds image_proj and ip_adapter tensors", action
    )


def highest_number(keys: Iterable[str], prefix: str = "") -> int:
    """The highest number of at most three digits between a prefix and a dot, -1 without any."""
    numbered = re.compile(rf"{re.escape(prefix)}([0-9]{{1,3}})\.")
    return max((int(m[1]) for key in keys if (m := numbered.match(key))), default=-1)


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
    return BrokenFile(
        f"{name} {what}",
        "a whole adapter file is needed",
        "Choose another file, or save it again with all tensors of the adapter and no others",
    )
