"""Prompts of early versions are refused by the host's own check, and pass it once they are read."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
from collections.abc import Iterator
from typing import Any

import execution
import pytest
from pack.nodes.host.files import folders
from pack.nodes.plus import register
from pack.nodes.plus.migrate import rules
from pack.nodes.plus.migrate.prompts import repair
from pack.nodes.plus.migrate.served import table

host: Any = importlib.import_module("nodes")  # not the pack's folder of that name
Prompt = dict[str, Any]
KINDS = ("MODEL", "IPADAPTER", "IMAGE", "CLIP_VISION", "INSIGHTFACE", "EMBEDS", "MASK")
ADAPTER = "ip-adapter_sd15.safetensors"


class Source:
    """Something of each kind."""

    RETURN_TYPES = KINDS
    FUNCTION = "give"
    CATEGORY = ""

    @classmethod
    def INPUT_TYPES(cls) -> Prompt:
        return {"required": {}}


class Sink:
    """Takes anything."""

    RETURN_TYPES = ()
    FUNCTION = "take"
    CATEGORY = ""
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> Prompt:
        return {"required": {"value": ("*",)}}


@pytest.fixture(autouse=True)
def old_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pack's old nodes in the host's table, and two to put them between."""
    entered = {**host.NODE_CLASS_MAPPINGS, "Source": Source, "Sink": Sink}
    monkeypatch.setattr(host, "NODE_CLASS_MAPPINGS", entered)
    monkeypatch.setattr(host, "NODE_DISPLAY_NAME_MAPPINGS", dict(host.NODE_DISPLAY_NAME_MAPPINGS))
    monkeypatch.setattr(folders, "files", lambda folder: [ADAPTER])
    monkeypatch.setattr(folders, "resolve", lambda folder, name: f"/models/{name}")
    register.register("pack")
    return iter([None])


def link(kind: str) -> list[Any]:
    return ["source", KINDS.index(kind)]


def linked(name: str) -> Prompt:
    """Links on all sockets that a node needs."""
    needed = host.NODE_CLASS_MAPPINGS[name].INPUT_TYPES()["required"]
    return {each: link(spec[0]) for each, spec in needed.items() if spec[0] in KINDS}


def complete(name: str) -> Prompt:
    """All inputs of a node as an editor would send them."""
    node = host.NODE_CLASS_MAPPINGS[name]
    values = {
        each["name"]: ADAPTER if each["default"] is None else each["default"]
        for each in rules.widgets(name, node)
    }
    return linked(name) | values


def around(name: str, inputs: Prompt) -> Prompt:
    node = {"class_type": name, "inputs": inputs, "_meta": {"title": "old"}}
    sink = {"class_type": "Sink", "inputs": {"value": ["old", 0]}}
    return {"source": {"class_type": "Source", "inputs": {}}, "old": node, "sink": sink}


def refused(prompt: Prompt) -> list[str]:
    """Kinds of the errors that the host finds; none if it would run it."""
    passed, error, _, found = asyncio.run(execution.validate_prompt("id", prompt, None))
    kinds = [each["type"] for node in found.values() for each in node["errors"]]
    return [] if passed else kinds or [error["type"]]


def repaired(prompt: Prompt) -> Prompt:
    sent = repair({"prompt": copy.deepcopy(prompt), "number": 1}, register.is_ours)
    assert sent["number"] == 1
    return sent["prompt"]


def without(inputs: Prompt, *names: str) -> Prompt:
    return {name: value for name, value in inputs.items() if name not in names}


ENCODER_V1 = {"clip_vision": link("CLIP_VISION"), "image_1": link("IMAGE")}
LAKSJDJF = {name: link(name.upper()) for name in ("model", "image", "clip_vision")}


def old(name: str, *later: str, **changed: Any) -> tuple[str, Prompt, str]:
    """A node that lacks inputs of later versions, or has other values."""
    return name, {"without": later, "changed": changed}, name


