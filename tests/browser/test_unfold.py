"""Nodes that stand for several become those in the editor: the same picture, one step of undo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_page import ComfyPage
from kit.models import encoder_shapes
from kit.models.sparse_files import write_sparse
from kit.server.live import Client
from playwright.sync_api import expect
from test_moving import MODELS, Editor, Nodes, covered, node, same_pixels, sampled

UNFOLD = """async (ids) => {
  const { canvas, extensionManager } = window.app;
  canvas.selectNodes(ids.map((id) => canvas.graph.getNodeById(id)));
  await extensionManager.command.execute("IPAdapter.Unfold");
}"""
MENU = """(id) => {
  const node = window.app.canvas.graph.getNodeById(id);
  return window.app.collectNodeMenuItems(node).map((item) => item?.content ?? "");
}"""
LABEL = "Unfold into single nodes"


@pytest.fixture(scope="module")
def server(editor_server: Client) -> Iterator[Client]:
    """With an encoder that is found for the adapter, as long as these tests run."""
    folder = Path(editor_server.base) / "models" / "clip_vision"
    folder.mkdir(exist_ok=True)
    file = write_sparse(folder / "hollow.safetensors", encoder_shapes.hollow(1280, 1024))
    yield editor_server
    file.unlink()


@pytest.fixture
def page(comfy: ComfyPage, server: Client) -> Iterator[ComfyPage]:
    """Pictures of loaders, which the host keeps by the numbers of nodes, go before other tests."""
    yield comfy
    comfy.clear()
    comfy.page.evaluate("() => { window.app.nodeOutputs = {}; }")


def masks() -> Nodes:
    return {
        f"mask {i}": node("SolidMask", (i * 320, 1400), {"value": i / 2, "width": 64, "height": 64})
        for i in (1, 2)
    }


SIMPLE = {
    **{name: MODELS[name] for name in ("checkpoint", "photo")},
    **masks(),
    "folded": node(
        "IPASimple",
        (700, 100),
        {"preset": "ease in", "scale": 0.7, "end_percent": 0.8},
        title="mine",
        model="checkpoint:0",
        image="photo:0",
        attn_mask="mask 1:0",
    ),
}
PLAIN = {**SIMPLE, "folded": node("IPASimple", (700, 100), model="checkpoint:0", image="photo:0")}
STYLE = {
    **SIMPLE,
    "layout": node("LoadImage", (0, 1000), {"image": "reference.jpg"}),
    "folded": node(
        "IPAStyleComposition",
        (700, 100),
        {"style_scale": 0.9, "composition_scale": 0.6},
        model="checkpoint:0",
        style_image="photo:0",
        composition_image="layout:0",
    ),
}
MADE = {
    "with a preset": (SIMPLE, ["Apply", "BlockWeights", "EncodeImage", "LoadForModel"]),
    "style and composition": (
        STYLE,
        ["Apply", "Apply", "BlockWeights", "BlockWeights", "EncodeImage", "EncodeImage"]
        + ["LoadForModel"],
    ),
}


def unfold(comfy: ComfyPage, *ids: str) -> None:
    comfy.page.evaluate(UNFOLD, list(ids))
    comfy.settle()


@pytest.mark.parametrize("name", MADE)
def test_a_node_becomes_those_it_stands_for(page: ComfyPage, server: Client, name: str) -> None:
    nodes, made = MADE[name]
    editor = Editor(page, sampled(nodes, "folded:0"))
    before = page.prompt()
    unfold(page, editor.ids["folded"])
    assert [one.removeprefix("IPA") for one in editor.kinds()] == sorted([*made, "DemoCheckpoint"])
    assert covered(editor.nodes()) == []
    after = page.prompt()
    editor.undo()
    assert page.prompt() == before
    same_pixels(server, editor.ids["save"], before, after)


def test_regions_become_bound_prompts(page: ComfyPage, server: Client) -> None:
    text = node("CLIPTextEncode", (0, 1100), {"text": "a house"}, clip="checkpoint:1")
    first = node(
        "IPARegional",
        (700, 100),
        model="checkpoint:0",
        image="photo:0",
        positive="text 1:0",
        negative="text 1:0",
        mask="mask 1:0",
    )
    second = node(
        "IPARegional",
        (1100, 100),
        {"preset": "weak input", "scale": 0.5},
        model="first:0",
        image="photo:0",
        positive="text 1:0",
        negative="text 1:0",
        mask="mask 2:0",
        more_positive="first:1",
        more_negative="first:2",
    )
    nodes = {**PLAIN, "text 1": text, "first": first, "second": second}
    nodes.pop("folded")
    chain = sampled(nodes, "second:0")
    links = chain["sampler"]["links"]
    links |= {"positive": ["second", 1], "negative": ["second", 2]}
    editor = Editor(page, chain)
    before = page.prompt()
    unfold(page, editor.ids["first"], editor.ids["second"])
    made = {one["type"] for one in editor.nodes()}
    assert {"IPABindToConditioning", "ConditioningSetMask", "ConditioningCombine"} <= made
    assert "IPARegional" not in made
    same_pixels(server, editor.ids["save"], before, page.prompt())


def test_the_menu_offers_it_and_the_node_shows_what_is_connected(page: ComfyPage) -> None:
    editor = Editor(page, SIMPLE)
    assert LABEL in page.page.evaluate(MENU, editor.ids["folded"])
    assert LABEL not in page.page.evaluate(MENU, editor.ids["photo"])
    strip = page.shown("[data-ipadapter=thumbnails]")
    expect(strip.locator("img")).to_have_count(1)
    loaded = "(image) => image.decode().then(() => image.naturalWidth)"
    assert strip.locator("img").evaluate(loaded) > 1
    assert strip.inner_text() == "Mask"  # as SolidMask makes it, which nobody has seen yet
