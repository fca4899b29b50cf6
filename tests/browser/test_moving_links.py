"""Links around old nodes that are turned: reroute points, values by a link, subgraphs, undo."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_page import ComfyPage, Graph

TURN = """() => window.app.extensionManager.command.execute("IPAdapter.TurnOldNodes")"""
# One old apply node with all that it needs; `ids` by name.
BUILD = """() => {
  const { graph } = window.app;
  const made = {};
  const add = (name, type, pos) => {
    const node = window.LiteGraph.createNode(type);
    graph.add(node);
    node.pos = pos;
    made[name] = node;
  };
  add("checkpoint", "CheckpointLoaderSimple", [0, 0]);
  add("loader", "IPAdapterModelLoader", [0, 200]);
  add("encoder", "CLIPVisionLoader", [0, 400]);
  add("photo", "LoadImage", [0, 600]);
  add("apply", "IPAdapterAdvanced", [500, 100]);
  add("first", "KSampler", [1000, 100]);
  add("second", "KSampler", [1000, 500]);
  const link = (from, to, name) =>
    made[from].connect(0, made[to], made[to].inputs.findIndex((one) => one.name === name));
  link("checkpoint", "apply", "model");
  link("loader", "apply", "ipadapter");
  link("photo", "apply", "image");
  link("encoder", "apply", "clip_vision");
  link("apply", "first", "model");
  link("apply", "second", "model");
  return Object.fromEntries(Object.entries(made).map(([name, node]) => [name, String(node.id)]));
}"""
POINTS = """(ids) => {
  const { graph } = window.app;
  const inputOf = (name, input) =>
    graph.getLink(graph.getNodeById(ids[name]).inputs.find((one) => one.name === input).link);
  const behind = graph.createReroute([800, 50], inputOf("first", "model"));
  const second = graph.getNodeById(ids.second);
  graph.getNodeById(ids.apply).connect(0, second, 0, behind.id);
  graph.createReroute([300, 700], inputOf("apply", "image"));
}"""
WEIGHT_FROM = """([ids, type]) => {
  const { graph } = window.app;
  const node = window.LiteGraph.createNode(type);
  graph.add(node);
  node.pos = [0, 1000];
  const apply = graph.getNodeById(ids.apply);
  const slot = apply.inputs.findIndex((one) => (one.widget?.name ?? one.name) === "weight");
  node.connect(0, apply, slot);
  return String(node.id);
}"""
INTO_SUBGRAPH = """([ids, names]) => {
  const { graph } = window.app;
  const chosen = new Set(names.map((name) => graph.getNodeById(ids[name])));
  return graph.convertToSubgraph(chosen).node.id;
}"""
SAID = """() => [...document.querySelectorAll(".p-toast-detail")].at(-1).textContent"""
STEPS = (
    """() => window.app.extensionManager.workflow.activeWorkflow.changeTracker.undoQueue.length"""
)


def built(comfy: ComfyPage) -> dict[str, Any]:
    return comfy.page.evaluate(BUILD)


def turn(comfy: ComfyPage) -> Graph:
    comfy.capture()
    comfy.page.evaluate(TURN)
    comfy.settle()
    return comfy.saved()


def types(graph: Graph) -> list[str]:
    return sorted(node["type"] for node in graph["nodes"])


def test_links_keep_their_reroute_points(comfy: ComfyPage) -> None:
    ids = built(comfy)
    comfy.page.evaluate(POINTS, ids)
    saved = turn(comfy)
    assert "IPAApply" in types(saved) and "IPAdapterAdvanced" not in types(saved)
    behind, before = saved["extra"]["reroutes"]
    ends = {link[0]: str(link[3]) for link in saved["links"]}
    assert sorted(ends[link] for link in behind["linkIds"]) == [ids["first"], ids["second"]]
    assert len(before["linkIds"]) == 1


def test_a_value_from_primitive_goes_on(comfy: ComfyPage) -> None:
    ids = built(comfy)
    source = comfy.page.evaluate(WEIGHT_FROM, [ids, "PrimitiveNode"])
    saved = turn(comfy)
    [apply] = [node for node in saved["nodes"] if node["type"] == "IPAApply"]
    [scale] = [one["link"] for one in apply["inputs"] if one["name"] == "scale"]
    assert any(link[0] == scale and str(link[1]) == source for link in saved["links"])


@pytest.mark.parametrize("inside", [False, True], ids=["beside", "from outside a subgraph"])
def test_a_list_of_weights_keeps_the_node(comfy: ComfyPage, inside: bool) -> None:
    ids = built(comfy)
    comfy.page.evaluate(WEIGHT_FROM, [ids, "IPAdapterWeights"])
    if inside:
        comfy.page.evaluate(INTO_SUBGRAPH, [ids, ["apply"]])
    before = types(comfy.saved())
    assert types(turn(comfy)) == before
    said = comfy.page.evaluate(SAID)
    assert "IPAdapter Advanced: weight comes by a link and may be a list" in said
    assert not inside or "IPAdapter Model Loader: New Subgraph needs the old adapter" in said


def test_one_undo_takes_it_back_after_late_measuring(comfy: ComfyPage) -> None:
    built(comfy)
    comfy.page.wait_for_timeout(1_000)  # the host measures the old nodes late, too
    comfy.capture()
    before, steps = types(comfy.saved()), comfy.page.evaluate(STEPS)
    after = types(turn(comfy))
    comfy.page.wait_for_timeout(1_000)
    comfy.capture()
    assert comfy.page.evaluate(STEPS) == steps + 1
    comfy.press("Control+z")
    comfy.page.wait_for_function("() => window.app.graph.nodes.every((n) => n.type !== 'IPAApply')")
    assert types(comfy.saved()) == before
    comfy.press("Control+y")
    comfy.page.wait_for_function("() => window.app.graph.nodes.some((n) => n.type === 'IPAApply')")
    assert types(comfy.saved()) == after
