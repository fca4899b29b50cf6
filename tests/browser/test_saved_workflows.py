"""Workflows saved with each version of the pack load as they were: values, links, names of slots.

The files are made by `python -m kit.release.keep_version`, run in tests/, and never changed after
their version is out.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfy_page import ComfyPage
from kit.release.append_only import LAW
from kit.release.keep_version import KEPT, write_files
from kit.server.live import Client

Saved = dict[str, Any]
VERSIONS = sorted(path.name for path in KEPT.iterdir())
NAMES = ("every_node", "subgraph")


def files() -> pytest.MarkDecorator:
    every = [(version, name) for version in VERSIONS for name in NAMES]
    return pytest.mark.parametrize(("version", "name"), every)


def read(version: str, name: str) -> Any:
    return json.loads((KEPT / version / f"{name}.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def with_files(editor_server: Client) -> Client:
    write_files(editor_server.base / "models")
    return editor_server


def graphs(workflow: Saved) -> dict[str, Saved]:
    """The workflow and its subgraphs, by name."""
    inner = workflow.get("definitions", {}).get("subgraphs", [])
    return {"": workflow} | {one["id"]: one for one in inner}


def lost(old: Saved, new: Saved) -> list[str]:
    """What the editor no longer has of a saved workflow; there may be more than there was."""
    found: list[str] = []
    now = graphs(new)
    for name, graph in graphs(old).items():
        nodes = {str(node["id"]): node for node in now[name]["nodes"]}
        for node in graph["nodes"]:
            found += node_lost(node, nodes[str(node["id"])])
        if links(graph) != links(now[name]):
            found.append(f"links: {sorted(links(graph) ^ links(now[name]))}")
        for side in ("inputs", "outputs"):
            then = [(slot["name"], slot["type"]) for slot in graph.get(side, [])]
            if then != [(slot["name"], slot["type"]) for slot in now[name].get(side, [])]:
                found.append(f"{side} of the subgraph {name}")
    return [f"{fault}. {LAW}" for fault in found]


def node_lost(old: Saved, new: Saved) -> list[str]:
    found: list[str] = []
    values, values_now = old.get("widgets_values") or [], new.get("widgets_values") or []
    if values != values_now[: len(values)]:
        found.append(f"{old['type']} had the values {values} and has {values_now}")
    for key in ("type", "mode", "title"):
        if old.get(key) != new.get(key):
            found.append(f"{old['type']} had the {key} {old.get(key)} and has {new.get(key)}")
    slots = {slot["name"]: slot for slot in new.get("inputs", [])}
    for slot in old.get("inputs", []):
        after = slots.get(slot["name"], {})
        if [after.get(key) for key in ("type", "link")] != [slot["type"], slot.get("link")]:
            found.append(f"{old['type']} had the input {slot} and has {after}")
    for place, slot in enumerate(old.get("outputs") or []):
        after = (new.get("outputs") or [])[place : place + 1]
        kept = ("name", "type", "links")
        if [[one.get(key) for key in kept] for one in after] != [[slot.get(key) for key in kept]]:
            found.append(f"{old['type']} had the output {slot} and has {after}")
    return found


def links(graph: Saved) -> set[tuple[str, ...]]:
    """Ends of each link: node and place, from and to."""
    ends = ("origin_id", "origin_slot", "target_id", "target_slot")
    rows = [
        [link[end] for end in ends] if isinstance(link, dict) else link[1:5]
        for link in graph["links"]
    ]
    return {tuple(map(str, row)) for row in rows}


@files()
def test_it_loads_as_it_was_saved(
    comfy: ComfyPage, with_files: Client, version: str, name: str
) -> None:
    old, prompt = read(version, name), read(version, f"{name}.prompt")
    comfy.load(old)
    assert lost(old, comfy.saved()) == []
    sent = comfy.prompt()
    assert sent.keys() == prompt.keys()
    for node, then in prompt.items():
        assert sent[node]["class_type"] == then["class_type"]
        changed = {
            key: (value, sent[node]["inputs"].get(key))
            for key, value in then["inputs"].items()
            if sent[node]["inputs"].get(key) != value
        }
        assert changed == {}, f"{then['class_type']}. {LAW}"


@files()
def test_a_program_may_send_it(with_files: Client, version: str, name: str) -> None:
    prompt = read(version, f"{name}.prompt")
    # To nobody, because its models are empty files: what is asked is whether it is accepted.
    status, answer = with_files.post("/prompt", {"prompt": prompt, "client_id": "nobody"})
    # Empty files and texts that were made up are refused at once; nothing else may be.
    errors = [one for node in answer["node_errors"].values() for one in node["errors"]]
    said = [one["details"] for one in errors]
    own = ("ipadapter.BrokenFile: ", " of a test")
    assert [one for one in said if not any(words in one for words in own)] == [], LAW
    if status == 200:
        with_files.wait(answer["prompt_id"])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_node_of_the_version_is_in_it(version: str) -> None:
    nodes = {node["type"] for node in read(version, "every_node")["nodes"]}
    assert set(read(version, "nodes")) <= nodes


def test_a_workflow_that_lost_something_is_noticed() -> None:
    old = read(VERSIONS[0], "every_node")
    number = next(i for i, one in enumerate(old["nodes"]) if one["type"] == "IPAEncodeImage")

    def without(change: Any) -> list[str]:
        new = json.loads(json.dumps(old))
        change(new["nodes"][number], new)
        return lost(old, new)

    assert without(lambda node, new: None) == []
    assert without(lambda node, new: node["widgets_values"].insert(2, 0))
    assert without(lambda node, new: node["inputs"][0].update(link=None))
    assert without(lambda node, new: node["inputs"][0].update(name="encoder"))
    assert without(lambda node, new: node["outputs"].insert(0, {"name": "new"}))
    assert without(lambda node, new: node.update(mode=4))
    assert without(lambda node, new: new["links"].pop())
    assert not without(lambda node, new: node["widgets_values"].append("new"))
