"""Graphs of early versions of ComfyUI_IPAdapter_plus open in the form of today and are saved so."""

from __future__ import annotations

from typing import Any

from comfy_page import ComfyPage, Graph

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


def check_nodes(nodes: list[Graph], missing: set[int] = frozenset()) -> None:
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
