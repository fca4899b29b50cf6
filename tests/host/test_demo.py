"""The demo as a user runs it, and how it tells real models from none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import HOST, ROOT
from PIL import Image
from sparse_files import write_sparse

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
VIT_H: Shapes = {
    "visual_projection.weight": (1024, 1280),
    "vision_model.post_layernorm.weight": (1280,),
}
VIT_L: Shapes = {
    "visual_projection.weight": (768, 1024),
    "vision_model.post_layernorm.weight": (1024,),
}


def run_demo_script(script: str, cache: Path, *arguments: str | Path) -> Any:
    variables = os.environ | {"COMFYUI_PATH": str(HOST), "IPADAPTER_CACHE": str(cache)}
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


def test_once_makes_a_picture_and_stops(tmp_path: Path) -> None:
    cache = tmp_path / "a cache"
    cache.mkdir()
    done = run_demo_script("run.py", cache, "--once", "--random")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^Picture: (.*\.png) ", done.stdout, re.MULTILINE)
    assert found, done.stdout
    with Image.open(found[1]) as picture:
        assert picture.size == (256, 256)
        assert len(picture.getcolors(1 << 16) or range(1 << 16)) > 1000
        assert "IPADemoCheckpoint" in picture.info["workflow"]
    assert "http://127.0.0.1:" in done.stdout
    assert "noise by design" in done.stdout
    assert "models/clip_vision" in done.stdout.replace(os.sep, "/")


def test_real_models_are_found_by_content(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_sparse(models / "checkpoints" / "a UNet without a VAE.safetensors", UNET)
    write_sparse(models / "checkpoints" / "sub" / "any name.safetensors", CHECKPOINT)
    write_sparse(models / "ipadapter" / "b.safetensors", ADAPTER)
    (models / "ipadapter" / "a.safetensors").write_text("<!DOCTYPE html>")
    write_sparse(models / "clip_vision" / "a ViT-L.safetensors", VIT_L)
    write_sparse(models / "clip_vision" / "c.safetensors", VIT_H)
    found = prepare(tmp_path)
    assert not found["random"]
    assert Path(found["checkpoint"]) == Path("sub", "any name.safetensors")
    assert (found["adapter"], found["encoder"]) == ("b.safetensors", "c.safetensors")
    assert found["size"] == 512


@pytest.mark.parametrize("missing", ["checkpoints", "ipadapter", "clip_vision"])
def test_an_incomplete_set_means_random_weights(missing: str, tmp_path: Path) -> None:
    complete = {"checkpoints": CHECKPOINT, "ipadapter": ADAPTER, "clip_vision": VIT_H}
    for kind, shapes in complete.items():
        if kind != missing:
            write_sparse(tmp_path / "models" / kind / "a.safetensors", shapes)
    answer = prepare(tmp_path)
    assert answer["random"]
    assert (tmp_path / "base" / "models" / "ipadapter" / answer["adapter"]).is_file()
