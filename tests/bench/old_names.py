"""This pack under the names of ComfyUI_IPAdapter_plus, entered where that pack is entered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.contenders import How
from pack.ip_models.adapter.spec import Feature
from pack.ip_models.references.features import ImageFeatures
from pack.nodes.plus.apply_others import NODES
from pack.nodes.plus.objects.adapter_dict import AdapterDict
from pack.nodes.plus.objects.pipeline import adapter_of
from torch import nn


class OldNames:
    """What a saved workflow runs here: the adapter as a dict, embeds as bare tensors."""

    name = "ours, old names"
    hears_middle = False

    def __init__(self) -> None:
        self._node: Any = NODES["IPAdapterEmbeds"]()

    def load(self, path: Path) -> dict[str, Any]:
        return AdapterDict(str(path))

    def apply(self, model: Any, adapter: dict[str, Any], features: ImageFeatures, how: How) -> Any:
        return applied(self._node, model, adapter, features, how)

    def module(self, model: Any, adapter: dict[str, Any]) -> nn.Module:
        return adapter_of(adapter).patcher.model


def applied(
    node: Any, model: Any, adapter: dict[str, Any], features: ImageFeatures, how: How
) -> Any:
    """What a node IPAdapterEmbeds, of either pack, makes of a MODEL."""
    plus = "latents" in adapter["image_proj"]
    pair = features.pair(Feature.PENULTIMATE if plus else Feature.POOLED)
    assert pair is not None
    patched = node.apply_ipadapter(
        model,
        adapter,
        pos_embed=pair[0],
        neg_embed=pair[1],
        weight=how.scale,
        weight_type="linear",
        start_at=how.start,
        end_at=how.end,
        attn_mask=how.mask,
    )
    return patched[0]
