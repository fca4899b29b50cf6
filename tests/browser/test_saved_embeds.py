"""Saving and loading embeds as a user does it, on the host's real front end, drawn in both ways."""

from __future__ import annotations

from typing import Any

from comfy_page import ComfyPage

CONNECT = """([from, to, name]) => {
  const [source, target] = [from, to].map((id) => window.app.canvas.graph.getNodeById(id));
  const slot = target.inputs.findIndex((each) => each.name.startsWith(name));
  source.connect(0, target, slot);
}"""
OPTIONS = """(id) => {
  const node = window.app.canvas.graph.getNodeById(id);
  const { values } = node.widgets.find((each) => each.name === "embeds_file").options;
  return typeof values === "function" ? values() : values;
}"""
LISTED = f"([id, name]) => ({OPTIONS})(id).includes(name)"
RUN = """() => new Promise((resolve) => {
  const { api } = window.comfyAPI.api;
  api.addEventListener("execution_success", () => resolve("success"), { once: true });
  api.addEventListener("execution_error", (e) => resolve(e.detail.exception_message), {once: true});
  window.app.queuePrompt(0, 1).then((sent) => sent || resolve("refused"));
})"""


def connect(comfy: ComfyPage, source: str, target: str, name: str) -> None:
    comfy.page.evaluate(CONNECT, [source, target, name])
    comfy.settle()


def saving(comfy: ComfyPage, **widgets: Any) -> str:
    """A photo that is encoded and saved; the node that saves."""
    photo = comfy.add("LoadImage", image="reference.jpg")
    encoder = comfy.add("IPADemoCLIPVision")
    encode, save = comfy.add("IPAEncodeImage"), comfy.add("IPASaveEmbeds", **widgets)
    connect(comfy, photo, encode, "image")
    connect(comfy, encoder, encode, "clip_vision")
    connect(comfy, encode, save, "embeds")
    return save


def test_what_was_saved_is_in_the_list_at_once(comfy: ComfyPage) -> None:
    name = f"from {'vue' if comfy.vue else 'canvas'}"
    load = comfy.add("IPALoadEmbeds")
    assert f"{name}.safetensors" not in comfy.page.evaluate(OPTIONS, load)
    saving(comfy, name=name)
    assert comfy.page.evaluate(RUN) == "success"
    comfy.page.wait_for_function(LISTED, arg=[load, f"{name}.safetensors"])
    text = comfy.shown('[data-ipadapter="about"]').filter(has_text="penultimate")
    assert text.filter(has_text=f"{name}.safetensors").count() == 1
