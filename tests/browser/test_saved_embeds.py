"""Saving and loading embeds as a user does it, on the host's real front end, drawn in both ways."""

from __future__ import annotations

from typing import Any

from comfy_page import ComfyPage

OPTIONS = """(id) => {
  const node = window.app.canvas.graph.getNodeById(id);
  const { values } = node.widgets.find((each) => each.name === "embeds_file").options;
  return typeof values === "function" ? values() : values;
}"""
LISTED = f"([id, name]) => ({OPTIONS})(id).includes(name)"


def saving(comfy: ComfyPage, **widgets: Any) -> str:
    """A photo that is encoded and saved; the node that saves."""
    photo = comfy.add("LoadImage", image="reference.jpg")
    encoder = comfy.add("IPADemoCLIPVision")
    encode, save = comfy.add("IPAEncodeImage"), comfy.add("IPASaveEmbeds", **widgets)
    comfy.connect(photo, encode, "image")
    comfy.connect(encoder, encode, "clip_vision")
    comfy.connect(encode, save, "embeds")
    return save


def test_what_was_saved_is_in_the_list_at_once(comfy: ComfyPage) -> None:
    name = f"from {'vue' if comfy.vue else 'canvas'}"
    load = comfy.add("IPALoadEmbeds")
    assert f"{name}.safetensors" not in comfy.page.evaluate(OPTIONS, load)
    saving(comfy, name=name)
    comfy.run()
    comfy.page.wait_for_function(LISTED, arg=[load, f"{name}.safetensors"])
    text = comfy.shown('[data-ipadapter="about"]').filter(has_text="works with")
    assert text.filter(has_text=f"{name}.safetensors").count() == 1
