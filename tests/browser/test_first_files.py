"""Whoever has no models yet is told which to get, on the node and at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from comfy_page import ComfyPage
from kit.server import live
from kit.server.live import Client
from playwright.sync_api import Browser, expect

ABOUT = '[data-ipadapter="about"]'
SD1 = "ip-adapter_sd15.safetensors"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("bare")
    with live.running(base, base / "models") as client:
        yield client


@pytest.fixture(params=[False, True], ids=["canvas", "vue"])
def beginner(request: pytest.FixtureRequest, bare: Client, browser: Browser) -> Iterator[ComfyPage]:
    tab = ComfyPage(bare, browser, vue=request.param)
    yield tab
    assert tab.complaints == []
    tab.page.context.close()


def test_nodes_without_files_say_which_to_get(beginner: ComfyPage) -> None:
    page = beginner.page
    for number, kind in enumerate(
        ("IPALoadAdapter", "IPALoadFaceModels", "IPALoadForModel", "IPADoctor")
    ):
        node = beginner.add(kind)
        page.evaluate(
            "([id, x]) => { window.app.canvas.graph.getNodeById(id).pos = [x, 60]; }",
            [node, number * 300 - 180],
        )
        note = beginner.shown(ABOUT).nth(number)
        expect(note).to_contain_text("To begin with, get these files and press R:")
        link = "model_zoo" if kind == "IPALoadFaceModels" else SD1
        expect(note.get_by_role("link", name=link).first).to_have_attribute("target", "_blank")
        shown, needed = note.evaluate("note => [note.clientHeight, note.scrollHeight]")
        assert shown + 1 >= needed
    beginner.settle()
    assert "undefined" not in page.locator("body").inner_text()
    rest = note.get_by_text("Image encoders in")
    expect(rest).to_be_hidden()
    note.get_by_text("The whole report").click()
    expect(rest).to_be_visible()
