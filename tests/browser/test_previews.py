"""Pictures and texts that nodes show, on the host's real front end, drawn in both ways."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_api.latest import io
from comfy_page import ComfyPage
from playwright.sync_api import Locator, expect

ABOUT = '[data-ipadapter="about"]'
LOADED = """([id, count]) => {
  const node = window.app.canvas.graph.getNodeById(id);
  const drawn = document.querySelectorAll(`[data-node-id="${id}"] img[src*="/view?"]`);
  const images = window.LiteGraph.vueNodesMode ? [...drawn] : (node.imgs ?? []);
  return images.length >= count && images.every((each) => each.complete && each.naturalWidth > 0);
}"""
RESENDS = "has_intermediate_output" in io.Schema.__dataclass_fields__


def await_pictures(comfy: ComfyPage, node: str, count: int = 1) -> None:
    comfy.page.wait_for_function(LOADED, arg=[node, count])
    comfy.settle()
    comfy.settle()


def about(comfy: ComfyPage, words: str) -> Locator:
    text = comfy.shown(ABOUT).filter(has_text=words)
    expect(text).to_have_count(1, timeout=30_000)
    return text


def require_whole(text: Locator) -> None:
    """Nothing of a text needs scrolling."""
    shown, needed = text.evaluate("text => [text.clientHeight, text.scrollHeight]")
    assert shown + 1 >= needed > 0


def encoding(comfy: ComfyPage, **widgets: Any) -> tuple[str, str]:
    """A photo that is prepared and encoded; the nodes that do it."""
    photo = comfy.add("LoadImage", image="reference.jpg")
    encoder = comfy.add("IPADemoCLIPVision")
    prepare = comfy.add("IPAPrepareImage", size=336)
    encode = comfy.add("IPAEncodeImage", **widgets)
    name = f"preview {'vue' if comfy.vue else 'canvas'}"
    save = comfy.add("IPASaveEmbeds", name=name, if_exists="replace")
    for source, target, slot in (
        (photo, prepare, "image"),
        (encoder, prepare, "clip_vision"),
        (prepare, encode, "image"),
        (encoder, encode, "clip_vision"),
        (encode, save, "embeds"),
    ):
        comfy.connect(source, target, slot)
    return prepare, encode


def test_a_mask_is_shown_on_the_layer_grids(comfy: ComfyPage) -> None:
    mask = comfy.add("SolidMask", value=0.7, width=40, height=30)
    preview = comfy.add("IPAPreviewMask", width=520, height=392)
    comfy.connect(mask, preview, "mask")
    comfy.run()
    await_pictures(comfy, preview)
    text = about(comfy, "65 x 49, 5 layers: 70 % open")
    expect(text).to_contain_text("9 x 7, 1 layer: 70 % open", timeout=30_000)
    require_whole(text)


def test_text_keeps_its_room_when_pictures_arrive(comfy: ComfyPage) -> None:
    prepare, _ = encoding(comfy)
    comfy.run()
    await_pictures(comfy, prepare)
    text = about(comfy, "1 picture of 451 x")
    assert len(text.inner_text().splitlines()) > 1
    require_whole(text)


def test_what_the_encoder_sees_is_shown_on_request(comfy: ComfyPage) -> None:
    _, encode = encoding(comfy, tiles=2, preview=True)
    comfy.run()
    await_pictures(comfy, encode)
    require_whole(about(comfy, "the encoder sees 1 whole, 4 tiles, in this order"))
    if not comfy.vue:
        count = "(id) => window.app.canvas.graph.getNodeById(id).imgs.length"
        assert comfy.page.evaluate(count, encode) == 5
    comfy.set(encode, "preview", False)
    comfy.run()
    text = comfy.shown(ABOUT).filter(has_text="2 x 2 tiles")
    expect(text).not_to_contain_text("the encoder sees")


def test_text_comes_back_with_its_picture_through_undo_and_redo(comfy: ComfyPage) -> None:
    prepare, _ = encoding(comfy)
    comfy.run()
    await_pictures(comfy, prepare)
    told = about(comfy, "1 picture of 451 x").inner_text()
    expect(comfy.shown(ABOUT)).to_have_count(3, timeout=30_000)
    comfy.add("IPABlockWeights")
    for keys, weights in (("Control+z", 0), ("Control+y", 1), ("Control+z", 0)):
        comfy.press(keys)
        expect(comfy.shown('[data-ipadapter="block-weights"]')).to_have_count(weights)
        await_pictures(comfy, prepare)
        text = about(comfy, "1 picture of 451 x")
        assert text.inner_text() == told
        require_whole(text)
        expect(comfy.shown(ABOUT)).to_have_count(3)


def test_text_stays_in_its_workflow(comfy: ComfyPage) -> None:
    prepare, _ = encoding(comfy)
    comfy.run()
    await_pictures(comfy, prepare)
    told = about(comfy, "1 picture of 451 x").inner_text()
    expect(comfy.shown(ABOUT)).to_have_count(3, timeout=30_000)
    assert comfy.look_elsewhere() == 0
    await_pictures(comfy, prepare)
    text = about(comfy, "1 picture of 451 x")
    assert text.inner_text() == told
    require_whole(text)
    expect(comfy.shown(ABOUT)).to_have_count(3)


def test_text_inside_a_subgraph_comes_back(comfy: ComfyPage) -> None:
    mask = comfy.add("SolidMask", value=0.7, width=40, height=30)
    preview = comfy.add("IPAPreviewMask", width=520, height=392)
    comfy.connect(mask, preview, "mask")
    convert = """async (ids) => {
      const { canvas } = window.app;
      const nodes = ids.map((id) => canvas.graph.getNodeById(id));
      const { subgraph } = canvas.graph.convertToSubgraph(new Set(nodes));
      canvas.setGraph(subgraph);
    }"""
    comfy.page.evaluate(convert, [mask, preview])
    comfy.capture()
    comfy.settle()
    comfy.page.wait_for_timeout(80)
    comfy.run()
    told = about(comfy, "65 x 49, 5 layers").inner_text()
    comfy.add("IPABlockWeights")
    comfy.press("Control+z")
    expect(comfy.shown('[data-ipadapter="block-weights"]')).to_have_count(0)
    assert about(comfy, "65 x 49, 5 layers").inner_text() == told


@pytest.mark.skipif(not RESENDS, reason="hosts before 0.19 do not send again what nodes show")
def test_text_and_pictures_are_back_after_the_page_was_loaded_anew(comfy: ComfyPage) -> None:
    prepare, encode = encoding(comfy)
    comfy.run()
    about(comfy, "1 picture of 451 x")
    saved = comfy.saved()
    comfy.clear()
    comfy.load(saved)
    assert comfy.shown(ABOUT).filter(has_text="1 picture of 451 x").count() == 0
    assert {prepare, encode} <= set(comfy.run())
    await_pictures(comfy, prepare)
    require_whole(about(comfy, "1 picture of 451 x"))
    # Encode Image, and Save Embeds, which is sent again by every host.
    expect(comfy.shown(ABOUT).filter(has_text="1 reference")).to_have_count(2, timeout=30_000)
