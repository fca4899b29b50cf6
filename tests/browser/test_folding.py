"""Which inputs of a node stand open, and what the host's side panel does to nodes on the canvas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfy_page import ComfyPage

ROWS = ["scale", "start_percent", "end_percent"]
ADVANCED = ["batch_mode", "kv_scaling", "mask_rule", "first_picture"]
FACE = ["face_structure", "face_lora_strength"]
# Names of the inputs that are drawn, in whichever way.
SHOWN = """(id) => {
  const node = window.app.graph.getNodeById(id);
  const inputs = node.widgets.filter((each) => each.serialize !== false);
  if (!window.LiteGraph.vueNodesMode) {
    return inputs.filter((each) => node.isWidgetVisible(each)).map((each) => each.name);
  }
  const drawn = document.querySelector(`[data-node-id="${id}"]`).innerText.split("\\n");
  return inputs.map((each) => each.name).filter((name) => drawn.includes(name));
}"""
BUTTON = """(id) => {
  const { graph, ds, canvas } = window.app.canvas;
  const node = graph.getNodeById(id);
  const { y } = node.widgets.find((each) => each.name === "advanced_inputs");
  const at = ds.convertOffsetToCanvas([node.pos[0] + 100, node.pos[1] + y + 10]);
  const box = canvas.getBoundingClientRect();
  return [box.left + at[0], box.top + at[1]];
}"""
LABEL = """(id) => window.app.graph.getNodeById(id).widgets
  .find((each) => each.name === "advanced_inputs").label"""
SIZE = "(id) => [...window.app.graph.getNodeById(id).size]"
PANEL = "(open) => window.app.extensionManager.setting.set('Comfy.RightSidePanel.IsOpen', open)"
TITLE = """(id) => {
  const { graph, ds, canvas } = window.app.canvas;
  const { pos } = graph.getNodeById(id);
  const at = ds.convertOffsetToCanvas([pos[0] + 60, pos[1] - 14]);
  const box = canvas.getBoundingClientRect();
  return [box.left + at[0], box.top + at[1]];
}"""
WIDTHS = """() => [...document.querySelectorAll("[data-ipadapter]")]
  .map((each) => Math.round(each.getBoundingClientRect().width))"""


def shown(comfy: ComfyPage, node: str, wanted: list[str]) -> list[str]:
    """The inputs that are drawn, as soon as they are these, and after a while in any case."""
    found: list[str] = []
    for _ in range(50):
        found = comfy.page.evaluate(SHOWN, node)
        if found == wanted:
            break
        comfy.page.wait_for_timeout(100)
    return found


def press(comfy: ComfyPage, node: str) -> None:
    if comfy.vue:
        comfy.page.locator("[data-node-id]").get_by_text("advanced inputs").click()
    else:
        comfy.page.mouse.click(*comfy.page.evaluate(BUTTON, node))
    comfy.settle()


def test_advanced_inputs_are_folded_and_nothing_of_them_is_lost(comfy: ComfyPage) -> None:
    # Pictures of a node that had its number before would need room.
    comfy.page.evaluate("() => { window.app.nodeOutputs = {}; }")
    node = comfy.add("IPAApply", mask_rule="diffusers")
    sent = comfy.prompt()[node]["inputs"]
    wanted = ROWS
    assert shown(comfy, node, wanted) == wanted
    folded = comfy.page.evaluate(SIZE, node)
    press(comfy, node)
    wanted = [*ROWS, *ADVANCED]
    assert shown(comfy, node, wanted) == wanted
    saved = comfy.saved()
    assert saved["nodes"][0]["widgets_values"] == list(sent.values())
    if not comfy.vue:
        assert comfy.page.evaluate(LABEL, node) == "▾ hide advanced inputs: 4"
    comfy.load(saved)
    wanted = [*ROWS, *ADVANCED]
    assert shown(comfy, node, wanted) == wanted
    press(comfy, node)
    wanted = ROWS
    assert shown(comfy, node, wanted) == wanted
    assert comfy.prompt()[node]["inputs"] == sent
    if not comfy.vue:
        assert comfy.page.evaluate(SIZE, node) == folded
        assert comfy.page.evaluate(LABEL, node) == "▸ show advanced inputs: 4, changed: 1"


def test_what_is_linked_stays_in_sight(comfy: ComfyPage) -> None:
    node, source = comfy.add("IPAApply"), comfy.add("PrimitiveInt")
    comfy.connect(source, node, "first_picture")
    wanted = [*ROWS, "first_picture"]
    assert shown(comfy, node, wanted) == wanted


def test_a_node_that_was_saved_open_is_no_higher_than_its_rows(comfy: ComfyPage) -> None:
    if comfy.vue:
        pytest.skip("Nodes 2.0 has always folded them")
    node = comfy.add("IPAApply")
    graph = comfy.saved()
    # As 0.1.0 saved it, with nine rows of 24.
    for height, wanted in ((330, 210), (500, 500)):
        graph["nodes"][0]["size"] = [270, height]
        comfy.load(graph)
        assert comfy.page.evaluate(SIZE, node) == [270, wanted]


def test_inputs_for_faces_come_with_an_adapter_for_faces(comfy: ComfyPage) -> None:
    node = comfy.add("IPAApply")
    press(comfy, node)
    plain = comfy.add("IPALoadAdapter", adapter_file="tiny.safetensors")
    searching = comfy.add("IPALoadForModel")
    comfy.set(searching, "kind", "FaceID plus v2")
    steps: list[tuple[str, list[str]]] = [(searching, FACE), (plain, [])]
    for source, faces in steps:
        comfy.connect(source, node, "adapter")
        comfy.capture()
        wanted = [*ROWS, *ADVANCED[:3], *faces, *ADVANCED[3:]]
        assert shown(comfy, node, wanted) == wanted
    # What was set before is to be seen, whatever is connected.
    graph: dict[str, Any] = json.loads(json.dumps(comfy.saved()))
    values = next(each for each in graph["nodes"] if str(each["id"]) == node)["widgets_values"]
    values[6] = 0.5
    comfy.load(graph)
    comfy.page.wait_for_timeout(400)
    wanted = [*ROWS, *ADVANCED[:3], "face_structure", ADVANCED[3]]
    assert shown(comfy, node, wanted) == wanted


def test_the_side_panel_leaves_the_nodes_as_they_are(comfy: ComfyPage) -> None:
    node = comfy.add("IPABlockWeights")
    before = comfy.page.evaluate(WIDTHS)
    assert before and min(before) > 350
    comfy.page.evaluate(PANEL, True)
    comfy.page.mouse.click(*comfy.page.evaluate(TITLE, node))
    comfy.page.wait_for_timeout(500)
    parameters = comfy.page.get_by_role("tab", name="Parameters")
    assert parameters.count() > 0
    assert comfy.page.evaluate(WIDTHS) == before
    assert comfy.shown("text=block_weight_editor").count() == 0
    comfy.page.evaluate(PANEL, False)
