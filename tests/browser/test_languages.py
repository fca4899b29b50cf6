"""Another language in the page: choices, what nodes say, errors, editors and examples."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest
from comfy_page import RUN, ComfyPage
from kit.pages.example_graphs import STEMS
from kit.pages.help_pages import ROOT
from playwright.sync_api import expect

SPEAK = "(language) => window.app.extensionManager.setting.set('Comfy.Locale', language)"
SPEAKS = """(language) => {
  const { $i18n } = document.querySelector("#vue-app").__vue_app__.config.globalProperties;
  return $i18n.locale === language;
}"""
RELOAD = "() => window.app.reloadNodeDefs()"
# What a combo box shows: on the canvas it is drawn, and only the host knows it.
SHOWN = """([id, name]) => {
  const node = window.app.canvas.graph.getNodeById(id);
  const at = document.querySelector(`[data-node-id="${id}"]`);
  const widget = node.widgets.find((one) => one.name === name);
  if (!window.LiteGraph.vueNodesMode) return widget._displayValue;
  return [...at.querySelectorAll("[role=combobox]")].map((one) => one.textContent.trim());
}"""
HAN = re.compile("[\u4e00-\u9fff]")
ENGLISH = re.compile(r"(?:\b[A-Za-z][a-z'-]*[ .;:]+){4}[A-Za-z]")


@pytest.fixture
def chinese(comfy: ComfyPage) -> Iterator[ComfyPage]:
    speak(comfy, "zh")
    yield comfy
    speak(comfy, "en")
    # The host looks for models that an example names.
    comfy.complaints[:] = [one for one in comfy.complaints if "huggingface.co" not in one]


def speak(comfy: ComfyPage, language: str) -> None:
    comfy.page.evaluate(SPEAK, language)
    comfy.page.wait_for_function(SPEAKS, arg=language)
    comfy.page.evaluate(RELOAD)  # the host may have done so before it had its words
    comfy.clear()


def shown(comfy: ComfyPage, node: str, name: str) -> str:
    comfy.settle()
    return (
        "\n".join(comfy.page.evaluate(SHOWN, [node, name]))
        if comfy.vue
        else str(comfy.page.evaluate(SHOWN, [node, name]))
    )


def test_choices_notes_errors_and_editors_speak_chinese(chinese: ComfyPage) -> None:
    comfy = chinese
    photo, encoder = comfy.add("LoadImage", image="reference.jpg"), comfy.add("IPADemoCLIPVision")
    encode = comfy.add("IPAEncodeImage", fit="pad")
    end = comfy.add("IPASaveEmbeds", name="..", if_exists="replace")
    for source, target, slot in (
        (photo, encode, "image"),
        (encoder, encode, "clip_vision"),
        (encode, end, "embeds"),
    ):
        comfy.connect(source, target, slot)
    # The box shows the word, and what is sent and saved is the value.
    assert "加边" in shown(comfy, encode, "fit")
    assert comfy.prompt()[encode]["inputs"]["fit"] == "pad"
    assert "替换" in shown(comfy, end, "if_exists")
    loader = comfy.add("IPALoadAdapter", adapter_file="tiny.safetensors")
    about = comfy.shown('[data-ipadapter="about"]').first
    expect(about).to_contain_text("需要")
    assert not ENGLISH.search(about.inner_text())
    comfy.add("IPABlockWeights")
    weights = comfy.shown('[data-ipadapter="block-weights"]')
    expect(weights.get_by_role("button", name="复制")).to_have_count(1)
    expect(weights.get_by_role("button", name="粘贴")).to_have_count(1)
    picture(comfy, "nodes")
    # The host's own message too, which it is given by the same event.
    said = comfy.page.evaluate(RUN)
    assert HAN.search(said) and not ENGLISH.search(said), said
    failure = comfy.shown('[data-ipadapter="failure"]').first
    expect(failure).to_contain_text("名称不能")
    assert comfy.widgets(loader)["adapter_file"] == "tiny.safetensors"


def test_an_example_opens_in_the_language(chinese: ComfyPage) -> None:
    comfy = chinese
    example = json.loads(
        (ROOT / "example_workflows" / f"{STEMS['first_picture']}.json").read_text("utf-8")
    )
    comfy.load(example)
    opened = comfy.saved()
    picture(comfy, "example")
    titles = [group["title"] for group in opened["groups"]]
    assert len(titles) > 2 and all(HAN.search(title) or "IP-Adapter" in title for title in titles)
    (note,) = [node for node in opened["nodes"] if node["type"] == "MarkdownNote"]
    lines = [line for line in note["widgets_values"][0].split("\n") if line and "](" not in line]
    assert lines and all(HAN.search(line) for line in lines), lines
    # Nothing else of it is another: what would be sent is the same.
    values = {node["id"]: node.get("widgets_values") for node in example["nodes"]}
    kept = [one for one in opened["nodes"] if one["type"] == "IPASimple"]
    assert kept and all(node["widgets_values"] == values[node["id"]] for node in kept)


def picture(comfy: ComfyPage, name: str) -> None:
    """For whoever wants to look: IPADAPTER_LOOK is a folder."""
    if folder := os.environ.get("IPADAPTER_LOOK"):
        comfy.page.wait_for_timeout(600)
        kind = "vue" if comfy.vue else "canvas"
        comfy.page.screenshot(path=f"{folder}/{name}_{kind}.png")
