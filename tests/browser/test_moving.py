"""Old nodes are turned into the pack's own in the editor, and one undo takes it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_page import ComfyPage
from kit.models import tiny
from kit.models.sparse_files import write_sparse
from kit.server.live import Client
from kit.server.tiny_nodes import RANDOM_WEIGHTS
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from playwright.sync_api import expect

Nodes = dict[str, dict[str, Any]]
ENCODER = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
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

TYPES_NOW = """(() => {
  const root = window.app.rootGraph ?? window.app.graph;
  const graphs = [root, ...(root.subgraphs?.values() ?? [])];
  return JSON.stringify(graphs.map((one) => one.nodes.map(({ type }) => type)));
})()"""
NOTE = f"() => {{ window.typesBefore = {TYPES_NOW}; }}"
CHANGED = f"() => window.typesBefore !== {TYPES_NOW}"


@pytest.fixture(scope="module")
def with_files(editor_server: Client) -> Client:
    models = Path(editor_server.base) / "models"
    write_tiny_adapter(models / "ipadapter" / "ip-adapter_sd15.safetensors")
    for folder in ("clip_vision", "checkpoints"):
        (models / folder).mkdir(exist_ok=True)
    (models / "clip_vision" / ENCODER).write_bytes(b"")
    state = tiny.twins("sd1").model.model.diffusion_model.state_dict()
    shapes = {f"model.diffusion_model.{key}": tuple(value.shape) for key, value in state.items()}
    write_sparse(models / "checkpoints" / "small.safetensors", shapes)
    return editor_server


def node(kind: str, pos: tuple[int, int], values: Any = None, **more: Any) -> dict[str, Any]:
    """A node; what is given by name and is no property of it is a link to "name:output"."""
    own = {key: more.pop(key) for key in ("title", "color", "mode") if key in more}
    ends = {key: end.split(":") for key, end in more.items()}
    links = {key: [name, int(slot)] for key, (name, slot) in ends.items()}
    return {"type": kind, "pos": pos, "values": values or {}, "links": links, **own}


MODELS = {
    "checkpoint": node("IPADemoCheckpoint", (0, 0), {"ckpt_name": RANDOM_WEIGHTS}),
    "encoder": node("IPADemoCLIPVision", (0, 450), {"clip_name": RANDOM_WEIGHTS}),
    "photo": node("LoadImage", (0, 620), {"image": "reference.jpg"}),
    "loader": node("IPAdapterModelLoader", (0, 150), {"ipadapter_file": "tiny.safetensors"}),
}
ADVANCED = {
    **MODELS,
    "apply": node(
        "IPAdapterAdvanced",
        (500, 100),
        {"weight": 0.7, "weight_type": "ease in"},
        title="my style",
        color="#223",
        model="checkpoint:0",
        ipadapter="loader:0",
        image="photo:0",
        clip_vision="encoder:0",
    ),
}


def sampled(nodes: Nodes, model: str) -> Nodes:
    """The nodes and those that make a picture with a MODEL of theirs."""
    return {
        **nodes,
        "text": node("CLIPTextEncode", (900, 500), {"text": "a cat"}, clip="checkpoint:1"),
        "latent": node("EmptyLatentImage", (1300, 900), {"width": 128, "height": 128}),
        "sampler": node(
            "KSampler",
            (1300, 100),
            {"seed": 1, "steps": 2, "cfg": 5.0},
            model=model,
            positive="text:0",
            negative="text:0",
            latent_image="latent:0",
        ),
        "decode": node("VAEDecode", (1700, 100), samples="sampler:0", vae="checkpoint:2"),
        "save": node("SaveImage", (1700, 300), {"filename_prefix": "moved"}, images="decode:0"),
    }


class Editor:
    """A graph in the editor, and the command."""

    def __init__(self, comfy: ComfyPage, nodes: Nodes) -> None:
        self.comfy = comfy
        self.ids: dict[str, str] = comfy.page.evaluate(BUILD, nodes)
        comfy.settle()
        comfy.capture()
        comfy.page.wait_for_timeout(100)
        self.before = comfy.saved()

    def turn(self) -> str:
        """Run the command; what it says."""
        self.comfy.page.evaluate(TURN)
        return self.said()

    def said(self) -> str:
        message = self.comfy.shown(".p-toast-message").last
        expect(message).to_be_visible()
        text = message.inner_text()
        self.comfy.page.evaluate("() => window.app.extensionManager.toast.removeAll?.()")
        self.comfy.settle()
        self.comfy.page.wait_for_timeout(150)
        return text

    def nodes(self) -> list[dict[str, Any]]:
        return self.comfy.saved()["nodes"]

    def one(self, kind: str) -> dict[str, Any]:
        (found,) = [one for one in self.nodes() if one["type"] == kind]
        return found

    def kinds(self) -> list[str]:
        return sorted(one["type"] for one in self.nodes() if one["type"].startswith("IPA"))

    def undo(self) -> None:
        self.press("Control+z")

    def press(self, keys: str) -> None:
        """Keys after which there are other nodes than before."""
        self.comfy.page.evaluate(NOTE)
        self.comfy.press(keys)
        self.comfy.page.wait_for_function(CHANGED)
        self.comfy.settle()
        self.comfy.page.wait_for_timeout(200)


def without_links(graph: dict[str, Any]) -> dict[Any, Any]:
    return {one["id"]: (one["type"], one["pos"], one.get("title")) for one in graph["nodes"]}


def covered(nodes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of nodes that lie over each other."""

    def box(one: dict[str, Any]) -> tuple[float, float, float, float]:
        (x, y), (width, height) = one["pos"], one["size"]
        return x, y - 30, x + width, y + height

    found: list[tuple[str, str]] = []
    for place, one in enumerate(nodes):
        for other in nodes[:place]:
            a, b = box(one), box(other)
            if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]:
                found.append((one["type"], other["type"]))
    return found


