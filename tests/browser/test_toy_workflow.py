"""The workflow that the demo opens: found by its address, sent as it is, run from the editor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_page import ComfyPage
from kit.server.live import Client
from pack.demo.prompts import to_prompt
from toys import NODES, WORKFLOW, put_files

TYPES = "() => (window.app?.graph?._nodes ?? []).map((node) => node.type)"
COMPLAINT = "View details"


@pytest.fixture
def toys(comfy: ComfyPage, editor_server: Client) -> Iterator[ComfyPage]:
    if comfy.vue:
        pytest.skip("one way of drawing is enough for this one")
    base = editor_server.base
    before = set(files(base))
    put_files(base / "models", base / "input")
    comfy.page.evaluate("() => window.app.reloadNodeDefs()")
    yield comfy
    for path in set(files(base)) - before:
        path.unlink()


def files(base: Path) -> list[Path]:
    folders = (base / "models" / "ipadapter", base / "input")
    return [path for folder in folders for path in folder.iterdir()]


def test_the_workflow_runs_from_the_editor(toys: ComfyPage, editor_server: Client) -> None:
    saved = json.loads(WORKFLOW.read_text("utf-8"))
    toys.load(saved)
    assert toys.page.get_by_text(COMPLAINT).count() == 0
    known = editor_server.get("/object_info")
    expected = to_prompt(saved, known)
    assert toys.prompt().keys() == expected.keys()
    for node, sent in toys.prompt().items():
        assert sent["inputs"] == expected[node]["inputs"]
    toys.run()


def test_its_address_opens_it(toys: ComfyPage, editor_server: Client) -> None:
    page = toys.page.context.new_page()
    address = f"{editor_server.address}/?template={WORKFLOW.stem}&source={NODES.name}"
    page.goto(address, wait_until="domcontentloaded", timeout=120_000)
    expected = {node["type"] for node in json.loads(WORKFLOW.read_text("utf-8"))["nodes"]}
    page.wait_for_function(
        f"(wanted) => wanted.every((t) => ({TYPES})().includes(t))",
        arg=sorted(expected),
        timeout=180_000,
    )
    page.close()
