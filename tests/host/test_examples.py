"""Every example workflow is whole, and runs: its adapter is heard in its pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from conftest import ROOT
from kit.models.stand_ins import random_models
from kit.pages.blueprints import MAKERS as BLUEPRINTS
from kit.pages.example_graphs import (
    EMBEDS,
    RESULT_KIND,
    RESULTS,
    STEMS,
    WITHOUT_REFERENCE,
    sketches,
)
from kit.server import example_models, live
from kit.server.live import Client
from pack.demo.prompts import to_prompt
from pack.ip_models.adapter.published import ADAPTER_ADDRESSES, ADAPTER_NAMES
from PIL import Image, ImageSequence
from stand_ins import fitted
from toys import WORKFLOW

EXAMPLES = ROOT / "example_workflows"
NAMES = sorted(STEMS)
# A saved file is there to be loaded only after it was saved.
IN_ORDER = [*(name for name in NAMES if name != "load_embeds"), "load_embeds"]
SIDE, STEPS, FRAMES = 128, 2, 4
INPUT_LOADERS = ("LoadImage", "LoadImageMask", "LoadVideo")
MODEL_SUFFIXES = (".safetensors", ".bin", ".onnx", ".pt", ".pth", ".ckpt")
# Their files they find by themselves; the note says which.
FINDING = ("IPASimple", "IPAStyleComposition", "IPARegional", "IPALoadForModel")
SCALES = ("scale", "style_scale", "composition_scale")
TITLE = 30


def workflow(name: str) -> dict[str, Any]:
    return json.loads((EXAMPLES / f"{STEMS[name]}.json").read_text("utf-8"))


def shipped() -> dict[str, Path]:
    return {path.name: path for path in (EXAMPLES / "inputs").iterdir()}


def test_there_are_enough_of_them_and_all_are_described() -> None:
    assert len(NAMES) >= 13
    assert sorted(sketch.name for sketch in sketches()) == NAMES
    for ending in ("json", "jpg"):
        assert {path.stem for path in EXAMPLES.glob(f"*.{ending}")} == set(STEMS.values())


@pytest.mark.parametrize("name", NAMES)
def test_an_example_brings_all_that_it_needs(name: str) -> None:
    nodes = workflow(name)["nodes"]
    for node in nodes:
        models = node["properties"].get("models", [])
        assert all(model["url"].startswith("https://") for model in models)
        assert all(model["directory"] and model["name"] for model in models)
        values = node.get("widgets_values") or []
        files = [v for v in values if isinstance(v, str) and v.endswith(MODEL_SUFFIXES)]
        if node["type"] in FINDING:
            assert files == []
            continue
        if node["type"] == "IPALoadFaceModels":
            files.append(f"{values[0]}.zip")
        assert sorted(model["name"] for model in models) == sorted(
            file for file in files if file != EMBEDS
        )
    named = {node["widgets_values"][0] for node in nodes if node["type"] in INPUT_LOADERS}
    assert named <= shipped().keys()
    assert sorted(named) == workflow(name)["extra"].get("ipadapter_inputs", [])


@pytest.mark.parametrize("name", NAMES)
def test_an_example_tells_what_it_is(name: str) -> None:
    """The note names every file with its address, and there is a picture for the list."""
    nodes = workflow(name)["nodes"]
    (note,) = [node for node in nodes if node["type"] == "MarkdownNote"]
    text = note["widgets_values"][0]
    assert len(text) > 400 and "**Run.**" in text
    for model in (m for node in nodes for m in node["properties"].get("models", [])):
        assert model["url"] in text and f"**models/{model['directory']}**" in text
    thumbnail = EXAMPLES / f"{STEMS[name]}.jpg"
    assert thumbnail.stat().st_size < 40_000
    with Image.open(thumbnail) as image:
        assert image.size == (400, 300)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_called_as_messages_tell_to_keep_it(name: str) -> None:
    names = {ADAPTER_ADDRESSES[key]: called for key, called in ADAPTER_NAMES.items()}
    for node in workflow(name)["nodes"]:
        for model in node["properties"].get("models", []):
            assert model["name"] == names.get(model["url"], model["name"])


@pytest.mark.parametrize("name", NAMES)
def test_no_node_lies_on_another(name: str) -> None:
    saved = workflow(name)
    boxes = {node["id"]: _box(node) for node in saved["nodes"]}
    for one, box in boxes.items():
        on_it = [other for other, its in boxes.items() if other > one and _overlap(box, its)]
        assert on_it == [], f"node {one}"
    for group in saved["groups"]:
        x, y, width, height = group["bounding"]
        outer = (x, y, x + width, y + height)
        for box in boxes.values():
            assert not _overlap(outer, box) or _inside(outer, box)


def _box(node: dict[str, Any]) -> tuple[float, float, float, float]:
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y + height


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inside(outer: tuple[float, ...], box: tuple[float, ...]) -> bool:
    return outer[0] <= box[0] and outer[1] <= box[1] and box[2] <= outer[2] and box[3] <= outer[3]


@pytest.mark.parametrize("name", NAMES)
def test_beside_the_result_stands_one_that_was_made(name: str) -> None:
    (node,) = [node for node in workflow(name)["nodes"] if node["type"] == RESULT_KIND]
    path = EXAMPLES / "results" / node["properties"]["picture"]
    assert node["title"] in (*RESULTS.values(), WITHOUT_REFERENCE) and path.stat().st_size < 16_000
    with Image.open(path) as image:
        assert max(numpy.asarray(image, numpy.float32).std(axis=(0, 1))) > 10


def test_every_picture_that_a_workflow_names_is_shipped() -> None:
    paths = [WORKFLOW, *EXAMPLES.glob("*.json")]
    nodes = [node for path in paths for node in json.loads(path.read_text("utf-8"))["nodes"]]
    named = {node["properties"]["picture"] for node in nodes if node["type"] == RESULT_KIND}
    assert len(paths) == len(NAMES) + 1
    assert {name for name in named if not (EXAMPLES / "results" / name).is_file()} == set()


def test_what_is_shipped_is_used_and_small() -> None:
    assert {path.stem for path in (EXAMPLES / "results").iterdir()} == set(NAMES)
    assert [path.name for path in (EXAMPLES / "embeds").iterdir()] == [EMBEDS]
    used = {name for each in NAMES for name in workflow(each)["extra"].get("ipadapter_inputs", [])}
    assert used == shipped().keys()
    assert all(path.stat().st_size < 60_000 for path in shipped().values())
    assert all((EXAMPLES / f"{STEMS[name]}.json").stat().st_size < 60_000 for name in NAMES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("examples")
    example_models.write_models(base / "models")
    example_models.write_encoders(base / "models")
    (base / "input").mkdir()
    for name, path in shipped().items():
        (base / "input" / name).write_bytes(path.read_bytes())
    with live.running(base, base / "models") as client:
        yield client


@pytest.fixture(scope="module")
def known(server: Client) -> dict[str, Any]:
    return server.get("/object_info")


@pytest.mark.parametrize("name", IN_ORDER)
def test_the_adapter_of_an_example_is_heard(
    name: str, server: Client, known: dict[str, Any]
) -> None:
    saved = fitted(workflow(name), random_models(SIDE, steps=STEPS, frames=FRAMES))
    prompt = example_models.by_hand(name, to_prompt(saved, known), known)
    pictures = run(server, prompt)
    for picture in pictures:
        assert picture.std() > 4, "the picture is of one colour"
    silent = run(server, unheard(prompt))
    assert pictures.shape == silent.shape
    assert numpy.abs(pictures - silent).sum() > 0.01 * silent.sum()


def unheard(prompt: dict[str, Any]) -> dict[str, Any]:
    """The same prompt with the references at scale 0."""
    changed = json.loads(json.dumps(prompt))
    applied = [node["inputs"] for node in changed.values() if "model" in node["inputs"]]
    scaled = [inputs for inputs in applied if set(SCALES) & set(inputs)]
    assert scaled
    for inputs in scaled:
        inputs |= {name: 0.0 for name in SCALES if name in inputs}
    return changed


def test_the_host_lists_the_blueprints(server: Client) -> None:
    listed = server.get("/global_subgraphs").values()
    ours = {one["name"] for one in listed if one["info"]["node_pack"].endswith("ip-adapter-pack")}
    assert ours == set(BLUEPRINTS) == {path.stem for path in (ROOT / "subgraphs").iterdir()}


def run(server: Client, prompt: dict[str, Any]) -> numpy.ndarray:
    """All pictures and frames that a prompt saves."""
    saved = [path for paths in server.saved(prompt).values() for path in paths]
    assert saved
    frames: list[numpy.ndarray] = []
    for path in saved:
        with Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                frames.append(numpy.asarray(frame.convert("RGB"), numpy.float32))
    return numpy.stack(frames)
