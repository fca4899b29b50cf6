"""The example workflows on the host's real front end: what it loads, sends and would save again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_page import ComfyPage
from conftest import ROOT
from kit.pages.blueprints import MAKERS as BLUEPRINTS
from kit.pages.example_graphs import STEMS
from kit.server import example_models
from kit.server.live import Client
from pack.demo.prompts import to_prompt

EXAMPLES = ROOT / "example_workflows"
INPUTS = EXAMPLES / "inputs"
NAMES = sorted(STEMS)
IN_VUE = ("style_only", "two_faces_with_masks", "video")
RELOAD = "() => window.app.reloadNodeDefs()"
COMPLAINT = "View details"
# Left, top, right and bottom of each node on the screen.
BOXES = """() => [...document.querySelectorAll("[data-node-id]")].map((node) => {
  const { left, top, right, bottom } = node.getBoundingClientRect();
  return [node.dataset.nodeId, left, top, right, bottom];
})"""
FILES = """() => window.app.graph._nodes
  .filter((node) => node.type.startsWith("Load"))
  .map((node) => node.widgets[0])
  .map(({ value, options }) => [value, options.values.includes(value)])"""


def workflow(name: str) -> dict[str, Any]:
    return json.loads((EXAMPLES / f"{STEMS[name]}.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def models(editor_server: Client) -> Iterator[None]:
    """Files under all the names in the examples, for this module only."""
    folder = editor_server.base / "models"
    before = set(folder.rglob("*"))
    example_models.write_models(folder)
    yield
    for path in set(folder.rglob("*")) - before:
        if path.is_file():
            path.unlink()


@pytest.fixture
def opened(comfy: ComfyPage, editor_server: Client, models: None) -> Iterator[ComfyPage]:
    """A page that knows the files, on a server without the inputs."""
    remove_inputs(editor_server)
    comfy.page.evaluate(RELOAD)
    yield comfy
    comfy.clear()
    remove_inputs(editor_server)


def brought(server: Client) -> list[Path]:
    return sorted((server.base / "input").glob("ipadapter_*"))


def remove_inputs(server: Client) -> None:
    for path in brought(server):
        path.unlink()


def plain(prompt: dict[str, Any]) -> dict[str, Any]:
    """Whole numbers are the same in JSON whether they have a point or not."""
    for node in prompt.values():
        # The page's own player on Load Video, which the server does not know.
        node["inputs"].pop("video-preview", None)
    return json.loads(json.dumps(prompt), parse_float=float, parse_int=float)


def stable(graph: dict[str, Any]) -> list[dict[str, Any]]:
    """Nodes without their size, which follows from what is shown on them."""
    left_out = ("size", "order")
    return [{k: v for k, v in node.items() if k not in left_out} for node in graph["nodes"]]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_opens_and_is_sent_as_it_is(
    name: str, opened: ComfyPage, editor_server: Client
) -> None:
    if opened.vue and name not in IN_VUE:
        pytest.skip("one way of drawing is enough for this one")
    saved = workflow(name)
    opened.load(saved)
    assert opened.page.get_by_text(COMPLAINT).count() == 0
    inputs = saved["extra"].get("ipadapter_inputs", [])
    there = {path.name: path.read_bytes() for path in brought(editor_server)}
    assert there == {each: (INPUTS / each).read_bytes() for each in inputs}
    files = dict(opened.page.evaluate(FILES))
    assert set(inputs) <= files.keys()
    assert all(files.values()), files
    known = editor_server.get("/object_info")
    assert plain(opened.prompt()) == plain(to_prompt(saved, known))
    if opened.vue:
        assert overlapping(opened) == []
    else:
        assert stable(opened.saved()) == stable(saved)


def overlapping(page: ComfyPage) -> list[tuple[str, str]]:
    boxes = page.page.evaluate(BOXES)
    assert len(boxes) > 5
    return [
        (one[0], other[0])
        for i, one in enumerate(boxes)
        for other in boxes[i + 1 :]
        if one[1] < other[3] and other[1] < one[3] and one[2] < other[4] and other[2] < one[4]
    ]


def test_a_picture_of_the_users_is_left_alone(opened: ComfyPage, editor_server: Client) -> None:
    own = editor_server.base / "input" / "ipadapter_example_house.jpg"
    own.write_bytes((INPUTS / "ipadapter_example_waves.jpg").read_bytes())
    before = own.read_bytes()
    opened.load(workflow("image_to_image"))
    assert own.read_bytes() == before
    names = ["ipadapter_example_house.jpg", "ipadapter_example_waves.jpg"]
    assert [path.name for path in brought(editor_server)] == names


def test_only_what_is_named_by_a_loader_and_shipped_is_fetched(
    opened: ComfyPage, editor_server: Client
) -> None:
    saved = workflow("first_picture")
    saved["extra"]["ipadapter_inputs"] += [
        "ipadapter_example_house.jpg",
        "../IP-Adapter 01 First picture.json",
        3,
    ]
    opened.load(saved)
    assert [path.name for path in brought(editor_server)] == ["ipadapter_reference.jpg"]


def test_the_list_of_templates_has_them_with_their_pictures(editor_server: Client) -> None:
    listed = editor_server.get("/workflow_templates")["ip-adapter-pack"]
    assert sorted(listed) == sorted(STEMS.values())
    for name in NAMES:
        address = f"/api/workflow_templates/ip-adapter-pack/{STEMS[name]}.json".replace(" ", "%20")
        assert editor_server.get(address) == workflow(name)


def test_a_blueprint_opens_with_few_inputs_and_its_nodes_inside(comfy: ComfyPage) -> None:
    for name in BLUEPRINTS:
        blueprint = json.loads((ROOT / "subgraphs" / f"{name}.json").read_text("utf-8"))
        comfy.load(blueprint)
        (node,) = comfy.saved()["nodes"]
        assert comfy.page.evaluate("() => window.app.graph._nodes[0].title") == name
        shown = blueprint["nodes"][0]["properties"]["proxyWidgets"]
        assert len(node["inputs"]) <= 4 + len(shown)
        (graph,) = blueprint["definitions"]["subgraphs"]
        sent = [one["class_type"] for one in comfy.prompt().values()]
        assert sorted(sent) == sorted(each["type"] for each in graph["nodes"])
