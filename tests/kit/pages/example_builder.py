"""Makes an example workflow in the host's real editor, as a user would, and saves it.

The nodes are made and wired in a tab that draws them on the canvas. How high they have to be is
asked there and of a second tab, which draws them by Vue, so that they lie well in both.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from math import ceil, floor
from typing import Any

from comfy_page import ComfyPage
from kit.pages.blueprints import ABOUT, Blueprint
from kit.pages.example_graphs import RESULT_KIND, STEMS, Out, Sketch
from kit.pages.example_layout import TITLE, Arrangement, Wire, width_of

# Room for what such a node shows: a picture, or the text about what it loaded or made.
HEIGHTS = {
    "LoadImage": 260,
    "LoadImageMask": 270,
    "LoadVideo": 330,
    "PreviewImage": 250,
    "SaveImage": 262,
    RESULT_KIND: 150,
    "SaveAnimatedWEBP": 300,
    "CLIPTextEncode": 104,
    "IPASimple": 260,
    "IPAStyleComposition": 260,
    "IPARegional": 260,
    "IPALoadAdapter": 140,
    "IPALoadFaceModels": 150,
    "IPALoadEmbeds": 180,
    "IPAEncodeFace": 200,
    "IPAMergeEmbeds": 180,
    "IPARegions": 180,
    "IPASaveEmbeds": 200,
    "IPASchedule": 420,
    "IPABlockWeights": 500,
    "IPAPrepareImage": 300,
    "IPAInstantIDConditioning": 250,
}
COLOURS = {
    "Positive prompt": ("#232", "#353"),
    "Prompt on the left": ("#232", "#353"),
    "Prompt on the right": ("#232", "#353"),
    "Negative prompt": ("#322", "#533"),
    "Read me first": ("#222", "#2a2a2a"),
}
NOTE_WIDTHS = (400, 440, 480, 540, 600)
# What is to be seen at once: the window of 1400 x 900, without the editor's own bars.
CORNER, SEEN = (78, 104), (1310, 784)
SMALLEST, LARGEST = 0.65, 1.0

CLEAR = """async () => {
  const empty = { version: 0.4, nodes: [], links: [], last_node_id: 0, last_link_id: 0 };
  await window.app.loadGraphData(empty);
}"""
MAKE = """async ({ nodes, note }) => {
  const { app, LiteGraph } = window;
  const frame = () => new Promise(requestAnimationFrame);
  const make = ({ kind, title, widgets, colours, files, picture }) => {
    const node = LiteGraph.createNode(kind);
    if (!node) throw new Error(`no node ${kind}`);
    app.graph.add(node);
    if (title) node.title = title;
    if (files.length) node.properties.models = files;
    if (picture) node.properties.picture = picture;
    node.onConfigure?.({});
    if (colours) [node.color, node.bgcolor] = colours;
    for (const [name, value] of Object.entries(widgets)) {
      const widget = node.widgets.find((each) => each.name === name);
      if (!widget) throw new Error(`${kind} has no widget ${name}`);
      widget.value = value;
      widget.callback?.(value);
    }
    return node;
  };
  const noted = make(note);
  noted.widgets[0].value = note.text;
  const made = nodes.map(make);
  const wires = [];
  for (const [index, each] of nodes.entries()) {
    for (const [name, [from, slot]] of Object.entries(each.wires)) {
      const target = made[index];
      const input = target.inputs.findIndex((each) => each.name === name);
      if (input < 0) throw new Error(`${nodes[index].kind} has no input ${name}`);
      if (!made[from].connect(slot, target, input)) throw new Error(`${name} is not connected`);
      wires.push([[from, slot], index, input]);
      await frame();
      await frame();
    }
  }
  await new Promise((done) => setTimeout(done, 700));
  return { heights: made.map((node) => node.computeSize()[1]), wires };
}"""
# How high a node has to be where it is drawn by Vue, by its number; the note comes first.
LOW = """(widths) => {
  for (const [i, node] of window.app.graph._nodes.entries()) node.setSize([widths[i], 60]);
}"""
VUE_HEIGHTS = """() => window.app.graph._nodes.map(({ id }) => {
  const drawn = document.querySelector(`[data-node-id="${id}"]`);
  return drawn.getBoundingClientRect().height / window.app.canvas.ds.scale - 30;
})"""
# How high the text of a note is, drawn in both ways.
NOTE_HEIGHT = """(width) => {
  const text = document.querySelector(".comfy-markdown .tiptap");
  const box = document.createElement("div");
  document.body.append(box);
  const heights = ["comfy-markdown", "comfy-markdown-content"].map((kind) => {
    box.className = kind;
    box.style.cssText = `position: absolute; width: ${width - 30}px; visibility: hidden`;
    box.innerHTML = kind.endsWith("content")
      ? text.innerHTML
      : `<div class="tiptap">${text.innerHTML}</div>`;
    return box.scrollHeight;
  });
  box.remove();
  return Math.max(...heights);
}"""
PLACE = """async ({ places, groups, corners }) => {
  const { app, LiteGraph } = window;
  const nodes = app.graph._nodes;
  for (const [index, { pos, size }] of places.entries()) {
    nodes[index].pos = pos;
    nodes[index].setSize(size);
  }
  for (const { title, box, colour } of groups) {
    const group = new LiteGraph.LGraphGroup(title);
    group.pos = box.slice(0, 2);
    group.size = box.slice(2);
    group.color = colour;
    app.graph.add(group);
  }
  // An output's links share the corners that they have in common.
  const known = new Map();
  for (const { target, slot, points, source } of corners) {
    const link = app.graph.getLink(nodes[target + 1].inputs[slot].link);
    let parentId;
    let way = source.join();
    for (const pos of points) {
      way += `>${pos}`;
      const reroute = known.get(way) ?? app.graph.setReroute({ pos, parentId, linkIds: [] });
      known.set(way, reroute);
      reroute.linkIds.add(link.id);
      parentId = reroute.id;
    }
    link.parentId = parentId;
  }
  await new Promise(requestAnimationFrame);
}"""
# What was made becomes a subgraph; all that is not of it goes.
FOLD = """async ({ name, inside, outside }) => {
  const { graph } = window.app;
  const made = graph._nodes.slice(1);
  const { subgraph, node } = graph.convertToSubgraph(new Set(inside.map((i) => made[i])));
  subgraph.name = node.title = name;
  for (const other of [...graph._nodes]) if (other !== node) graph.remove(other);
  node.pos = [0, 0];
  await new Promise((done) => setTimeout(done, 300));
  node.properties.proxyWidgets = Object.values(outside).map(([i, each]) => [
    String(made[i].id),
    each,
  ]);
  return JSON.stringify(graph.serialize());
}"""
SAVED = "() => JSON.stringify(window.app.graph.serialize())"


def described(sketch: Sketch) -> dict[str, Any]:
    """What the browser makes nodes of."""
    # The toys' own workflow makes what the first example makes with them.
    shown = sketch.name if sketch.name in STEMS else "first_picture"
    nodes = [
        asdict(node)
        | {
            "colours": COLOURS.get(node.title or ""),
            "files": [file._asdict() for file in node.files],
            "wires": {name: list(out) for name, out in node.wires.items()},
            "picture": f"{shown}.jpg" if node.kind == RESULT_KIND else "",
        }
        for node in sketch.nodes
    ]
    note = {"kind": "MarkdownNote", "title": "Read me first", "widgets": {}, "files": []}
    return {
        "nodes": nodes,
        "note": note | {"colours": COLOURS["Read me first"], "text": sketch.text},
    }


def _with_own_names(saved: dict[str, Any], name: str) -> dict[str, Any]:
    """The same names each time for what the editor names at random."""
    (graph,) = saved["definitions"]["subgraphs"]
    slots = [*graph["inputs"], *graph["outputs"]]
    given = [graph["id"], *(slot["id"] for slot in slots)]
    text = json.dumps(saved)
    for number, old in enumerate(given):
        text = text.replace(old, str(uuid.uuid5(uuid.NAMESPACE_URL, f"ipadapter/{name}/{number}")))
    return json.loads(text)


def _called(saved: dict[str, Any], blueprint: Blueprint) -> None:
    """The words that whoever looks for it or uses it reads."""
    (graph,), (outer,) = saved["definitions"]["subgraphs"], saved["nodes"]
    graph["description"] = ABOUT[blueprint.sketch.name]
    for slot in (*graph["inputs"], *outer["inputs"]):
        if name := blueprint.names.get(slot["name"]):
            slot["name"] = slot["localized_name"] = name
    shown = outer["properties"]["proxyWidgets"]
    for label, (id, widget) in zip(blueprint.outside, shown, strict=True):
        (node,) = (node for node in graph["nodes"] if str(node["id"]) == id)
        (slot,) = (slot for slot in node["inputs"] if slot["name"] == widget)
        if label != widget:
            slot["label"] = label


def scale_of(size: tuple[float, float]) -> float:
    """The zoom at which all of it is seen, within reason."""
    scale = min(seen / side for seen, side in zip(SEEN, size, strict=True))
    return min(max(floor(scale * 100) / 100, SMALLEST), LARGEST)


def _outer(note: tuple[float, float]) -> tuple[float, float]:
    return note[0], TITLE + note[1]


def finished(sketch: Sketch, saved: dict[str, Any], size: tuple[float, float]) -> dict[str, Any]:
    """The saved workflow, without what is different each time."""
    saved["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"ipadapter/{sketch.name}"))
    extra = saved["extra"]
    scale = scale_of(size)
    extra["ds"] = {"scale": scale, "offset": [round(side / scale) for side in CORNER]}
    if sketch.inputs:
        extra["ipadapter_inputs"] = sorted(set(sketch.inputs))
    return saved


class Builder:
    """Two tabs: one in which an example is made, and one that draws nodes the other way."""

    def __init__(self, canvas: ComfyPage, vue: ComfyPage) -> None:
        self.canvas, self.vue = canvas, vue

    def built(self, sketch: Sketch) -> dict[str, Any]:
        """A workflow as the editor saves it."""
        page = self.canvas.page
        page.evaluate(CLEAR)
        made = page.evaluate(MAKE, described(sketch))
        wires = [Wire(Out(*source), target, slot) for source, target, slot in made["wires"]]
        heights = self._heights(sketch, made["heights"])
        arrangement = Arrangement(sketch, heights, wires)
        notes = [(width, page.evaluate(NOTE_HEIGHT, width) + 24) for width in NOTE_WIDTHS]
        # A long note may be wider, where that lets the whole be seen larger.
        note = max(notes, key=lambda size: scale_of(arrangement.place(_outer(size)).size))
        layout = arrangement.place(_outer(note))
        placed = {"pos": [0, TITLE], "size": list(note)}
        page.evaluate(
            PLACE,
            {
                "places": [placed, *layout.places],
                "groups": layout.groups,
                "corners": layout.corners,
            },
        )
        return finished(sketch, json.loads(page.evaluate(SAVED)), layout.size)

    def folded(self, blueprint: Blueprint) -> dict[str, Any]:
        """A graph of one subgraph, as the host's blueprints are."""
        page, sketch = self.canvas.page, blueprint.sketch
        page.evaluate(CLEAR)
        page.evaluate(MAKE, described(sketch))
        parts = {"name": sketch.name, "inside": blueprint.inside, "outside": blueprint.outside}
        saved = json.loads(page.evaluate(FOLD, parts))
        saved["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"ipadapter/{sketch.name}"))
        saved["extra"] = {}
        _called(saved, blueprint)
        return _with_own_names(saved, sketch.name)

    def _heights(self, sketch: Sketch, canvas: list[float]) -> list[float]:
        """As much as each node needs, however it is drawn."""
        widths = [NOTE_WIDTHS[0], *(width_of(node) for node in sketch.nodes)]
        self.canvas.page.evaluate(LOW, widths)
        self.vue.load(self.canvas.saved())
        self.vue.page.wait_for_timeout(700)
        vue = self.vue.page.evaluate(VUE_HEIGHTS)[1:]
        return [
            max(ceil(one), ceil(other), HEIGHTS.get(node.kind, 0), node.size[1] if node.size else 0)
            for one, other, node in zip(canvas, vue, sketch.nodes, strict=True)
        ]
