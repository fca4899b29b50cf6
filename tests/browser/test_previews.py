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
    text = comfy.shown(ABOUT).filter(has_text="penultimate").filter(has_text="2 x 2 tiles")
    expect(text).not_to_contain_text("the encoder sees")


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
