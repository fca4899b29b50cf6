"""Every example is readable as it opens: zoom, note, links, and nothing on something else.

In a window of 1400 x 900, drawn on the canvas and by Vue, in the dark and the light theme.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_page import ComfyPage
from kit.pages.example_graphs import STEMS
from kit.server import example_models
from kit.server.live import Client
from PIL import Image
from toys import WORKFLOW, put_files

EXAMPLES = Path(__file__).resolve().parents[2] / "example_workflows"
FILES = {name: EXAMPLES / f"{stem}.json" for name, stem in STEMS.items()} | {"toys": WORKFLOW}
ZOOM, CONTRAST, LETTERS = 0.65, 4.5, 7.0
# Many nodes: what is left over at the opening zoom lies to the right or below.
LARGE = {"video": 0.25, "instantid": 0.1, "two_faces_with_masks": 0.15, "flux_two_references": 0.15}
# What is known to be wrong still: one link of five with a mask and two pictures.
KNOWN = {"inpainting": ["Load Checkpoint > IPAdapter Simple > Reference: what goes into the hole"]}
# Of the window, without the editor's own bars.
SEEN = (60, 80, 1400, 892)
THEMES = ("dark", "light")
SLACK = 6
NOTE_TEXT = ".comfy-markdown .tiptap, .comfy-markdown-content"

# Left, top, right and bottom of each node on the screen, by number.
BOXES = """() => {
  const { graph, ds, canvas } = window.app.canvas;
  const at = canvas.getBoundingClientRect();
  return Object.fromEntries(graph._nodes.map((node) => {
    const drawn = document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect();
    if (drawn) return [node.id, [drawn.left, drawn.top, drawn.right, drawn.bottom]];
    const [x, y] = ds.convertOffsetToCanvas([node.pos[0], node.pos[1] - 30]);
    const [w, h] = [node.size[0] * ds.scale, (node.size[1] + 30) * ds.scale];
    return [node.id, [at.left + x, at.top + y, at.left + x + w, at.top + y + h]];
  }));
}"""
# The text of the note: how much of its box it fills, whether it is cut, its letters on the screen.
NOTE = """(selector) => {
  const text = document.querySelector(selector);
  const box = text.getBoundingClientRect();
  const end = text.lastElementChild.getBoundingClientRect().bottom;
  const { scale } = window.app.canvas.ds;
  const parts = [...text.querySelectorAll("h1, h2, h3, a, strong, em")].map((one) => {
    const { color, fontSize } = getComputedStyle(one);
    return [color, parseFloat(fontSize) * scale];
  });
  return {
    cut: text.scrollHeight - text.clientHeight,
    filled: (end - box.top) / box.height,
    smallest: Math.min(...parts.map(([, size]) => size)),
    colours: [...new Set(parts.map(([colour]) => colour))],
    corner: [box.right - 5, box.bottom - 5],
  };
}"""
# Which links are seen beneath a node that they neither come from nor go to.
BEHIND = """(margin) => {
  const { graph } = window.app;
  const shrink = 4;
  const boxes = graph._nodes.map((n) => [n.id, n.pos[0], n.pos[1] - 30, n.size[0], n.size[1] + 30]);
  const least = (i) => Math.min(...boxes.map((box) => box[i])) - 300;
  const most = (i) => Math.max(...boxes.map((box) => box[i] + box[i + 2])) + 300;
  const [left, top] = [least(1), least(2)];
  const sheet = new OffscreenCanvas((most(1) - left) / shrink, (most(2) - top) / shrink);
  const pen = sheet.getContext("2d", { willReadFrequently: true });
  const found = [];
  for (const link of graph.links.values()) {
    const paths = [link.path];
    for (let at = link.parentId; at != null; at = graph.reroutes.get(at).parentId) {
      paths.push(graph.reroutes.get(at).path);
    }
    if (paths.some((path) => !path)) throw new Error("a link is not drawn yet");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, sheet.width, sheet.height);
    pen.setTransform(1 / shrink, 0, 0, 1 / shrink, -left / shrink, -top / shrink);
    pen.lineWidth = shrink;
    for (const path of paths) pen.stroke(path);
    const own = [link.origin_id, link.target_id].map(String);
    for (const [id, x, y, width, height] of boxes) {
      if (own.includes(String(id))) continue;
      const [w, h] = [width, height].map((side) => (side - 2 * margin) / shrink);
      const [px, py] = [(x + margin - left) / shrink, (y + margin - top) / shrink];
      const { data } = pen.getImageData(px, py, w, h);
      if (data.some((value, i) => i % 4 === 3 && value > 40)) {
        found.push([...own, id].map((one) => graph.getNodeById(one).title).join(" > "));
      }
    }
  }
  return found;
}"""
THEME = "(name) => window.app.extensionManager.setting.set('Comfy.ColorPalette', name)"


@pytest.fixture
def furnished(comfy: ComfyPage, editor_server: Client) -> Iterator[ComfyPage]:
    base = editor_server.base
    before = set(base.rglob("*"))
    example_models.write_models(base / "models")
    put_files(base / "models", base / "input")
    comfy.page.evaluate("() => window.app.reloadNodeDefs()")
    yield comfy
    comfy.page.evaluate(THEME, THEMES[0])
    comfy.clear()
    for path in set(base.rglob("*")) - before:
        if path.is_file():
            path.unlink()


def test_every_example_can_be_read_as_it_opens(furnished: ComfyPage) -> None:
    wrong: dict[str, list[Any]] = {}
    for name, path in FILES.items():
        furnished.load(json.loads(path.read_text("utf-8")))
        furnished.page.locator(NOTE_TEXT).first.wait_for()
        furnished.page.wait_for_timeout(250)
        faults = list(faults_of(furnished.page, LARGE.get(name, 0.0)))
        if new := [fault for fault in faults if fault not in KNOWN.get(name, [])]:
            wrong[name] = new
    assert wrong == {}
    for theme in THEMES:
        furnished.page.evaluate(THEME, theme)
        furnished.page.wait_for_timeout(500)
        note = furnished.page.evaluate(NOTE, NOTE_TEXT)
        shot = Image.open(io.BytesIO(furnished.page.screenshot())).convert("RGB")
        paper = shot.getpixel(tuple(round(side) for side in note["corner"]))
        for colour in note["colours"]:
            assert contrast(rgb(colour), paper) >= CONTRAST, (theme, colour, paper)


def faults_of(page: Any, left_over: float) -> Iterator[Any]:
    scale = page.evaluate("() => window.app.canvas.ds.scale")
    if scale < ZOOM:
        yield "zoom", scale
    boxes = page.evaluate(BOXES)
    width, height = ((SEEN[i + 2] - SEEN[i]) * left_over for i in (0, 1))
    seen = (SEEN[0], SEEN[1], SEEN[2] + width, SEEN[3] + height)
    yield from (("out of sight", id) for id, box in boxes.items() if not inside(box, seen))
    yield from (
        ("one on another", one, other)
        for one, box in boxes.items()
        for other, its in boxes.items()
        if int(one) < int(other) and overlap(box, its)
    )
    note = page.evaluate(NOTE, NOTE_TEXT)
    if note["cut"] > 0 or note["filled"] < 0.6 or note["smallest"] < LETTERS:
        yield "note", note
    yield from page.evaluate(BEHIND, SLACK)


def inside(box: list[float], of: tuple[float, ...]) -> bool:
    return box[0] >= of[0] and box[1] >= of[1] and box[2] <= of[2] and box[3] <= of[3]


def overlap(one: list[float], other: list[float]) -> bool:
    """More than by a pixel that is rounded."""
    return (
        one[0] + 1 < other[2]
        and other[0] + 1 < one[2]
        and one[1] + 1 < other[3]
        and other[1] + 1 < one[3]
    )


def rgb(css: str) -> tuple[float, ...]:
    return tuple(float(part) for part in css.split("(")[1].rstrip(")").split(",")[:3])


def contrast(one: tuple[float, ...], other: Any) -> float:
    """As the Web Content Accessibility Guidelines define it."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: Any) -> float:
    parts = (value / 255 for value in colour)
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
