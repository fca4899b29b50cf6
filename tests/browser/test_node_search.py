"""Who comes from ComfyUI_IPAdapter_plus finds our nodes by the names known from there.

`incumbent_nodes.json` says for each node of that pack what it is called, which of ours do its work
(the most important one first) and how.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_page import ComfyPage
from conftest import ROOT
from kit.server.live import Client
from pack.nodes.flux_packs import register as flux_packs
from pack.nodes.plus import register

OLD = json.loads((Path(__file__).parent / "incumbent_nodes.json").read_text("utf-8"))
GENERAL = ("IPAdapter", "ipadapter", "IPADAPTER", "ip adapter", "IP Adapter", "ip-adapter")
# Whoever types these is to see the node to begin with first.
TO_BEGIN = (*GENERAL, "reference", "style", "face", "character", "likeness", "image prompt")
# Seen without scrolling; and what a user looks at.
SHOWN, FIRST = 8, 5
BLUEPRINTS = {path.stem for path in (ROOT / "subgraphs").glob("*.json")}
SETTING = "IPAdapter.OldNodesInSearch"
TOGGLE = "() => window.app.extensionManager.command.execute('Workspace.SearchBox.Toggle')"
CHOOSE = "(which) => window.app.extensionManager.setting.set('Comfy.NodeSearchBoxImpl', which)"


class Search:
    """The dialog in which a user looks for a node."""

    def __init__(self, comfy: ComfyPage, ids: dict[str, str], new: bool) -> None:
        self.comfy, self.ids, self.new = comfy, ids, new
        self.rows = "[data-testid=result-item]" if new else ".option-container"

    def typed(self, text: str) -> list[str]:
        """Ids of the nodes shown for it, from the top; what is not ours by its shown name."""
        self.comfy.page.get_by_role("dialog").locator("input[type=text]").first.fill(text)
        if not self.new:  # it waits 100 ms for more to be typed
            self.comfy.page.wait_for_timeout(120)
        self.comfy.settle()
        read = "rows => rows.map(row => row.innerText.trim().split('\\n')[0].trim())"
        names = self.comfy.page.locator(self.rows).evaluate_all(read)
        return [self.ids.get(name, name) for name in names]


@pytest.fixture
def search(comfy: ComfyPage, editor_server: Client) -> Iterator[Search]:
    """The new dialog where Vue draws the nodes, the old one where the canvas does."""
    known = editor_server.get("/object_info")
    ids = {
        info["display_name"]: name
        for name, info in known.items()
        if info["python_module"] == "custom_nodes.ip-adapter-pack"
        and name.removesuffix("V2") not in {**register.NODES, **flux_packs.NODES}
    }
    comfy.page.evaluate(CHOOSE, "default" if comfy.vue else "v1 (legacy)")
    comfy.page.evaluate(TOGGLE)
    comfy.page.get_by_role("dialog").locator("input[type=text]").first.wait_for()
    yield Search(comfy, ids, new=comfy.vue)
    comfy.page.keyboard.press("Escape")
    comfy.settle()
    comfy.page.evaluate(CHOOSE, "default")
    if not comfy.vue:  # the old dialog writes into its field after it has been taken away
        own = "TypeError: Cannot set properties of null (setting 'value')"
        comfy.complaints[:] = [one for one in comfy.complaints if own not in one]


def test_the_table_names_every_node_of_the_other_pack_and_only_nodes_of_ours(
    editor_server: Client,
) -> None:
    assert len(OLD) == 37
    known = editor_server.get("/object_info")
    for name, entry in OLD.items():
        assert entry["ours"] and set(entry["ours"]) <= set(known), name
        assert entry["how"].endswith("."), name


def test_names_of_the_other_pack_find_ours(search: Search) -> None:
    lost = []
    for name, entry in OLD.items():
        shown = entry["display_name"]
        for text in (name.lower(), shown, shown.upper().replace("IPA", "IP A")):
            found = search.typed(text)[:SHOWN]
            if entry["ours"][0] not in found[:FIRST] or not set(entry["ours"]) <= set(found):
                lost.append((text, entry["ours"], found))
    assert lost == []


def test_the_name_of_the_method_finds_all_nodes_the_main_ones_first(search: Search) -> None:
    for text in GENERAL:
        # Blueprints are found too, wherever the host puts them.
        found = [one for one in search.typed(text) if one not in BLUEPRINTS]
        assert set(search.ids.values()) <= set(found[: len(search.ids)]), text
        assert "IPAApply" in found[:SHOWN], (text, found)


def test_the_node_to_begin_with_comes_first(search: Search) -> None:
    for text in TO_BEGIN:
        assert search.typed(text)[0] == "IPASimple", text
    # A search for something else is the host's own.
    assert search.typed("Apply Style Model")[0] == "Apply Style Model"


def test_old_nodes_stay_out_of_the_search_until_they_are_wanted(search: Search) -> None:
    setting = (
        "(shown) => window.app.extensionManager.setting.set(" + json.dumps(SETTING) + ", shown)"
    )
    title = register.TITLES["IPAdapterPreciseStyleTransfer"]
    hidden = search.typed(title)
    assert title not in hidden and "IPABlockWeights" in hidden
    search.comfy.page.evaluate(setting, True)
    assert title in search.typed(title.lower())
    search.comfy.page.evaluate(setting, False)
    assert title not in search.typed(title)
