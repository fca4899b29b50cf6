"""What columns fill in a workflow, and what of it is encoded once for a job."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from farm.template.graph import Nodes
from farm.template.workflow import Template
from farm.work import FarmError, Filled

SHIPPED = Path(__file__).resolve().parents[2] / "farm" / "workflows" / "reference.json"
NAMES = {"reference": "farm-aa.png"}


def shipped() -> Nodes:
    return json.loads(SHIPPED.read_text("utf-8"))


def untitled() -> Nodes:
    """As somebody exports it who never named a node."""
    graph = shipped()
    for number, (key, node) in enumerate(list(graph.items())):
        del graph[key]
        graph[str(number)] = node | {"_meta": {"title": node["class_type"]}}
    numbers = {key: str(number) for number, key in enumerate(shipped())}
    for node in graph.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                node["inputs"][name] = [numbers[value[0]], value[1]]
    return graph


def values(filled: Filled, kind: str) -> list[dict[str, Any]]:
    return [dict(one["inputs"]) for one in filled.graph.values() if one["class_type"] == kind]


def refused(graph: Any, **columns: str) -> str:
    with pytest.raises(FarmError) as caught:
        Template(graph, columns)
    return str(caught.value)


@pytest.mark.parametrize("graph", [shipped, untitled])
def test_plain_names_find_what_can_only_be_meant(graph: Any) -> None:
    names = ("prompt", "negative", "seed", "scale", "reference")
    template = Template(graph(), {name: name for name in names})
    assert template.files == {"reference"}
    row = {"prompt": "a cat", "negative": "rain", "seed": "7", "scale": "0.4", "reference": "x"}
    filled = template.fill(row, NAMES)
    assert [one["text"] for one in values(filled, "CLIPTextEncode")] == ["a cat", "rain"]
    assert values(filled, "KSampler")[0]["seed"] == 7
    assert values(filled, "IPAApply")[0]["scale"] == 0.4


def test_shipped_models_are_columns() -> None:
    template = Template(shipped(), {name: name for name in ("checkpoint", "adapter", "encoder")})
    filled = template.fill({"checkpoint": "a", "adapter": "b", "encoder": "c"}, {})
    assert values(filled, "CheckpointLoaderSimple") == [{"ckpt_name": "a"}]
    assert values(filled, "IPALoadAdapter") == [{"adapter_file": "b"}]
    assert filled.cuts[0].graph["encoder"]["inputs"] == {"encoder_file": "c"}


def test_references_are_cut_out_and_loaded_again() -> None:
    template = Template(shipped(), {"reference": "reference", "prompt": "prompt"})
    one, same, other = (
        template.fill({"reference": "x", "prompt": text}, {"reference": name})
        for text, name in (("a", "farm-aa.png"), ("b", "farm-aa.png"), ("a", "farm-bb.png"))
    )
    (cut,) = one.cuts
    assert cut == same.cuts[0] and cut.key != other.cuts[0].key
    assert cut.files == ("farm-aa.png",) and one.files == ()
    kinds = {node["class_type"] for node in cut.graph.values()}
    assert kinds == {"LoadImage", "IPALoadEncoder", "IPAEncodeImage", "IPASaveEmbeds"}
    assert not kinds & {node["class_type"] for node in one.graph.values()}
    (load,) = (key for key, node in one.graph.items() if node["class_type"] == "IPALoadEmbeds")
    assert one.graph["apply"]["inputs"]["embeds"] == [load, 0]
    assert one.graph[load]["inputs"] == {"embeds_file": cut.embeds}
    assert shipped()["apply"]["inputs"]["embeds"] == ["encode", 0]  # the template is as it was


def test_what_else_an_encoder_gives_keeps_it_in_the_row() -> None:
    graph = shipped()
    graph["encode"]["class_type"] = "IPAEncodeFace"
    preview = {"images": ["encode", 1], "filename_prefix": "crop"}
    graph["crops"] = {"class_type": "SaveImage", "inputs": preview}
    filled = Template(graph, {"reference": "reference"}).fill({"reference": "x"}, NAMES)
    assert filled.cuts and filled.files == ("farm-aa.png",)
    assert filled.graph["crops"]["inputs"]["images"] == ["encode", 1]


def test_a_picture_that_the_row_paints_is_no_reference() -> None:
    graph = shipped()
    graph["encode"]["inputs"]["image"] = ["decode", 0]
    graph["apply2"] = copy.deepcopy(graph["apply"])
    graph["sampler"]["inputs"]["model"] = ["checkpoint", 0]
    assert Template(graph, {}).fill({}, {}).cuts == ()


def test_nodes_that_encode_inside_are_named() -> None:
    graph = shipped()
    inputs = {"model": ["checkpoint", 0], "image": ["reference", 0], "kind": "standard"}
    graph["apply"] = {"class_type": "IPASimple", "inputs": inputs, "_meta": {"title": "Mine"}}
    template = Template(graph, {"reference": "reference"})
    assert "Mine encodes its references inside" in " ".join(template.notes)
    filled = template.fill({"reference": "x"}, NAMES)
    assert filled.cuts == () and filled.files == ("farm-aa.png",)


def test_cells_become_what_the_workflow_has_there() -> None:
    columns = {"seed": "seed", "scale": "scale", "steps": "steps", "size.width": "size.width"}
    template = Template(shipped(), columns)
    row = {"seed": 2**53 + 1, "scale": 1, "steps": 12.0, "size.width": "640"}
    filled = template.fill(row, {})
    sampler = values(filled, "KSampler")[0]
    assert sampler["seed"] == 2**53 + 1 and sampler["steps"] == 12
    assert isinstance(sampler["steps"], int)
    assert values(filled, "EmptyLatentImage")[0]["width"] == 640
    empty = template.fill({"seed": "", "scale": None, "steps": None}, {})
    assert values(empty, "KSampler")[0]["steps"] == shipped()["sampler"]["inputs"]["steps"]
    with pytest.raises(FarmError, match='seed is "seven", and a whole number is needed'):
        template.fill({"seed": "seven"}, {})
    with pytest.raises(FarmError, match='seed is "1.5", and a whole number is needed'):
        template.fill({"seed": 1.5}, {})
    for odd in ("inf", "1,000", "0,5,5", "1.000,5"):
        with pytest.raises(FarmError, match=f'scale is "{odd}", and a number is needed'):
            template.fill({"scale": odd}, {})
    with pytest.raises(FarmError, match="a whole number is needed"):
        template.fill({"seed": "9" * 400}, {})


def test_numbers_as_tables_write_them() -> None:
    template = Template(shipped(), {"seed": "seed", "scale": "scale"})
    seeds = {"9007199254740993.0": 2**53 + 1, "18446744073709551615.0000": 2**64 - 1, "1e3": 1000}
    for text, seed in seeds.items():
        assert values(template.fill({"seed": text}, {}), "KSampler")[0]["seed"] == seed
    for text, scale in {"0,7": 0.7, "-1,25": -1.25, "0,125": 0.125, ".5": 0.5}.items():
        assert values(template.fill({"scale": text}, {}), "IPAApply")[0]["scale"] == scale


def test_several_nodes_that_encode_inside_are_several() -> None:
    graph = shipped()
    for name in ("one", "two"):
        inputs = {"model": ["checkpoint", 0], "image": ["reference", 0]}
        title = {"title": name}
        graph[name] = {"class_type": "IPASimple", "inputs": inputs, "_meta": title}
    assert "one, two each encode their references inside" in " ".join(Template(graph, {}).notes)


def test_masks_and_both_texts_of_a_prompt() -> None:
    graph = shipped()
    graph["mask"] = {"class_type": "LoadImageMask", "inputs": {"image": "m.png", "channel": "red"}}
    graph["apply"]["inputs"]["attn_mask"] = ["mask", 0]
    texts = {"text_g": "", "text_l": "", "clip": ["checkpoint", 1]}
    graph["prompt"] = {"class_type": "CLIPTextEncodeSDXL", "inputs": texts}
    template = Template(graph, {"mask": "mask", "prompt": "prompt"})
    filled = template.fill({"mask": "x", "prompt": "a cat"}, {"mask": "farm-cc.png"})
    assert filled.files == ("farm-cc.png",) and template.files == {"mask"}
    assert values(filled, "LoadImageMask")[0]["image"] == "farm-cc.png [temp]"
    (text,) = values(filled, "CLIPTextEncodeSDXL")
    assert (text["text_g"], text["text_l"]) == ("a cat", "a cat")


def test_what_cannot_be_filled_is_said_before_anything_starts() -> None:
    assert "the column artist fills nothing" in refused(shipped(), artist="artist")
    assert "sampler.seed" in refused(shipped(), artist="artist")  # what there is
    assert "names the input sed of node sampler" in refused(shipped(), x="sampler.sed")
    assert "gets its value by a link" in refused(shipped(), x="sampler.model")
    two = shipped() | {"other": copy.deepcopy(shipped()["sampler"])}
    assert "could fill sampler.seed, other.seed" in refused(two, seed="seed")
    assert "both fill prompt.text" in refused(shipped(), prompt="prompt", title="prompt.text")
    assert 'Save it with "Export (API)"' in refused({"nodes": [], "links": []})
    for odd in ({}, [], None, "x", {"1": {"inputs": {}}}, {"1": {"class_type": "A", "inputs": []}}):
        assert "is no graph of nodes" in refused(odd)


def test_links_in_a_circle_end() -> None:
    graph: Nodes = {
        "1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0]}},
        "2": {"class_type": "A", "inputs": {"conditioning": ["3", 0]}},
        "3": {"class_type": "IPAApply", "inputs": {"conditioning": ["2", 0], "image": ["2", 0]}},
    }
    assert "fills nothing" in refused(graph, prompt="prompt")
    assert "fills nothing" in refused(graph, reference="reference")


def test_names_of_files_are_the_farm_s_own() -> None:
    said = refused(shipped(), filename_prefix="filename_prefix")
    assert "fills filename_prefix" in said and "--column filename_prefix=" in said


def test_an_underscore_in_a_number_is_a_mistake() -> None:
    template = Template(shipped(), {"scale": "scale", "seed": "seed"})
    for row in ({"scale": "1_0"}, {"seed": "1_0"}):
        with pytest.raises(FarmError, match='is "1_0", and a'):
            template.fill(row, {})
    assert values(template.fill({"scale": " "}, {}), "IPAApply")[0]["scale"] == 0.8
