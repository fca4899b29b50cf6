"""The demo as a user runs it, and how it tells real models from none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sheets
from conftest import HOST, ROOT
from kit.models import encoder_shapes
from kit.models.sparse_files import write_sparse
from kit.server import live
from kit.server.live import Client
from pack.ip_models.pictures.sheet import Plan
from PIL import Image
from sheet_prompt import EDGE

Shapes = dict[str, tuple[int, ...]]

UNET_WIDTHS = {
    **{f"input_blocks.{n}": 320 for n in (1, 2)},
    **{f"input_blocks.{n}": 640 for n in (4, 5)},
    **{f"input_blocks.{n}": 1280 for n in (7, 8)},
    "middle_block": 1280,
    **{f"output_blocks.{n}": 1280 for n in (3, 4, 5)},
    **{f"output_blocks.{n}": 640 for n in (6, 7, 8)},
    **{f"output_blocks.{n}": 320 for n in (9, 10, 11)},
}
UNET: Shapes = {
    f"model.diffusion_model.{block}.1.transformer_blocks.0.attn2.to_k.weight": (width, 768)
    for block, width in UNET_WIDTHS.items()
}
CHECKPOINT = {**UNET, "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}
ADAPTER_WIDTHS = (*[320] * 2, *[640] * 2, *[1280] * 5, *[640] * 3, *[320] * 3, 1280)
ADAPTER: Shapes = {
    "image_proj.proj.weight": (3072, 1024),
    "image_proj.proj.bias": (3072,),
    "image_proj.norm.weight": (768,),
    "image_proj.norm.bias": (768,),
    **{
        f"ip_adapter.{2 * n + 1}.{name}.weight": (width, 768)
        for n, width in enumerate(ADAPTER_WIDTHS)
        for name in ("to_k_ip", "to_v_ip")
    },
}
VIT_H: Shapes = encoder_shapes.hollow(1280, 1024)
VIT_L: Shapes = encoder_shapes.hollow(1024, 768)


def run_demo_script(script: str, cache: Path, *arguments: str | Path) -> Any:
    variables = os.environ | {"COMFYUI_PATH": str(HOST), "IPADAPTER_CACHE": str(cache)}
    variables["OMP_NUM_THREADS"] = "1"  # as the servers of the tests
    return subprocess.run(
        [sys.executable, ROOT / "demo" / script, *arguments],
        env=variables,
        cwd=cache,
        capture_output=True,
        text=True,
        timeout=600,
    )


def prepare(folder: Path) -> dict[str, Any]:
    """What the demo decides on, with the models in `folder / "models"` and no others."""
    config = folder / "models.yaml"
    kinds = ("checkpoints", "ipadapter", "clip_vision")
    paths = {"base_path": str(folder / "models"), **{kind: kind for kind in kinds}}
    config.write_text(json.dumps({"test": paths}))
    result = folder / "result.json"
    done = run_demo_script("prepare_models.py", folder, folder / "base", config, result)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())


def test_once_makes_the_pictures_and_stops(tmp_path: Path) -> None:
    cache = tmp_path / "a cache"
    cache.mkdir()
    done = run_demo_script("run.py", cache, "--once", "--toy")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^Picture: (.*\.png) ", done.stdout, re.MULTILINE)
    assert found, done.stdout
    with Image.open(found[1]) as picture:
        assert picture.size == (128, 128)
        assert len(picture.getcolors(1 << 16) or range(1 << 16)) > 500
        assert "IPAToyModels" in picture.info["workflow"]
    found = re.search(r"^Contact sheet: (.*\.png)$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    with Image.open(found[1]) as sheet:
        toys = sheets.toy_sheet()
        plan = planned(toys)
        assert sheet.size == plan.size
        cells = [cell_of(sheet, *place) for place in plan.places]
        assert "IPASheet" in sheet.info["prompt"]
    assert (len(cells), toys.painted) == (24, 20)
    assert len(set(cells)) == 23  # the reference of the second row is B of the last
    assert "http://127.0.0.1:" in done.stdout
    assert "know a dozen shapes and nothing else" in done.stdout
    assert "models/clip_vision" in done.stdout.replace(os.sep, "/")


def planned(sheet: sheets.Sheet) -> Plan:
    captions = [one for row in sheet.rows for cell in row for one in cell.captions]
    return Plan([(EDGE, EDGE)] * len(captions), captions, sheet.columns, sheet.title)


def cell_of(sheet: Image.Image, x: int, y: int) -> bytes:
    return sheet.crop((x, y, x + EDGE, y + EDGE)).tobytes()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base, models = live.base_with_adapter(tmp_path_factory)
    with live.running(base, models) as running:
        Image.effect_noise((64, 64), 80).convert("RGB").save(base / "input" / "other.png")
        yield running


@pytest.mark.parametrize(("gpu", "rows"), [(True, [6, 6]), (False, [3])])
def test_the_sheet_of_real_models_runs_on_a_server(
    gpu: bool, rows: list[int], client: Client
) -> None:
    """With small models in the place of the files it names."""
    models = {"checkpoint": "a.ckpt", "adapter": "tiny.safetensors", "encoder": "b", "size": 64}
    sheet = sheets.real_sheet(models | {"gpu": gpu}, "reference.jpg", "other.png")
    assert [sum(len(cell.captions) for cell in row) for row in sheet.rows] == rows
    assert sheet.title == "a.ckpt with tiny.safetensors"
    loaders = {"checkpoint": "IPADemoCheckpoint", "encoder": "IPADemoCLIPVision"}
    for node, kind in loaders.items():
        name = next(iter(sheet.prompt[node]["inputs"]))
        inputs = {name: "random weights (demo)"}
        sheet.prompt[node] = {"class_type": kind, "inputs": inputs}
    for node in sheet.prompt.values():
        if node["class_type"] == "KSampler":
            node["inputs"]["steps"] = 2
    (path,) = client.saved(sheet.prompt)[sheet.saved]
    with Image.open(path) as picture:
        cells = [cell_of(picture, *place) for place in planned(sheet).places]
    assert len(set(cells)) == len(cells) == sum(rows)


def test_real_models_are_found_by_content(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_sparse(models / "checkpoints" / "a UNet without a VAE.safetensors", UNET)
    write_sparse(models / "checkpoints" / "sub" / "any name.safetensors", CHECKPOINT)
    write_sparse(models / "ipadapter" / "b.safetensors", ADAPTER)
    (models / "ipadapter" / "a.safetensors").write_text("<!DOCTYPE html>")
    write_sparse(models / "clip_vision" / "a ViT-L.safetensors", VIT_L)
    write_sparse(models / "clip_vision" / "c.safetensors", VIT_H)
    found = prepare(tmp_path)
    assert not found["toy"]
    assert Path(found["checkpoint"]) == Path("sub", "any name.safetensors")
    assert (found["adapter"], found["encoder"]) == ("b.safetensors", "c.safetensors")
    assert found["size"] == 512


@pytest.mark.parametrize("missing", ["checkpoints", "ipadapter", "clip_vision"])
def test_an_incomplete_set_means_the_toy_models(missing: str, tmp_path: Path) -> None:
    complete = {"checkpoints": CHECKPOINT, "ipadapter": ADAPTER, "clip_vision": VIT_H}
    for kind, shapes in complete.items():
        if kind != missing:
            write_sparse(tmp_path / "models" / kind / "a.safetensors", shapes)
    answer = prepare(tmp_path)
    assert answer["toy"]
    assert list(answer["found"].values()) == [int(kind != missing) for kind in complete]
