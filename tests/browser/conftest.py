"""One server and one browser for all browser tests, a tab for each way of drawing nodes.

They go with the last of these tests: an open page works on though nobody looks.

The front end is the installed one, or the one in the folder named by COMFYUI_FRONT_END.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from comfy_page import ComfyPage, launch
from kit.server import live
from kit.server.live import Client
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="package")
def editor_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("editor")
    (base / "models" / "ipadapter").mkdir(parents=True)
    write_tiny_adapter(base / "models" / "ipadapter" / "tiny.safetensors")
    front_end = os.environ.get("COMFYUI_FRONT_END")
    options = ("--front-end-root", front_end) if front_end else ()
    with live.running(base, base / "models", *options) as client:
        yield client


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="package", params=[False, True], ids=["canvas", "vue"])
def tab(
    request: pytest.FixtureRequest, editor_server: Client, browser: Browser
) -> Iterator[ComfyPage]:
    tab = ComfyPage(editor_server, browser, vue=request.param)
    yield tab
    tab.page.context.close()


@pytest.fixture
def comfy(tab: ComfyPage, request: pytest.FixtureRequest) -> Iterator[ComfyPage]:
    """An empty graph; afterwards nothing may have been complained about."""
    tab.used_by(request.path)
    tab.clear()
    tab.complaints.clear()
    yield tab
    assert tab.complaints == []
