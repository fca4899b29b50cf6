"""The block-weight editor with the blocks of Flux and SD3.5, and how it finds out which to draw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_page import ComfyPage
from kit.models import transformer_adapters
from kit.models.transformer_sizes import Sizes
from kit.server.live import Client
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from playwright.sync_api import Locator, expect
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from test_block_weights import EDITOR, Editor

FAMILY = "Model family shown"
FLUX = Sizes("flux", 1, 19, 38)
SD3 = Sizes("sd3", 2, 38, 0)


def drawn(comfy: ComfyPage, family: str, preset: str = "linear", weights: str = "") -> Editor:
    node = comfy.add("IPABlockWeights", preset=preset, weights=weights)
    editor = Editor(comfy, node)
    editor.draw(family)
    return editor


def boxes(bars: Locator) -> list[dict[str, float]]:
    read = """bars => bars.map((bar) => {
      const { x, y, width, height } = bar.getBoundingClientRect();
      return { x, y, width, height };
    })"""
    return bars.evaluate_all(read)


@pytest.mark.parametrize(
    ("family", "lines"),
    [("Flux", [19, 38]), ("Flux, XLabs", [19]), ("SD3.5 Large", [38])],
)
def test_all_blocks_can_be_seen_and_taken_hold_of(
    comfy: ComfyPage, family: str, lines: list[int]
) -> None:
    editor = drawn(comfy, family)
    comfy.page.wait_for_timeout(200)
    bars = boxes(editor.root.get_by_role("slider"))
    heights = [bar["y"] for bar in bars]
    found = [heights.count(height) for height in sorted(set(heights))]
    assert found == lines
    assert min(bar["width"] for bar in bars) >= 7
    assert min(bar["height"] for bar in bars) >= 80
    frame = editor.root.bounding_box()
    assert frame is not None
    assert all(frame["x"] <= bar["x"] for bar in bars)
    assert all(bar["x"] + bar["width"] <= frame["x"] + frame["width"] for bar in bars)
    number = editor.root.get_by_label("Weight of the chosen bar")
    below = number.bounding_box()
    assert below is not None
    assert below["y"] >= max(bar["y"] + bar["height"] for bar in bars)
    assert below["y"] + below["height"] <= frame["y"] + frame["height"]


def test_blocks_stand_in_fives_with_their_numbers(comfy: ComfyPage) -> None:
    editor = drawn(comfy, "Flux")
    texts = editor.root.locator(".ipa-crowd").all_inner_texts()
    words = [text.split() for text in texts]
    assert words[0] == ["double", "0–18,", "64²", "0", "5", "10", "15"]
    assert words[1] == ["single", "19–56,", "64²", *map(str, range(20, 56, 5))]
    assert editor.bar(26).get_attribute("aria-label") == "26 single 7 64×64"


def test_a_drag_writes_ranges_of_blocks(comfy: ComfyPage) -> None:
    editor = drawn(comfy, "Flux")
    editor.drag(30, to=0.5)
    assert (editor.preset(), editor.text()) == ("custom", "0-29:1, 30:0.5, 31-56:1")
    editor.comfy.set(editor.node, "weights", "0-18:0, 19-30:0.25, 56:2")
    assert editor.values() == [0] * 19 + [0.25] * 12 + [0] * 25 + [2]


def test_presets_of_unets_say_what_to_do_instead(comfy: ComfyPage) -> None:
    editor = drawn(comfy, "SD3.5 Large", "style transfer")
    assert "Choose a curve like linear or ease in, which fits every model" in editor.note()
    comfy.set(editor.node, "preset", "weak double")
    assert "for models that have the blocks double, single" in editor.note()
    editor.draw("Flux")
    assert editor.values() == [0.2] * 19 + [1] * 38


@pytest.fixture
def adapters(editor_server: Client) -> Iterator[Path]:
    folder = editor_server.base / "models" / "ipadapter"
    save_file(transformer_adapters.xlabs(FLUX), folder / "xlabs.safetensors")
    save_file(transformer_adapters.sd3(SD3), folder / "sd35.safetensors")
    write_tiny_adapter(folder / "sd15.safetensors")
    yield folder
    for name in ("xlabs", "sd35", "sd15"):
        (folder / f"{name}.safetensors").unlink()


def test_the_family_is_that_of_the_adapter_the_weights_go_to(
    comfy: ComfyPage, adapters: Path
) -> None:
    blocks = comfy.add("IPABlockWeights")
    family = comfy.shown(EDITOR).get_by_label(FAMILY)
    expect(family).to_have_value("SD1.5")
    loader = comfy.add("IPALoadAdapter", adapter_file="xlabs.safetensors")
    apply = comfy.add("IPAApply")
    comfy.connect(loader, apply, "adapter")
    comfy.connect(blocks, apply, "block_weights")
    comfy.capture()
    expect(family).to_have_value("Flux, XLabs")
    comfy.set(loader, "adapter_file", "sd35.safetensors")
    comfy.capture()
    expect(family).to_have_value("SD3.5 Large")
    # What a user chooses stays, also in a saved workflow, until something else is connected.
    family.select_option("SDXL")
    comfy.load(comfy.saved())
    family = comfy.shown(EDITOR).get_by_label(FAMILY)
    comfy.page.wait_for_timeout(500)
    expect(family).to_have_value("SDXL")
    family.select_option("SD3.5 Large")
    comfy.set(loader, "adapter_file", "xlabs.safetensors")
    comfy.capture()
    expect(family).to_have_value("Flux, XLabs")
