"""Graphs of early versions of ComfyUI_IPAdapter_plus open in the form of today and are saved so."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from comfy_page import ComfyPage, Graph
from kit.server.live import Client

FILE = "tiny.safetensors"
# id: type, links of its inputs as "node:output", widget values, and kinds of its outputs.
OLD: dict[int, tuple[str, dict[str, str], list[Any], str]] = {
    1: ("IPADemoCheckpoint", {}, ["random weights (demo)"], "MODEL CLIP VAE"),
    2: ("IPADemoCLIPVision", {}, ["random weights (demo)"], "CLIP_VISION"),
    3: ("EmptyImage", {}, [64, 48, 1, 0], "IMAGE"),
    4: ("PrepImageForClipVision", {"image": "3:0"}, ["lanczos", "top", 0.1, True], "IMAGE"),
    5: ("IPAdapterModelLoader", {}, [FILE], "IPADAPTER"),
    6: (
        "IPAdapterEncoder",
        {"clip_vision": "2:0", "image_1": "4:0", "image_2": "3:0"},
        [False, 0.3, 0.5, 0.7, 1, 1],
        "EMBEDS",
    ),
    7: ("IPAdapterEncoder", {"clip_vision": "2:0", "image": "4:0"}, [False, 0.3], "EMBEDS"),
    8: (
        "IPAdapterApplyEncoded",
        {"ipadapter": "5:0", "embeds": "6:0", "model": "1:0"},
        [0.6, "linear"],
        "MODEL",
    ),
    9: (
        "IPAdapterAdvanced",
        {"model": "8:0", "ipadapter": "5:0", "image": "4:0", "clip_vision": "2:0"},
        [0.4, "style transfer (SDXL)", "concat", 0, 0.8],
        "MODEL",
    ),
    10: (
        "IPAdapter",
        {"model": "9:0", "image": "4:0", "clip_vision": "2:0"},
        [0.3, FILE, "fp32"],
        "MODEL CLIP_VISION_OUTPUT",
    ),
    11: ("IPAdapterEncoder", {"ipadapter": "5:0", "image": "4:0"}, [0.9], "EMBEDS EMBEDS"),
}
NOW: dict[int, tuple[str, list[Any]]] = {
    4: ("PrepImageForClipVision", ["LANCZOS", "top", 0.1]),
    5: ("IPAdapterModelLoader", [FILE]),
    6: ("IPAdapterEncoderV1", [False, 0.3, 0.5, 0.7, 1, 1]),
    7: ("IPAdapterEncoderV1", [False, 0.3, 1, 1, 1, 1]),
    8: ("IPAdapterApplyEncoded", [0.6, "linear", 0, 1, False]),
    9: ("IPAdapterAdvanced", [0.4, "style transfer", "concat", 0, 0.8, "V only"]),
    10: ("IPAdapterLaksjdjf", [0.3, FILE, "fp32"]),
    11: ("IPAdapterEncoder", [0.9]),
}


def kind(link: str) -> str:
    node, output = map(int, link.split(":"))
    return OLD[node][3].split()[output]


def saved_then() -> Graph:
    """As an editor of that time saved it: sockets without the widgets, in the order of then."""
    links: list[list[Any]] = []
    nodes = []
    for number, (name, inputs, values, outputs) in OLD.items():
        slots = []
        for slot, (each, link) in enumerate(inputs.items()):
            origin, output = map(int, link.split(":"))
            links.append([len(links) + 1, origin, output, number, slot, kind(link)])
            slots.append({"name": each, "type": kind(link), "link": len(links)})
        cnr = {"cnr_id": "comfyui_ipadapter_plus", "ver": "2.0.0"} if number > 3 else {}
        node = {
            "id": number,
            "type": name,
            "pos": [40 + 320 * (number % 4), 60 + 260 * (number // 4)],
            "size": [280, 200],
            "flags": {},
            "order": number,
            "mode": 0,
            "inputs": slots,
            "outputs": [{"name": each, "type": each, "links": []} for each in outputs.split()],
            "properties": {"Node name for S&R": name, **cnr},
            "widgets_values": values,
        }
        nodes.append(node)
    for link in links:
        next(node for node in nodes if node["id"] == link[1])["outputs"][link[2]]["links"] += [
            link[0]
        ]
    return {
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def check_nodes(nodes: list[Graph]) -> None:
    by_id = {node["id"]: node for node in nodes}
    for number, (name, values) in NOW.items():
        node = by_id[number]
        assert node["type"] == name
        assert node["widgets_values"] == values, name
        properties = node["properties"]
        assert properties["cnr_id"] == "ip-adapter-nodes" and "aux_id" not in properties
        assert properties.get("ver") != "2.0.0"
        assert properties["Node name for S&R"] == name


def test_old_forms_open_as_nodes_of_today(comfy: ComfyPage) -> None:
    comfy.load(saved_then())
    saved = comfy.saved()
    check_nodes(saved["nodes"])
    assert len(saved["links"]) == sum(len(inputs) for _, inputs, _, _ in OLD.values())
    sent = comfy.prompt()
    for number, (_, inputs, _, _) in OLD.items():
        for name, link in inputs.items():
            origin, output = link.split(":")
            known = {"image": "image_1"}.get(name, name) if number == 7 else name
            assert sent[str(number)]["inputs"][known] == [origin, int(output)], (number, name)
    assert sent["10"]["inputs"]["dtype"] == "fp32"


def test_saved_again_and_opened_it_is_the_same(comfy: ComfyPage) -> None:
    comfy.load(saved_then())
    first = comfy.saved()
    comfy.load(first)
    second = comfy.saved()
    assert second["nodes"] == first["nodes"] and second["links"] == first["links"]


def in_subgraph() -> Graph:
    """All but the first three nodes inside a subgraph that has three inputs and one output."""
    graph = saved_then()
    name = "5c1ee7a0-0000-4000-8000-000000000001"
    inner = [node for node in graph["nodes"] if node["id"] > 3]
    outer = [node for node in graph["nodes"] if node["id"] <= 3]
    ports = {(1, 0): 0, (2, 0): 1, (3, 0): 2}
    kinds = ["MODEL", "CLIP_VISION", "IMAGE"]
    links: list[Graph] = []
    ids: list[list[int]] = [[], [], []]
    for number, origin, output, target, slot, type_ in graph["links"]:
        port = ports.get((origin, output))
        if port is not None:
            ids[port].append(number)
            origin, output = -10, port
        ends = {"origin_id": origin, "origin_slot": output, "target_id": target}
        links.append({"id": number, **ends, "target_slot": slot, "type": type_})
    last = graph["last_link_id"] + 1
    ends = {"origin_id": 10, "origin_slot": 0, "target_id": -20, "target_slot": 0}
    links.append({"id": last, **ends, "type": "MODEL"})
    inner[-2]["outputs"][0]["links"] = [last]
    box = {"bounding": [0, 0, 120, 60]}
    definition = {
        "id": name,
        "version": 1,
        "state": {"lastGroupId": 0, "lastNodeId": 11, "lastLinkId": last, "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": "Old",
        "inputNode": {"id": -10, **box},
        "outputNode": {"id": -20, **box},
        "inputs": [
            {"id": f"in-{place}", "name": kinds[place], "type": kinds[place], "linkIds": ids[place]}
            for place in range(3)
        ],
        "outputs": [{"id": "out-0", "name": "MODEL", "type": "MODEL", "linkIds": [last]}],
        "widgets": [],
        "nodes": inner,
        "groups": [],
        "links": links,
        "extra": {},
    }
    for place, node in enumerate(outer):
        node["outputs"] = [{"name": kinds[place], "type": kinds[place], "links": [place + 1]}]
    box_node = {
        **copy.deepcopy(outer[0]),
        "id": 12,
        "type": name,
        "inputs": [{"name": each, "type": each, "link": i + 1} for i, each in enumerate(kinds)],
        "outputs": [{"name": "MODEL", "type": "MODEL", "links": []}],
        "properties": {},
        "widgets_values": [],
    }
    return {
        **graph,
        "last_node_id": 12,
        "nodes": [*outer, box_node],
        "links": [[i + 1, i + 1, 0, 12, i, each] for i, each in enumerate(kinds)],
        "definitions": {"subgraphs": [definition]},
    }


def test_inside_a_subgraph_too(comfy: ComfyPage) -> None:
    graph = in_subgraph()
    comfy.load(graph)
    saved = comfy.saved()["definitions"]["subgraphs"][0]
    check_nodes(saved["nodes"])
    assert len(saved["links"]) == len(graph["definitions"]["subgraphs"][0]["links"])
    assert comfy.prompt()["12:7"]["inputs"]["image_1"] == ["12:4", 0]


def in_group() -> Graph:
    """Two nodes in a group as editors saved it before there were subgraphs."""
    graph = saved_then()
    nodes = {node["id"]: node for node in graph["nodes"]}
    inside = [nodes[4], nodes[7]]
    for place, node in enumerate(inside):
        node["index"] = place
        for slot in node["inputs"]:
            slot["link"] = None
        del node["id"]
    links = [[0, 0, 1, 1, 7, "IMAGE"]]
    node = {
        **copy.deepcopy(nodes[2]),
        "id": 20,
        "type": "workflow>old",
        "inputs": [
            {"name": "image", "type": "IMAGE", "link": 1},
            {"name": "IPAdapterEncoder clip_vision", "type": "CLIP_VISION", "link": 2},
        ],
        "outputs": [{"name": "EMBEDS", "type": "EMBEDS", "links": []}],
        "properties": {"Node name for S&R": "workflow>old"},
        "widgets_values": ["lanczos", "top", 0.1, False, 0.3],
    }
    outer = [nodes[2], nodes[3]]
    for place, each in enumerate(outer):
        each["outputs"][0]["links"] = [2 - place]
    return {
        **graph,
        "last_node_id": 20,
        "last_link_id": 2,
        "nodes": [*outer, node],
        "links": [[1, 3, 0, 20, 0, "IMAGE"], [2, 2, 0, 20, 1, "CLIP_VISION"]],
        "extra": {"groupNodes": {"old": {"nodes": inside, "links": links, "external": []}}},
    }


def test_inside_a_group_of_early_editors_too(comfy: ComfyPage) -> None:
    # The editor reads groups before any pack is asked, so that what it makes of their links and of
    # numbers behind a choice is its own matter; with the host's nodes too.
    comfy.load(in_group())
    sent = comfy.prompt()
    kinds = {node["class_type"]: node["inputs"] for node in sent.values()}
    prepared = kinds["PrepImageForClipVision"]
    assert (prepared["interpolation"], prepared["crop_position"]) == ("LANCZOS", "top")
    encoder = kinds["IPAdapterEncoderV1"]
    assert (encoder["ipadapter_plus"], encoder["noise"], encoder["weight_1"]) == (False, 0.3, 1)


SETTING = """async (value) => {
  await window.app.extensionManager.setting.set("IPAdapter.OldNodes", value);
}"""
BADGES = """() => window.app.graph.nodes.map((node) => node.badges
  .map((badge) => typeof badge === "function" ? badge() : badge)
  .filter((badge) => badge.text === "corrected").length)"""


@pytest.fixture
def as_shipped(comfy: ComfyPage) -> Iterator[ComfyPage]:
    yield comfy
    comfy.page.evaluate(SETTING, "as shipped")


def test_the_setting_marks_old_nodes(as_shipped: ComfyPage, editor_server: Client) -> None:
    comfy = as_shipped
    comfy.add("IPAdapterAdvanced")
    comfy.add("KSampler")
    marks = comfy.shown("[data-node-id]").get_by_text("corrected", exact=True)
    assert comfy.page.evaluate(BADGES) == [0, 0]
    comfy.page.evaluate(SETTING, "corrected")
    comfy.settle()
    assert comfy.page.evaluate(BADGES) == [1, 0]
    if comfy.vue:
        marks.wait_for()
    kept = editor_server.base / "user" / "default" / "comfy.settings.json"
    assert json.loads(kept.read_text("utf-8"))["IPAdapter.OldNodes"] == "corrected"
    comfy.add("IPAdapterApply")
    assert comfy.page.evaluate(BADGES) == [1, 0, 1]
    comfy.page.evaluate(SETTING, "as shipped")
    comfy.settle()
    assert comfy.page.evaluate(BADGES) == [0, 0, 0]
    if comfy.vue:
        assert marks.count() == 0