MISSING, LIST = "required_input_missing", "value_not_in_list"
CASES = [
    (MISSING, old("IPAdapterAdvanced", "embeds_scaling")),
    (MISSING, old("IPAdapter", "weight_type")),
    (MISSING, old("IPAdapterBatch", "encode_batch_size", "embeds_scaling")),
    (MISSING, old("IPAdapterTiledBatch", "encode_batch_size")),
    (MISSING, old("IPAdapterInsightFaceLoader", "model_name")),
    (MISSING, old("IPAdapterWeights", "add_starting_frames", "add_ending_frames", "method")),
    (MISSING, old("IPAdapterApply", "weight_type", "start_at", "end_at", "unfold_batch")),
    (MISSING, old("IPAdapterApplyEncoded", "start_at", "end_at", "unfold_batch")),
    (MISSING, old("IPAdapterAdvancedV2", "embeds_scaling")),
    (LIST, old("IPAdapterAdvanced", weight_type="style transfer (SDXL)")),
    (LIST, old("IPAdapterAdvanced", weight_type="composition (SDXL)")),
    (LIST, old("IPAdapterBatch", weight_type="style transfer and composition")),
    (LIST, old("IPAdapter", weight_type="style transfer (SDXL only)")),
    (LIST, old("PrepImageForClipVision", interpolation="lanczos", add_weight=False)),
    (LIST, old("PrepImageForClipVision", interpolation="area")),
    (LIST, old("PrepImageForClipVision", interpolation="nearest-exact")),
    (LIST, old("IPAdapterAdvanced", embeds_scaling=None)),
    (MISSING, ("IPAdapterEncoder", ENCODER_V1, "IPAdapterEncoderV1")),
    (
        MISSING,
        (
            "IPAdapterEncoder",
            ENCODER_V1 | {"ipadapter_plus": True, "noise": 0.3, "weight_1": 0.5},
            "IPAdapterEncoderV1",
        ),
    ),
    (
        MISSING,
        (
            "IPAdapterEncoder",
            {
                "clip_vision": link("CLIP_VISION"),
                "image": link("IMAGE"),
                "plus": True,
                "noise": 0.3,
            },
            "IPAdapterEncoderV1",
        ),
    ),
    (
        MISSING,
        (
            "IPAdapter",
            LAKSJDJF | {"weight": 0.5, "model_name": ADAPTER, "dtype": "fp16"},
            "IPAdapterLaksjdjf",
        ),
    ),
]


def made(name: str, what: Prompt) -> Prompt:
    """A prompt around an old node; here, because the nodes are not known before the tests run."""
    if "without" in what:
        what = without(complete(name), *what["without"]) | what["changed"]
    return around(name, what)


@pytest.mark.parametrize(("error", "case"), CASES, ids=str)
def test_what_the_host_refuses_passes(error: str, case: tuple[str, Prompt, str]) -> None:
    name, what, now = case
    prompt = made(name, what)
    assert error in refused(copy.deepcopy(prompt))
    sent = repaired(prompt)
    assert refused(sent) == []
    assert sent["old"]["class_type"] == now
    assert sent["old"]["_meta"] == {"title": "old"}


def test_values_of_old_forms_are_kept() -> None:
    september = {"clip_vision": link("CLIP_VISION"), "image": link("IMAGE"), "plus": True}
    sent = repaired(around("IPAdapterEncoder", september | {"noise": 0.3}))["old"]["inputs"]
    assert (sent["image_1"], sent["ipadapter_plus"], sent["noise"]) == (link("IMAGE"), True, 0.3)
    assert sent["weight_1"] == 1.0 and not {"image", "plus"} & sent.keys()

    styled = complete("IPAdapterAdvanced") | {"weight_type": "composition (SDXL)", "weight": 0.3}
    sent = repaired(around("IPAdapterAdvanced", styled))["old"]["inputs"]
    assert sent == styled | {"weight_type": "composition"}

    short = without(complete("IPAdapterApply"), "unfold_batch") | {"weight": 0.3}
    sent = repaired(around("IPAdapterApply", short))["old"]["inputs"]
    assert sent == short | {"unfold_batch": False}


@pytest.mark.parametrize("name", sorted(register.NODES))
def test_a_node_that_is_right_stays_as_it_is(name: str) -> None:
    prompt = around(name, complete(name))
    assert repaired(prompt) == prompt