def same_pixels(client: Client, save: str, *prompts: dict[str, Any]) -> None:
    """Runs them; last in a test, for what nodes show after a run is a change of its own."""
    before, after = (client.picture(one, save) for one in prompts)
    assert before == after


def test_a_graph_is_turned_and_one_undo_takes_it_back(comfy: ComfyPage, with_files: Client) -> None:
    editor = Editor(comfy, sampled(ADVANCED, "apply:0"))
    prompt = comfy.prompt()
    assert "2 turned" in editor.turn()
    assert editor.kinds() == [
        *("IPAApply", "IPABlockWeights", "IPABlockWeights"),
        *("IPADemoCLIPVision", "IPADemoCheckpoint", "IPAEncodeImage", "IPALoadAdapter"),
    ]
    applied = editor.one("IPAApply")
    assert (applied["title"], applied["color"], applied["pos"]) == ("my style", "#223", [500, 100])
    assert covered(editor.nodes()) == []
    others, now = without_links(editor.before), without_links(comfy.saved())
    stay = [
        one for one in others if others[one][0] not in ("IPAdapterAdvanced", "IPAdapterModelLoader")
    ]
    assert {one: now[one] for one in stay} == {one: others[one] for one in stay}
    turned, after = comfy.saved(), comfy.prompt()
    for link in turned["links"]:
        assert {link[1], link[3]} <= {one["id"] for one in turned["nodes"]}
    editor.undo()
    assert comfy.saved()["links"] == editor.before["links"]
    assert without_links(comfy.saved()) == others
    assert comfy.prompt() == prompt
    editor.press("Control+y")
    assert without_links(comfy.saved()) == without_links(turned)
    assert comfy.prompt() == after
    same_pixels(with_files, editor.ids["save"], prompt, after)


def test_a_loader_for_a_model_becomes_ours(comfy: ComfyPage, with_files: Client) -> None:
    nodes = {
        "checkpoint": node("CheckpointLoaderSimple", (0, 0), {"ckpt_name": "small.safetensors"}),
        "photo": MODELS["photo"],
        "loader": node(
            "IPAdapterUnifiedLoader",
            (350, 0),
            {"preset": "STANDARD (medium strength)"},
            model="checkpoint:0",
        ),
        "apply": node(
            "IPAdapter", (700, 0), model="loader:0", ipadapter="loader:1", image="photo:0"
        ),
        "sampler": node("KSampler", (1100, 0), model="apply:0"),
    }
    editor = Editor(comfy, nodes)
    assert "2 turned" in editor.turn()
    assert editor.one("IPALoadForModel")["widgets_values"] == [
        *("standard", "ip-adapter_sd15.safetensors", ENCODER)
    ]
    prompt = comfy.prompt()
    (applied,) = [one for one in prompt.values() if one["class_type"] == "IPAApply"]
    assert applied["inputs"]["model"] == [editor.ids["checkpoint"], 0]
    (encode,) = [one for one in prompt.values() if one["class_type"] == "IPAEncodeImage"]
    loader = str(editor.one("IPALoadForModel")["id"])
    assert encode["inputs"]["clip_vision"] == [loader, 1]
    assert prompt[editor.ids["sampler"]]["inputs"]["model"][0] == str(editor.one("IPAApply")["id"])


