"""Old nodes are what clients and packs expect: inputs, outputs, names, methods, defaults."""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from unittest.mock import patch

import folder_paths
import pytest
from kit.plus_original import original_nodes, version_1
from pack.nodes.host.files import folders
from pack.nodes.plus.register import NODES, TITLES
from plus.contract import RECORDED, VERSION_1, Facts, facts, takes_more

KNOWN: Facts = json.loads(RECORDED.read_text("utf-8"))
# A newer host may tell more than the one that was asked; these it always tells.
TOLD = {
    "input",
    "input_order",
    "is_input_list",
    "output",
    "output_is_list",
    "output_name",
    "display_name",
    "description",
    "category",
    "output_node",
}


@cache
def ours() -> Facts:
    with patch.dict(folder_paths.folder_names_and_paths):
        folders.register()
        return facts(NODES, TITLES)


def test_no_name_is_missing_and_none_is_made_up() -> None:
    assert set(KNOWN) == set(NODES) == set(TITLES) and len(NODES) == 37 + 8


@pytest.mark.parametrize("name", KNOWN)
def test_the_server_says_the_same_of_it(name: str) -> None:
    known, found = KNOWN[name]["info"], ours()[name]["info"]
    both = set(known) & set(found)
    assert both >= TOLD
    assert {key: found[key] for key in both} == {key: known[key] for key in both}
    for group, inputs in known["input"].items():
        assert list(found["input"][group]) == list(inputs), "the order of widgets"


@pytest.mark.parametrize("name", KNOWN)
def test_its_method_takes_the_same_arguments_in_the_same_order(name: str) -> None:
    found = ours()[name]["method"]
    assert len(found) == len(KNOWN[name]["method"])
    for expected, given in zip(KNOWN[name]["method"], found, strict=True):
        # One that had none may have a default: files saved before it came do not name it.
        assert given[: len(expected)] == expected
    assert takes_more(NODES[name])


def test_types_of_weights_can_be_read_as_other_packs_do() -> None:
    choices: Any = NODES["IPAdapterAdvanced"]().INPUT_TYPES()["required"]["weight_type"][0]
    assert isinstance(choices, list) and len(choices) == 15
    assert choices is NODES["IPAdapterMS"].INPUT_TYPES()["required"]["weight_type"][0]


def test_what_is_recorded_is_what_the_originals_are() -> None:
    original_nodes(), version_1()
    from plus.record_contract import originals

    assert originals() == KNOWN and set(VERSION_1.values()) < set(KNOWN)