def test_without_each_late_input_it_has_the_default_and_with_null_too() -> None:
    for name in register.NODES:
        whole = complete(name)
        for each in rules.widgets(name, host.NODE_CLASS_MAPPINGS[name]):
            widget = each["name"]
            sent = repaired(around(name, whole | {widget: None}))["old"]["inputs"]
            assert sent[widget] == each["default"], (name, widget)
            sent = repaired(around(name, without(whole, widget)))["old"]["inputs"]
            if each["needed"] and each["default"] is not None:
                assert sent == whole, (name, widget)
            else:
                assert sent == without(whole, widget), (name, widget)


@pytest.mark.parametrize("name", sorted(rules.ASKED))
def test_nobody_guesses_what_a_loader_was_asked_for(name: str) -> None:
    prompt = around(name, without(complete(name), rules.ASKED[name]))
    if name == "IPAdapterLoadEmbeds":
        prompt["old"]["inputs"] = {}
    assert MISSING in refused(repaired(prompt))


def test_links_and_null_on_sockets_are_left_alone() -> None:
    inputs = complete("IPAdapterAdvanced") | {"attn_mask": None, "weight": link("MODEL")}
    prompt = around("IPAdapterAdvanced", inputs)
    assert repaired(prompt) == prompt
    assert refused(around("IPAdapterAdvanced", inputs | {"weight": 1.0})) == [], "the host takes it"


def test_a_timing_of_april_2024_is_taken_as_it_is() -> None:
    weights = complete("IPAdapterWeights")
    prompt = around("IPAdapterWeights", weights | {"timing": "reverse_in_out"})
    assert repaired(prompt) == prompt and refused(prompt) == []
    prompt["old"]["inputs"]["timing"] = "sideways"
    assert refused(prompt) == ["custom_validation_failed"]


def test_a_node_of_another_pack_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = around("IPAdapterEncoder", ENCODER_V1)
    other = around("IPAdapter", {"model_name": ADAPTER})
    monkeypatch.setitem(host.NODE_CLASS_MAPPINGS, "IPAdapterEncoder", Source)
    monkeypatch.setitem(host.NODE_CLASS_MAPPINGS, "IPAdapterLaksjdjf", Source)
    assert repaired(prompt) == prompt
    assert repaired(other)["old"]["class_type"] == "IPAdapter", "its new name is not ours"
    served = table(register.is_ours)
    assert served["outputs"] == {"InsightFaceLoader": {"CLIP_VISION": "INSIGHTFACE"}}
    assert "IPAdapterEncoder" not in served["widgets"] and served["renames"] == []


JUNK = [None, 1, 0.5, "x", "IPAdapterEncoder", [], ["a", 0], {}, {"inputs": None}, True, [None]]


def test_nothing_that_is_sent_makes_it_stumble() -> None:
    for sent in JUNK:
        assert repair(sent, register.is_ours) == sent
        assert repair({"prompt": sent}, register.is_ours) == {"prompt": sent}
        for other in JUNK:
            node = {"class_type": sent, "inputs": other}
            prompt = {"1": node, "2": sent}
            repair({"prompt": prompt}, register.is_ours)
    for name in register.NODES:
        for value in JUNK:
            every = dict.fromkeys([*complete(name), "image_1", "dtype", "plus", ""], value)
            repair({"prompt": around(name, every)}, register.is_ours)


def test_the_table_of_the_editor_has_what_is_ours_as_data() -> None:
    served = table(register.is_ours)
    assert json.loads(json.dumps(served)) == served
    assert served["widgets"].keys() == {
        name for name in host.NODE_CLASS_MAPPINGS if register.is_ours(name)
    }
    assert register.NODES.keys() < served["widgets"].keys()
    names = [each["name"] for each in served["widgets"]["IPAdapterAdvanced"]]
    last = ["start_at", "end_at", "embeds_scaling"]
    assert names == ["weight", "weight_type", "combine_embeds", *last]
    assert [each["old"] for each in served["renames"]] == ["IPAdapterEncoder", "IPAdapter"]
    for rule in served["renames"]:
        assert {rule["old"], rule["new"]} < served["widgets"].keys()


def test_every_old_text_leads_to_a_choice_of_some_node() -> None:
    led = {
        (each["name"], old)
        for node in table(register.is_ours)["widgets"].values()
        for each in node
        for old in each["texts"]
    }
    assert led == {(name, old) for name, texts in rules.TEXTS.items() for old in texts}