def test_what_stays_is_named_with_the_reason(comfy: ComfyPage, with_files: Client) -> None:
    face = node(
        "IPAdapterFaceID",
        (500, 600),
        title="her face",
        model="apply:0",
        image="photo:0",
        ipadapter="loader:0",
    )
    editor = Editor(comfy, {**ADVANCED, "face": face})
    text = editor.turn()
    assert "2 turned" in text and "her face: faces are found" in text
    convert = editor.one("IPAConvertAdapter")
    (old,) = [one for one in editor.nodes() if one["type"] == "IPAdapterFaceID"]
    links = {link[0]: link for link in comfy.saved()["links"]}
    linked = {slot["name"]: links[slot["link"]] for slot in old["inputs"] if slot["link"]}
    assert linked["ipadapter"][1] == convert["id"]
    assert linked["model"][1] == editor.one("IPAApply")["id"]
    assert editor.comfy.shown(".p-toast-message").count() <= 1


def test_a_chain_of_embeds(comfy: ComfyPage, with_files: Client) -> None:
    rows = {
        f"rows{i}": node(
            "IPAdapterEncoder",
            (500, 300 * i),
            {"weight": 1.0 - i / 4},
            ipadapter="loader:0",
            image="photo:0",
            clip_vision="encoder:0",
        )
        for i in range(3)
    }
    nodes = {
        **MODELS,
        **rows,
        "mix": node(
            "IPAdapterCombineEmbeds",
            (900, 0),
            {"method": "average"},
            **{f"embed{i + 1}": f"rows{i}:0" for i in range(3)},
        ),
        "apply": node(
            "IPAdapterEmbeds",
            (1300, 0),
            model="checkpoint:0",
            ipadapter="loader:0",
            pos_embed="mix:0",
            neg_embed="rows0:1",
        ),
    }
    editor = Editor(comfy, {**sampled(nodes, "apply:0")})
    prompt = comfy.prompt()
    assert "6 turned" in editor.turn()
    after = comfy.prompt()
    merged = [one["inputs"] for one in after.values() if one["class_type"] == "IPAMergeEmbeds"]
    assert sorted(one["weights"] for one in merged) == ["", "0.5", "0.75"]
    (mix,) = [one for one in merged if one["method"] == "average"]
    assert len([name for name in mix if name.startswith("embeds")]) == 3
    editor.undo()
    assert comfy.prompt() == prompt
    same_pixels(with_files, editor.ids["save"], prompt, after)


def test_fractions_are_kept_when_the_graph_is_saved(comfy: ComfyPage, with_files: Client) -> None:
    boosted = {**ADVANCED["apply"], "type": "IPAdapterPreciseStyleTransfer"}
    boosted["values"] = {"weight": 0.7, "style_boost": 1.0}
    editor = Editor(comfy, {**ADVANCED, "apply": boosted})
    editor.turn()
    saved = comfy.saved()
    comfy.clear()
    comfy.load(saved)
    weights = editor.one("IPABlockWeights")
    assert weights["widgets_values"] == ["style transfer precise", "", 1, 1 / 0.7]
    prompt = comfy.prompt()[str(weights["id"])]
    assert prompt["inputs"]["boost"] == 1 / 0.7


def test_a_bypassed_node_stays_bypassed_and_in_its_group(
    comfy: ComfyPage, with_files: Client
) -> None:
    nodes = {**ADVANCED, "apply": {**ADVANCED["apply"], "mode": 4}}
    editor = Editor(comfy, nodes)
    grouped = """(id) => {
      const { graph } = window.app;
      const group = new window.LiteGraph.LGraphGroup("style");
      group.pos = [480, 20];
      group.size = [700, 900];
      graph.add(group);
    }"""
    comfy.page.evaluate(grouped)
    comfy.capture()
    comfy.page.wait_for_timeout(100)
    editor.turn()
    saved = comfy.saved()
    ours = [
        one
        for one in saved["nodes"]
        if one["type"] in ("IPAApply", "IPAEncodeImage", "IPABlockWeights")
    ]
    assert {one["mode"] for one in ours} == {4}
    (group,) = saved["groups"]
    x, y, width, height = group["bounding"]
    for one in ours:
        assert x <= one["pos"][0] and one["pos"][0] + one["size"][0] <= x + width, one["type"]
        assert y <= one["pos"][1] - 30 and one["pos"][1] + one["size"][1] <= y + height
    assert editor.one("IPALoadAdapter")["mode"] == 0


TO_SUBGRAPH = """(ids) => {
  const { canvas } = window.app;
  const { graph } = canvas;
  const { node } = graph.convertToSubgraph(new Set(ids.map((id) => graph.getNodeById(id))));
  return String(node.id);
}"""


