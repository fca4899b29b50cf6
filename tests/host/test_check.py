"""`dev.py check`: small files in the published layouts through both sides, and what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.supported_models
import folder_paths
import numpy
import pytest
import torch
from check import question as questions
from check import report, single
from check.compare import compare
from check.problem import CheckError
from check.question import Question
from conftest import ROOT
from kit.models import checkpoints, face_packs, transformer_adapters, transformers
from pack.ip_models.errors import IPAdapterError
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipVisionConfig,
    SiglipVisionModel,
)

PREFIX = "model.diffusion_model."
LAYERS = [320] * 4  # two down and up, and the middle, of a UNet with two levels
RESAMPLER = {"dim": 128, "heads": 2}
SAME = 1e-4


@pytest.fixture(scope="module", autouse=True)
def _own_folders() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """What a check enters into the host's folders is gone afterwards."""
    table = folder_paths.folder_names_and_paths
    before = {name: (list(paths), set(ends)) for name, (paths, ends) in table.items()}
    yield
    table.clear()
    table.update(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder: SD1.5 with few blocks, Flux and SD3.5 with few, adapters and encoders."""
    folder = tmp_path_factory.mktemp("models of a user")
    for name in ("checkpoints", "ipadapter", "clip_vision"):
        (folder / name).mkdir()
    save_file(_small_unet(), folder / "checkpoints" / "sd15.safetensors")
    for name, pair in (("flux", transformers.tiny_flux()), ("sd3", transformers.tiny_sd3())):
        state = pair.model.model.diffusion_model.state_dict()
        path = folder / "checkpoints" / f"{name}.safetensors"
        save_file({PREFIX + key: value.contiguous() for key, value in state.items()}, path)
    _adapters(folder / "ipadapter")
    _encoders(folder / "clip_vision")
    return folder


def _small_unet() -> dict[str, torch.Tensor]:
    config: dict[str, Any] = dict(
        image_size=32,
        in_channels=4,
        out_channels=4,
        model_channels=320,
        num_res_blocks=[1, 1],
        channel_mult=[1, 1],
        transformer_depth=[1, 0],
        transformer_depth_output=[1, 1, 0, 0],
        transformer_depth_middle=1,
        context_dim=768,
        num_heads=8,
        num_head_channels=-1,
        use_spatial_transformer=True,
        use_linear_in_transformer=False,
        use_temporal_attention=False,
        legacy=False,
        adm_in_channels=None,
    )
    supported = comfy.supported_models.SD15(dict(config))
    with torch.device("meta"):
        unet = supported.get_model({}, "", device="meta").diffusion_model
    shapes = {PREFIX + key: tuple(value.shape) for key, value in unet.state_dict().items()}
    return {key: _tame(value) for key, value in checkpoints.fill(shapes, seed=3).items()}


def _tame(value: torch.Tensor) -> torch.Tensor:
    """Convolutions count all of their window, not only its last side."""
    return value / value[0, 0, 0].numel() if value.ndim == 4 else value


def _adapters(folder: Path) -> None:
    kinds = {"plus": (1280, 16, RESAMPLER), "standard": (1024, 4, {}), "full face": (1280, 257, {})}
    for kind, (width, tokens, more) in kinds.items():
        tensors = checkpoints.tiny_adapter(kind, LAYERS, 768, width, tokens, **more)
        louder = {k: v * 3 if "_ip.weight" in k else v for k, v in tensors.items()}
        checkpoints.write(folder / f"{kind}.safetensors", louder, "flat")
    shallow = checkpoints.tiny_adapter("plus", LAYERS, 768, 1280, 16, **RESAMPLER, depth=1)
    checkpoints.write(folder / "shallow.safetensors", shallow, "flat")
    face = checkpoints.tiny_adapter("FaceID plus", LAYERS, 768, 1280, 4, dim=768, heads=12)
    lora = checkpoints.fill(checkpoints.lora_shapes(LAYERS, 768, rank=8), seed=4, scale=0.5)
    checkpoints.write(folder / "faceid-plusv2_sd15.bin", face | lora, "nested")
    silent = {k: v * 1e-6 if "to_v_ip" in k else v for k, v in tensors.items()}
    checkpoints.write(folder / "dead.safetensors", silent, "flat")
    flux, sd3 = transformers.tiny_flux(), transformers.tiny_sd3()
    checkpoints.write(folder / "xlabs.safetensors", transformer_adapters.xlabs(flux), "flat")
    checkpoints.write(folder / "instantx.bin", transformer_adapters.instantx(flux), "nested")
    checkpoints.write(folder / "sd35.bin", transformer_adapters.sd3(sd3), "nested")


def _encoders(folder: Path) -> None:
    torch.manual_seed(5)
    sizes = dict(intermediate_size=32, num_hidden_layers=2, num_attention_heads=16, patch_size=14)
    clips = {"H": (1280, 1024, 56), "L": (1024, 768, 56)}
    for name, (width, pooled, side) in clips.items():
        config = CLIPVisionConfig(
            hidden_size=width, projection_dim=pooled, image_size=side, **sizes
        )
        CLIPVisionModelWithProjection(config).half().save_pretrained(folder / name)
    config = SiglipVisionConfig(hidden_size=1152, image_size=42, **sizes)
    SiglipVisionModel(config).half().save_pretrained(folder / "siglip")


def ask(models: Path, checkpoint: str, adapter: str, encoder: str, **more: Any) -> Question:
    return Question(
        models / "checkpoints" / f"{checkpoint}.safetensors",
        models / "ipadapter" / adapter,
        models / "clip_vision" / encoder,
        **{"size": 64, "steps": 2, **more},
    )


@pytest.mark.parametrize(
    ("checkpoint", "adapter", "encoder"),
    [
        # standard: see below, by the command itself
        ("sd15", "plus.safetensors", "H"),
        ("sd15", "full face.safetensors", "H"),
        ("flux", "xlabs.safetensors", "L"),
        ("flux", "instantx.bin", "siglip"),
        ("sd3", "sd35.bin", "siglip"),
    ],
)
def test_both_sides_agree(models: Path, checkpoint: str, adapter: str, encoder: str) -> None:
    question = ask(models, checkpoint, adapter, encoder)
    found = report.facts(compare(question, lambda line: None), question)
    one = found["precisions"]["fp32"]
    assert "ComfyUI with our nodes and diffusers AGREE." in "".join(report.lines(found))
    assert found["verdict"] == "agrees"
    assert max(one["relative L2 per step with the adapter"]) < SAME
    assert max(one["relative L2 per step without it"]) < SAME
    assert one["effect of the adapter"] > report.DEAD
    assert one["effect in diffusers"] == pytest.approx(one["effect of the adapter"], rel=0.01)
    assert max(one["relative L2 of the features"].values()) < SAME


def test_a_face_is_read_by_insightface_too(models: Path, tmp_path: Path) -> None:
    pytest.importorskip("insightface")
    pack, photo = tmp_path / "own_pack", tmp_path / "photo.png"
    pack.mkdir()
    face_packs.small_detector(pack / "det_10g.onnx")
    face_packs.small_recogniser(pack / "w600k_r50.onnx")
    pixels = numpy.zeros((480, 640, 3), "u1")
    face_packs.paint(pixels, 32, 14, 4)
    Image.fromarray(pixels).save(photo)
    question = ask(models, "sd15", "faceid-plusv2_sd15.bin", "H", face=pack, image=photo)
    found = report.facts(compare(question, lambda line: None), question)
    one = found["precisions"]["fp32"]
    assert found["verdict"] == "agrees" and found["not compared"] == []
    assert max(one["relative L2 per step with the adapter"]) < SAME
    assert one["effect of the adapter"] > report.DEAD
    assert set(one["relative L2 of the features"]) == {
        "face",
        "encoder, pooled",
        "encoder, penultimate",
    }


def test_a_dead_patch_is_told_and_the_report_keeps_secrets(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = tmp_path / "holiday with somebody.png"
    Image.new("RGB", (90, 60), (200, 40, 40)).save(private)
    question = ask(
        models, "sd15", "dead.safetensors", "H", image=private, prompt="a secret", precision="bf16"
    )
    assert single.check(question, tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert "a dead patch, it does nothing" in said and "NO EFFECT" in said
    (text,) = (tmp_path / "out").glob("*.json")
    (picture,) = (tmp_path / "out").glob("*.png")
    written = text.read_text("utf-8")
    found = json.loads(written)
    assert found["verdict"] == "dead patch" and list(found["precisions"]) == ["bf16", "fp32"]
    assert all(one["agrees"] for one in found["precisions"].values())
    for secret in (str(tmp_path), str(models), str(Path.home()), "holiday", "secret"):
        assert secret not in written
    roles = [(file["role"], len(file["sha256"])) for file in found["files"]]
    assert roles == [("checkpoint", 64), ("adapter", 64), ("encoder", 64)]
    shown = Image.open(picture)
    assert shown.width >= 4 * 64 and shown.height >= 64
    assert len(set(shown.getdata())) > 100


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no checkpoint was given: a check needs --checkpoint FILE and --adapter FILE"),
        (["--checkpoint", "none.safetensors"], "no adapter was given"),
        (["--checkpoint", "none", "--adapter", "{here}"], "none is not there or is not a file"),
        (["--checkpoint", "{here}", "--adapter", "{here}", "--size", "100"], "--size 100 cannot"),
        (["--checkpoint", "{here}", "--adapter", "{here}", "--steps", "900"], "--steps 900 is out"),
        (["--checkpoint", "{here}", "--adapter", "{here}", "--scale", "0"], "leaves the adapter"),
        (["--checkpoint", "{here}", "--adapter", "{here}", "--face", "{here}"], "of a face pack"),
    ],
)
def test_wrong_options_are_one_sentence(arguments: list[str], sentence: str) -> None:
    given = [argument.replace("{here}", __file__) for argument in arguments]
    with pytest.raises(CheckError) as error:
        questions.asked(questions.parser(None).parse_args(given))
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("checkpoint", "adapter", "more", "sentence"),
    [
        ("broken", "plus.safetensors", {}, "broken.safetensors cannot be read"),
        ("sd15", "xlabs.safetensors", {}, "is an adapter for Flux"),
        ("sd15", "faceid-plusv2_sd15.bin", {}, "give the folder of a face pack"),
        ("sd15", "plus.safetensors", {"image": Path(__file__)}, "test_check.py is no picture"),
    ],
)
def test_wrong_files_are_one_sentence(
    models: Path, checkpoint: str, adapter: str, more: dict[str, Any], sentence: str
) -> None:
    (models / "checkpoints" / "broken.safetensors").write_bytes(b"no weights at all")
    question = ask(models, checkpoint, adapter, "H", **more)
    with pytest.raises((CheckError, IPAdapterError)) as error:
        compare(question, lambda line: None)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_all_pairs_are_walked_and_a_failure_stops_nothing(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command itself, from another folder, with what this process found as its models."""
    some = {
        "checkpoints": ("sd15.safetensors", "broken.safetensors"),
        "ipadapter": ("shallow.safetensors", "standard.safetensors", "faceid-plusv2_sd15.bin"),
    }
    (models / "checkpoints" / "broken.safetensors").write_bytes(b"no weights at all")
    for folder, names in some.items():
        (tmp_path / "models" / folder).mkdir(parents=True)
        for name in names:
            os.link(models / folder / name, tmp_path / "models" / folder / name)
    shutil.copytree(models / "clip_vision" / "H", tmp_path / "models" / "clip_vision" / "H")
    script = str(ROOT / "tests" / "check" / "run.py")
    command = [sys.executable, script, "--from", str(tmp_path), "--all", "--models", "models"]
    small = ["--size", "64", "--steps", "1", "--device", "cpu", "--only-models"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, timeout=400)
    found = json.loads((tmp_path / "ipadapter-check" / "summary.json").read_text("utf-8"))
    results = {(one["checkpoint"], one["adapter"]): one["result"] for one in found}
    assert results.pop(("broken.safetensors", "-")).startswith("left out: it cannot be read")
    assert results == {
        ("sd15.safetensors", "shallow.safetensors"): "not compared",
        ("sd15.safetensors", "standard.safetensors"): "agrees",
        ("sd15.safetensors", "faceid-plusv2_sd15.bin"): "left out: no face pack is here",
    }
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "ipadapter-check").glob("sd15*.png"))) == 2
