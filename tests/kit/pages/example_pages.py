"""Writes the example workflows, built and saved by the host's real front end.

`python -m kit.pages.example_pages` starts a server and a browser, makes each workflow of
example_graphs.py as a user would, and leaves what the editor saves in example_workflows. The same
versions of ComfyUI and of its front end write the same bytes.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kit.pages.example_graphs import GROUPS, Sketch, sketches
from kit.pages.toy_graph import toy_models

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "example_workflows"
TOY_EXAMPLES = ROOT / "demo" / "toy_nodes" / "example_workflows"
WIDTHS = {
    "Models": 340,
    "Pictures": 320,
    "Encode": 320,
    "IP-Adapter": 340,
    "Prompt": 380,
    "Run": 340,
}
# Room for what such a node shows: a picture, or the text about what it loaded or made.
HEIGHTS = {
    "LoadImage": 340,
    "LoadImageMask": 340,
    "PreviewImage": 300,
    "SaveImage": 420,
    "SaveAnimatedWEBP": 480,
    "CLIPTextEncode": 160,
    "IPALoadAdapter": 220,
    "IPALoadFaceModels": 260,
    "IPALoadEmbeds": 260,
    "IPAEncodeImage": 450,
    "IPAEncodeFace": 260,
    "IPAMergeEmbeds": 260,
    "IPARegions": 300,
    "IPASaveEmbeds": 300,
    "IPASchedule": 480,
    "IPABlockWeights": 620,
    "IPAPrepareImage": 360,
    "IPAInstantIDConditioning": 340,
}
COLOURS = {
    "Positive prompt": ("#232", "#353"),
    "Negative prompt": ("#322", "#533"),
    "Read me first": ("#432", "#653"),
}
GROUP_COLOURS = ("#3f789e", "#8a8", "#b58b2a", "#b06634", "#a1309b", "#888")
NOTE = (440, 700)
GAP, TITLE, BORDER = 60, 34, 20

CLEAR = """async () => {
  const empty = { version: 0.4, nodes: [], links: [], last_node_id: 0, last_link_id: 0 };
  await window.app.loadGraphData(empty);
}"""
MAKE = """async ({ nodes, note, widths }) => {
  const { app, LiteGraph } = window;
  const frame = () => new Promise(requestAnimationFrame);
  const make = ({ kind, title, widgets, colours, files }) => {
    const node = LiteGraph.createNode(kind);
    if (!node) throw new Error(`no node ${kind}`);
    app.graph.add(node);
    if (title) node.title = title;
    if (files.length) node.properties.models = files;
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
  for (const [index, { wires }] of nodes.entries()) {
    for (const [name, [from, slot]] of Object.entries(wires)) {
      const target = made[index];
      const input = target.inputs.findIndex((each) => each.name === name);
      if (input < 0) throw new Error(`${nodes[index].kind} has no input ${name}`);
      if (!made[from].connect(slot, target, input)) throw new Error(`${name} is not connected`);
      await frame();
      await frame();
    }
  }
  await new Promise((done) => setTimeout(done, 700));
  return made.map((node) => [...node.computeSize()]);
}"""
PLACE = """async ({ places, groups }) => {
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
  await new Promise(requestAnimationFrame);
}"""
SAVED = "() => JSON.stringify(window.app.graph.serialize())"


def described(sketch: Sketch) -> dict[str, Any]:
    """What the browser makes nodes of."""
    nodes = [
        asdict(node)
        | {
            "colours": COLOURS.get(node.title or ""),
            "files": [file._asdict() for file in node.files],
            "wires": {name: list(out) for name, out in node.wires.items()},
        }
        for node in sketch.nodes
    ]
    note = {"kind": "MarkdownNote", "title": "Read me first", "widgets": {}, "files": []}
    return {
        "nodes": nodes,
        "note": note | {"colours": COLOURS["Read me first"], "text": sketch.text},
        "widths": WIDTHS,
    }


def layout(sketch: Sketch, sizes: list[list[float]]) -> dict[str, Any]:
    """Where the note, each node and the groups go: a column for each group, from left to right."""
    places = [{"pos": [0, 0], "size": list(NOTE)}]
    places += [{"pos": [0, 0], "size": [0, 0]} for _ in sketch.nodes]
    groups: list[dict[str, Any]] = []
    left = NOTE[0] + GAP + BORDER
    for number, group in enumerate(GROUPS):
        members = [i for i, node in enumerate(sketch.nodes) if node.group == group]
        if not members:
            continue
        width, top = WIDTHS[group], TITLE
        for i in members:
            node = sketch.nodes[i]
            least = node.size or (width, HEIGHTS.get(node.kind, 0))
            height = max(round(sizes[i][1]), least[1])
            places[i + 1] = {"pos": [left, top], "size": [width, height]}
            top += height + GAP
        box = [left - BORDER, -TITLE - BORDER, width + 2 * BORDER, top - GAP + TITLE + 2 * BORDER]
        colour = GROUP_COLOURS[number]
        groups.append({"title": f"{len(groups) + 1}. {group}", "box": box, "colour": colour})
        left += width + GAP + 2 * BORDER
    return {"places": places, "groups": groups}


def finished(sketch: Sketch, saved: dict[str, Any]) -> dict[str, Any]:
    """The saved workflow, without what is different each time."""
    saved["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"ipadapter/{sketch.name}"))
    extra = saved["extra"]
    extra["ds"] = {"scale": 0.6, "offset": [80, 160]}
    if sketch.inputs:
        extra["ipadapter_inputs"] = sorted(set(sketch.inputs))
    return saved


def built(page: Any, sketch: Sketch) -> dict[str, Any]:
    """A workflow as the editor saves it."""
    page.evaluate(CLEAR)
    sizes = page.evaluate(MAKE, described(sketch))
    page.evaluate(PLACE, layout(sketch, sizes))
    return finished(sketch, json.loads(page.evaluate(SAVED)))


def main() -> None:
    from comfy_page import ComfyPage, launch
    from kit.server import live
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        base = Path(place)
        (base / "models").mkdir()
        with live.running(base, base / "models") as client:
            browser = launch(playwright)
            tab = ComfyPage(client, browser, vue=False)
            for folder, some in ((EXAMPLES, sketches()), (TOY_EXAMPLES, [toy_models()])):
                for sketch in some:
                    workflow = built(tab.page, sketch)
                    text = json.dumps(workflow, indent=2, ensure_ascii=False) + "\n"
                    (folder / f"{sketch.name}.json").write_text(text, "utf-8")
            browser.close()


if __name__ == "__main__":
    import sys

    sys.path.append(str(ROOT / "tests" / "browser"))
    import conftest  # noqa: F401  # puts the host on the path and names the pack `pack`

    main()
