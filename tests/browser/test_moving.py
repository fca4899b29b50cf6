"""Old nodes are turned into the pack's own in the editor, and one undo takes it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_page import ComfyPage
from kit.server.live import Client
from kit.server.tiny_nodes.adapter import write_tiny_adapter

TURN = """() => window.app.extensionManager.command.execute("IPAdapter.TurnOldNodes")"""
BUILD = """(nodes) => {
  const { graph } = window.app;
  const made = {};
  for (const [name, { type, values = {}, pos, title, mode, color }] of Object.entries(nodes)) {
    const node = window.LiteGraph.createNode(type);
    graph.add(node);
    node.pos = pos;
    if (title) node.title = title;
    if (mode) node.mode = mode;
    if (color) node.color = color;
    for (const [key, value] of Object.entries(values)) {
      node.widgets.find((one) => one.name === key).value = value;
    }
    made[name] = node;
  }
  for (const [name, { links = {} }] of Object.entries(nodes)) {
    for (const [input, [from, slot]] of Object.entries(links)) {
      const place = made[name].inputs.findIndex((one) => one.name === input);
      made[from].connect(slot, made[name], place);
    }
  }
  return Object.fromEntries(Object.entries(made).map(([name, node]) => [name, String(node.id)]));
}"""


@pytest.fixture(scope="module")
def with_files(editor_server: Client) -> Client:
    folder = Path(editor_server.base) / "models"
    write_tiny_adapter(folder / "ipadapter" / "ip-adapter_sd15.safetensors")
    return editor_server


def advanced(**more: Any) -> dict[str, Any]:
    return {
        "checkpoint": {"type": "CheckpointLoaderSimple", "pos": [0, 0]},
        "encoder": {"type": "CLIPVisionLoader", "pos": [0, 400]},
        "photo": {"type": "LoadImage", "pos": [0, 600]},
        "loader": {
            "type": "IPAdapterModelLoader",
            "pos": [0, 200],
            "values": {"ipadapter_file": "tiny.safetensors"},
        },
        "apply": {
            "type": "IPAdapterAdvanced",
            "pos": [500, 100],
            "title": "my style",
            "color": "#223",
            "values": {"weight": 0.7, "weight_type": "ease in"},
            "links": {
                "model": ["checkpoint", 0],
                "ipadapter": ["loader", 0],
                "image": ["photo", 0],
                "clip_vision": ["encoder", 0],
            },
            **more,
        },
        "sampler": {
            "type": "KSampler",
            "pos": [1000, 100],
            "links": {"model": ["apply", 0]},
        },
    }


def test_a_graph_is_turned(comfy: ComfyPage, with_files: Client) -> None:
    ids = comfy.page.evaluate(BUILD, advanced())
    comfy.capture()
    comfy.page.evaluate(TURN)
    comfy.settle()
    comfy.page.wait_for_timeout(500)
    comfy.page.screenshot(path="/tmp/moved.png")
    saved = comfy.saved()
    for node in saved["nodes"]:
        print(node["id"], node["type"], node["title"] if "title" in node else "", node["pos"], node["size"], node.get("widgets_values"), [(i["name"], i["link"]) for i in node["inputs"]])
    print(saved["links"])
    print(comfy.prompt())
    comfy.press("Control+z")
    comfy.page.wait_for_timeout(500)
    print(ids, [(n["id"], n["type"]) for n in comfy.saved()["nodes"]])
    comfy.press("Control+y")
    comfy.page.wait_for_timeout(500)
    print(ids, [(n["id"], n["type"]) for n in comfy.saved()["nodes"]])
    assert 0
