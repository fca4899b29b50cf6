"""Workflows made for ComfyUI_IPAdapter_plus open with this pack alone: no node is missing.

Graphs of our own in the shapes that public files have: both versions, muted and bypassed nodes, a
subgraph, a group node, names of files from Windows, and properties that name the other pack.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfy_page import ComfyPage
from plus import graphs
from plus.graphs import Graph

MUTED, BYPASSED = 2, 4
Slots = dict[str, tuple[str, int | None]]


class Draft:
    """A graph in the making, as editors of that time saved it."""

    def __init__(self, before: int = 0) -> None:
        self.before = before  # nodes that other parts of the graph have
        self.nodes: list[Graph] = []
        self.links: list[list[Any]] = []

    def add(
        self,
        kind: str,
        values: list[Any],
        outputs: tuple[str, ...] = (),
        mode: int = 0,
        properties: Graph | None = None,
        **inputs: tuple[str, tuple[int, int] | None],
    ) -> int:
        """A node; each input has its type and the node and output that it comes from."""
        number = self.before + len(self.nodes) + 1
        slots = []
        for place, (name, (type_name, source)) in enumerate(inputs.items()):
            link = None
            if source is not None:
                link = len(self.links) + 1
                self.links.append([link, *source, number, place, type_name])
                out = self.nodes[source[0] - self.before - 1]["outputs"][source[1]]
                out["links"] = [*(out["links"] or []), link]
            slots.append({"name": name, "type": type_name, "link": link})
        named = [name.partition(":") for name in outputs]
        self.nodes.append(
            {
                "id": number,
                "type": kind,
                "pos": [420 * ((number - 1) % 5), 420 * ((number - 1) // 5)],
                "size": {"0": 320, "1": 260},
                "flags": {},
                "order": number - 1,
                "mode": mode,
                "inputs": slots,
                "outputs": [
                    {"name": name, "type": kind or name, "links": None, "shape": 3}
                    for name, _, kind in named
                ],
                "properties": {"Node name for S&R": kind} | (properties or {}),
                "widgets_values": values,
            }
        )
        return number

    def graph(self) -> Graph:
        return {
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": self.nodes,
            "links": self.links,
            "groups": [],
            "config": {},
            "extra": {},
            "version": 0.4,
        }


def loaders(draft: Draft) -> tuple[int, int, int]:
    """Checkpoint, encoder and picture, the encoder under its name on Windows."""
    checkpoint = draft.add(
        "CheckpointLoaderSimple", ["tiny_sd15.safetensors"], ("MODEL", "CLIP", "VAE")
    )
    encoder = draft.add("CLIPVisionLoader", ["SD1.5\\pytorch_model.bin"], ("CLIP_VISION",))
    photo = draft.add("LoadImage", ["reference.jpg", "image"], ("IMAGE", "MASK"))
    return checkpoint, encoder, photo


def version_2() -> Graph:
    draft = Draft()
    checkpoint, encoder, photo = loaders(draft)
    owner = {"cnr_id": "comfyui_ipadapter_plus", "ver": "2.0.0", "aux_id": "cubiq/x"}
    file = draft.add(
        "IPAdapterModelLoader",
        ["ip_adapter_plus_sd15\\ip_adapter.bin"],
        ("IPADAPTER",),
        properties=owner,
    )
    prepared = draft.add(
        "PrepImageForClipVision", ["LANCZOS", "pad", 0.15], ("IMAGE",), image=("IMAGE", (photo, 0))
    )
    noise = draft.add(
        "IPAdapterNoise", ["shuffle", 0.4, 3], ("IMAGE",), image_optional=("IMAGE", (photo, 0))
    )
    first = draft.add(
        "IPAdapterAdvanced",
        [0.85, "ease in-out", "norm average", 0.1, 0.9, "K+V"],
        ("MODEL",),
        properties=owner,
        model=("MODEL", (checkpoint, 0)),
        ipadapter=("IPADAPTER", (file, 0)),
        image=("IMAGE", (prepared, 0)),
        image_negative=("IMAGE", (noise, 0)),
        attn_mask=("MASK", None),
        clip_vision=("CLIP_VISION", (encoder, 0)),
    )
    unified = draft.add(
        "IPAdapterUnifiedLoader",
        ["PLUS (high strength)"],
        ("model:MODEL", "ipadapter:IPADAPTER"),
        model=("MODEL", (first, 0)),
        ipadapter=("IPADAPTER", None),
    )
    for mode in (0, MUTED, BYPASSED):
        draft.add(
            "IPAdapter",
            [0.7, 0, 0.8, "prompt is more important"],
            ("MODEL",),
            mode,
            model=("MODEL", (unified, 0)),
            ipadapter=("IPADAPTER", (unified, 1)),
            image=("IMAGE", (photo, 0)),
            attn_mask=("MASK", (photo, 1)),
        )
    draft.add(
        "IPAdapterWeights",
        ["1.0, 0.0", "ease_in_out", 16, 0, 9999, 1, 2, "shift batches"],
        (
            "weights:FLOAT",
            "weights_invert:FLOAT",
            "total_frames:INT",
            "image_1:IMAGE",
            "image_2:IMAGE",
            "weights_strategy:WEIGHTS_STRATEGY",
        ),
        image=("IMAGE", (photo, 0)),
    )
    return draft.graph()


def version_1() -> Graph:
    draft = Draft()
    checkpoint, encoder, photo = loaders(draft)
    file = draft.add("IPAdapterModelLoader", ["ip-adapter-plus_sd15.bin"], ("IPADAPTER",))
    faces = draft.add("InsightFaceLoader", ["CPU"], ("INSIGHTFACE",))
    face = draft.add(
        "PrepImageForInsightFace", ["top", 0.2, False], ("IMAGE",), image=("IMAGE", (photo, 0))
    )
    shared: Any = {
        "ipadapter": ("IPADAPTER", (file, 0)),
        "clip_vision": ("CLIP_VISION", (encoder, 0)),
    }
    first = draft.add(
        "IPAdapterApply",
        [0.75, 0.2, "channel penalty", 0.05, 0.95, True],
        ("MODEL",),
        **shared,
        image=("IMAGE", (photo, 0)),
        model=("MODEL", (checkpoint, 0)),
        attn_mask=("MASK", None),
    )
    second = draft.add(
        "IPAdapterApplyFaceID",
        [0.8, 0, "original", 0, 1, True, 1.3, False],
        ("MODEL",),
        BYPASSED,
        **shared,
        insightface=("INSIGHTFACE", (faces, 0)),
        image=("IMAGE", (face, 0)),
        model=("MODEL", (first, 0)),
        attn_mask=("MASK", None),
    )
    draft.add(
        "IPAdapterTilesMasked",
        [0.7, 0, "linear", 0, 1, 2, 0.5],
        ("MODEL",),
        **shared,
        image=("IMAGE", (photo, 0)),
        model=("MODEL", (second, 0)),
    )
    return draft.graph()


def encoder_of_version_1() -> Graph:
    """The id that both versions have, with other inputs: it gets a name of its own."""
    draft = Draft()
    checkpoint, encoder, photo = loaders(draft)
    file = draft.add("IPAdapterModelLoader", ["ip-adapter_sd15.bin"], ("IPADAPTER",))
    encoded = draft.add(
        "IPAdapterEncoder",
        [False, 0.3, 0.9, 0.8, 0.7, 0.6],
        ("EMBEDS",),
        clip_vision=("CLIP_VISION", (encoder, 0)),
        image_1=("IMAGE", (photo, 0)),
        image_2=("IMAGE", None),
        image_3=("IMAGE", (photo, 0)),
        image_4=("IMAGE", None),
    )
    draft.add(
        "IPAdapterApplyEncoded",
        [0.9, "linear", 0, 1, False],
        ("MODEL",),
        ipadapter=("IPADAPTER", (file, 0)),
        embeds=("EMBEDS", (encoded, 0)),
        model=("MODEL", (checkpoint, 0)),
        attn_mask=("MASK", None),
    )
    return draft.graph()


def in_a_subgraph() -> Graph:
    """Old nodes where the host looks for missing ones too."""
    inner = Draft(before=1)
    inner.add(
        "PrepImageForClipVision", ["BICUBIC", "left", 0.05], ("IMAGE",), image=("IMAGE", None)
    )
    inner.add("IPAdapterInsightFaceLoader", ["CPU", "buffalo_l"], ("INSIGHTFACE",), MUTED)
    name = "5d8b0c5e-33b6-4f6e-9a63-2f3d6a4f0c11"
    definition = {
        "id": name,
        "version": 1,
        "revision": 0,
        "state": {"lastGroupId": 0, "lastNodeId": 3, "lastLinkId": 0, "lastRerouteId": 0},
        "config": {},
        "name": "prepared",
        "inputNode": {"id": -10, "bounding": [-300, 0, 120, 60]},
        "outputNode": {"id": -20, "bounding": [900, 0, 120, 60]},
        "inputs": [],
        "outputs": [],
        "widgets": [],
        "nodes": inner.nodes,
        "groups": [],
        "links": [],
        "extra": {},
    }
    draft = Draft()
    draft.add(name, [])
    return draft.graph() | {"definitions": {"subgraphs": [definition]}}


def with_a_group_node() -> Graph:
    """What groups were before there were subgraphs."""
    inner = Draft()
    inner.add("IPAdapterModelLoader", ["ip-adapter_sd15.safetensors"], ("IPADAPTER",))
    inner.add("IPAdapterNoise", ["fade", 0.6, 2], ("IMAGE",), image_optional=("IMAGE", None))
    group = {
        "nodes": [node | {"index": place} for place, node in enumerate(inner.nodes)],
        "links": [],
        "external": [[0, 0, "IPADAPTER"], [1, 0, "IMAGE"]],
        "config": {},
    }
    draft = Draft()
    photo = draft.add("LoadImage", ["reference.jpg", "image"], ("IMAGE", "MASK"))
    draft.add(
        "workflow/noisy",
        ["ip-adapter_sd15.safetensors", "fade", 0.6, 2],
        ("IPADAPTER", "IMAGE"),
        image_optional=("IMAGE", (photo, 0)),
    )
    return draft.graph() | {"extra": {"groupNodes": {"noisy": group}}}


DRAFTS = {
    "version 2": version_2(),
    "version 1": version_1(),
    "encoder of version 1": encoder_of_version_1(),
    "subgraph": in_a_subgraph(),
}


@pytest.mark.parametrize("name", DRAFTS)
def test_it_opens_and_is_saved_as_it_was(comfy: ComfyPage, name: str) -> None:
    old = DRAFTS[name]
    assert any(True for _ in graphs.old_nodes(old))
    comfy.load(old)
    assert missing(comfy) == []
    assert graphs.faults(old, comfy.saved()) == []


def test_a_group_node_opens(comfy: ComfyPage) -> None:
    """The host makes a subgraph of it."""
    comfy.load(with_a_group_node())
    assert missing(comfy) == []
    values = [node["widgets_values"] for node in graphs.old_nodes(comfy.saved())]
    assert ["ip-adapter_sd15.safetensors"] in values


def test_what_is_lost_is_noticed(comfy: ComfyPage) -> None:
    old = DRAFTS["version 2"]
    comfy.load(old)
    whole = comfy.saved()

    def without(change: Any) -> list[str]:
        new = json.loads(json.dumps(whole))
        change(next(node for node in new["nodes"] if node["type"] == "IPAdapterAdvanced"), new)
        return graphs.faults(old, new)

    assert without(lambda node, new: None) == []
    assert without(lambda node, new: node["widgets_values"].insert(1, 0))
    assert without(lambda node, new: node["inputs"][0].update(link=None))
    assert without(lambda node, new: node.update(mode=MUTED))
    assert without(lambda node, new: new["links"].pop(4))
    assert without(lambda node, new: new["nodes"].remove(node))


def test_a_node_of_another_pack_is_missing(comfy: ComfyPage) -> None:
    """So that the tests above could fail."""
    draft = Draft()
    draft.add("IPAdapterOfNobody", [])
    comfy.load(draft.graph())
    assert missing(comfy) == ["IPAdapterOfNobody"]
    comfy.complaints.clear()


def missing(comfy: ComfyPage) -> list[str]:
    return [kind for kind in comfy.page.evaluate(graphs.MISSING) if graphs.is_old(kind)]