@pytest.mark.parametrize("inside", [("apply",), ("apply", "loader")])
def test_inside_a_subgraph(comfy: ComfyPage, with_files: Client, inside: tuple[str, ...]) -> None:
    editor = Editor(comfy, sampled(ADVANCED, "apply:0"))
    comfy.page.evaluate(TO_SUBGRAPH, [editor.ids[name] for name in inside])
    comfy.settle()
    comfy.capture()
    comfy.page.wait_for_timeout(150)
    prompt = comfy.prompt()
    before = comfy.saved()
    text = editor.turn()
    (held,) = comfy.saved()["definitions"]["subgraphs"]
    kinds = [one["type"] for one in held["nodes"]]
    assert "IPAApply" in kinds and "IPAdapterAdvanced" not in kinds
    assert ("IPAConvertAdapter" in kinds) is ("loader" not in inside)
    assert "2 turned" in text if "loader" in inside else "1 turned" in text
    (saved,) = before["definitions"]["subgraphs"]
    for side in ("inputs", "outputs"):
        assert [one["name"] for one in held[side]] == [one["name"] for one in saved[side]]
    after = comfy.prompt()
    editor.undo()
    assert comfy.prompt() == prompt
    editor.press("Control+y")
    assert comfy.prompt() == after
    same_pixels(with_files, editor.ids["save"], prompt, after)


def test_one_node_by_its_menu(comfy: ComfyPage, with_files: Client) -> None:
    second = {**ADVANCED["apply"], "pos": (500, 600), "title": "other"}
    editor = Editor(comfy, {**ADVANCED, "second": second})
    choose = """(id) => {
      const node = window.app.graph.getNodeById(id);
      const items = window.app.collectNodeMenuItems(node);
      return items.find((one) => one?.content === "Turn into IP-Adapter nodes").callback();
    }"""
    comfy.page.evaluate(choose, editor.ids["apply"])
    assert "1 turned" in editor.said()
    kinds = editor.kinds()
    assert kinds.count("IPAdapterAdvanced") == kinds.count("IPAApply") == 1
    assert kinds.count("IPAConvertAdapter") == kinds.count("IPAdapterModelLoader") == 1
    plain = """(id) => window.app.collectNodeMenuItems(window.app.graph.getNodeById(id))
      .some((one) => one?.content?.startsWith?.("Turn into"))"""
    assert not comfy.page.evaluate(plain, editor.ids["photo"])


def test_the_canvas_offers_it_where_there_are_old_nodes(
    comfy: ComfyPage, with_files: Client
) -> None:
    offered = """() => window.app.collectCanvasMenuItems(window.app.canvas)
      .some((one) => one?.content === "Turn all old nodes into IP-Adapter nodes")"""
    assert not comfy.page.evaluate(offered)
    editor = Editor(comfy, MODELS)
    assert comfy.page.evaluate(offered)
    assert "1 turned" in editor.turn()
    assert "no nodes of ComfyUI_IPAdapter_plus" in editor.turn()


def rerouted() -> Nodes:
    nodes = {**ADVANCED, "reroute": node("Reroute", (300, 250))}
    nodes["reroute"]["links"] = {"": ["loader", 0]}
    links = {**ADVANCED["apply"]["links"], "ipadapter": ["reroute", 0]}
    nodes["apply"] = {**ADVANCED["apply"], "links": links}
    return sampled(nodes, "apply:0")


def test_a_reroute_of_the_adapter_goes_with_it(comfy: ComfyPage, with_files: Client) -> None:
    editor = Editor(comfy, rerouted())
    prompt = comfy.prompt()
    assert "2 turned" in editor.turn()
    assert "Reroute" not in [one["type"] for one in editor.nodes()]
    after = comfy.prompt()
    editor.undo()
    assert comfy.prompt() == prompt
    same_pixels(with_files, editor.ids["save"], prompt, after)


def test_what_is_set_outside_the_subgraph_is_not_lost(comfy: ComfyPage, with_files: Client) -> None:
    editor = Editor(comfy, sampled(ADVANCED, "apply:0"))
    host = comfy.page.evaluate(TO_SUBGRAPH, [editor.ids["apply"]])
    comfy.settle()
    promote = """(id) => {
      const host = window.app.rootGraph.getNodeById(id);
      const node = host.subgraph.nodes.find((one) => one.type === "IPAdapterAdvanced");
      const slot = host.subgraph.addInput("weight", "FLOAT");
      slot.connect(node.inputs.find((one) => one.name === "weight"), node);
      host.widgets.find((one) => one.name === "weight").value = 0.45;
    }"""
    comfy.page.evaluate(promote, host)
    comfy.capture()
    comfy.page.wait_for_timeout(150)
    prompt = comfy.prompt()
    assert "my style: weight is set outside" in editor.turn()
    assert comfy.prompt() == prompt
    (old,) = [one for one in prompt.values() if one["class_type"] == "IPAdapterAdvanced"]
    assert old["inputs"]["weight"] == 0.45
