"""No node loses or moves an input, option or output that a released or coming version has."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit.pages.help_pages import schemas
from kit.release.append_only import LAW, broken, kept

VERSIONS = sorted((Path(__file__).parents[1] / "saved_workflows").glob("*/nodes.json"))


def now() -> dict[str, Any]:
    return json.loads(json.dumps({node: kept(info) for node, info in schemas().items()}))


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.parent.name)
def test_workflows_of_each_version_still_fit(path: Path) -> None:
    assert broken(json.loads(path.read_text("utf-8")), now()) == []


def test_every_node_is_kept() -> None:
    assert VERSIONS, "run python -m kit.release.keep_version"
    newest = json.loads(VERSIONS[-1].read_text("utf-8"))
    assert newest == now(), "nodes have been added to: run python -m kit.release.keep_version"


def insert(node: dict[str, Any]) -> None:
    node["inputs"].insert(4, {"name": "new", "type": "FLOAT", "required": False})


def append_required(node: dict[str, Any]) -> None:
    node["inputs"].append({"name": "new", "type": "FLOAT", "required": True})


def swap_outputs(node: dict[str, Any]) -> None:
    node["outputs"].reverse()


def drop_output(node: dict[str, Any]) -> None:
    node["outputs"].pop()


def rename(node: dict[str, Any]) -> None:
    node["inputs"][4]["name"] = "fitting"


def drop_option(node: dict[str, Any]) -> None:
    node["inputs"][4]["options"].pop(1)


def other_default(node: dict[str, Any]) -> None:
    node["inputs"][4]["default"] = "squash"


def narrow(node: dict[str, Any]) -> None:
    node["inputs"][7]["max"] = 0.5


def other_type(node: dict[str, Any]) -> None:
    node["inputs"][7]["type"] = "INT"


def require(node: dict[str, Any]) -> None:
    node["inputs"][2]["required"] = True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (insert, "the input fit was at place 4 and is at 5"),
        (append_required, "the new input new is required"),
        (swap_outputs, "output 0 was image (IMAGE) and is mask (MASK)"),
        (drop_output, "output 1 was mask (MASK) and is none"),
        (rename, "the input fit is gone"),
        (drop_option, "the input fit no longer offers crop top"),
        (other_default, "the input fit had the default crop centre and has squash"),
        (narrow, "the input sharpening went up to 1.0 and now stops at 0.5"),
        (other_type, "the input sharpening had the type FLOAT and has INT"),
        (require, "the input mask was optional and is required"),
    ],
)
def test_the_law_sees(change: Callable[[dict[str, Any]], None], words: str) -> None:
    before = now()
    after = copy.deepcopy(before)
    change(after["IPAPrepareImage"])
    found = broken(before, after)
    assert any(words in one for one in found), found
    assert all(one.startswith("IPAPrepareImage: ") and one.endswith(LAW) for one in found)


def test_the_law_lets_a_node_grow() -> None:
    before = now()
    after = copy.deepcopy(before)
    node = after["IPAPrepareImage"]
    node["inputs"].append({"name": "new", "type": "FLOAT", "required": False})
    node["inputs"][4]["options"].append("new")
    node["inputs"][7]["max"] = 2.0
    node["outputs"].append({"name": "new", "type": "IMAGE"})
    after["IPANew"] = node
    assert broken(before, after) == []
    del after["IPARegions"]
    assert broken(before, after) == [f"the node IPARegions is gone. {LAW}"]
    del before["IPARegions"]
    before["IPAMergeEmbeds"]["inputs"][0]["template"]["prefix"] = "embed"
    assert "grew by" in broken(before, after)[0]
