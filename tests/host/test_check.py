"""`dev.py check`: small files in the published layouts through both sides, and what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import folder_paths
import numpy
import pytest
import torch
from check import every, ours, report, single, together
from check import question as questions
from check.compare import compare
from check.problem import CheckError
from check.question import Question
from conftest import ROOT
from kit.models import checkpoints, face_packs, small_files
from kit.models.small_files import LAYERS, RESAMPLER
from pack.ip_models.errors import IPAdapterError
from PIL import Image
from safetensors.torch import save_file

SAME = 1e-4
BROKEN = "broken.safetensors"
FACE = "ipadapter/faceid-plusv2_sd15.bin"


@pytest.fixture(scope="module", autouse=True)
def _own_folders() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    with small_files.own_folders():
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder: SD1.5 with few blocks, Flux and SD3.5 with few, adapters and encoders."""
    return small_files.write(tmp_path_factory.mktemp("models of a user"))


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


@pytest.mark.parametrize("adapter", ["dead.safetensors", "silent.safetensors"])
def test_an_adapter_that_changes_nothing_proves_nothing_and_the_report_keeps_secrets(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], adapter: str
) -> None:
    private = tmp_path / "holiday with somebody.png"
    Image.new("RGB", (90, 60), (200, 40, 40)).save(private)
    question = ask(models, "sd15", adapter, "H", image=private, prompt="a secret", precision="bf16")
    assert single.check(question, tmp_path / "out") == 2
    said = capsys.readouterr().out
    assert "it changes nothing" in said and "CHANGES NOTHING" in said
    (text,) = (tmp_path / "out").glob("*.json")
    (picture,) = (tmp_path / "out").glob("*.png")
    written = text.read_text("utf-8")
    found = json.loads(written)
    assert found["verdict"] == "changes nothing" and list(found["precisions"]) == ["bf16", "fp32"]
    assert all(one["agrees"] for one in found["precisions"].values())
    for secret in (str(tmp_path), str(models), str(Path.home()), "holiday", "secret"):
        assert secret not in written
    roles = [(file["role"], len(file["sha256"])) for file in found["files"]]
    assert roles == [("checkpoint", 64), ("adapter", 64), ("encoder", 64)]
    shown = Image.open(picture)
    assert shown.width >= 4 * 64 and shown.height >= 64
    assert len(set(shown.getdata())) > 100


BOTH = ("--checkpoint", "{here}", "--adapter", "{here}")


@pytest.fixture
def odd(tmp_path: Path, models: Path) -> Path:
    """Files that are not what their names say, and others that are no files."""
    folder = tmp_path / "odd"
    (folder / "folder").mkdir(parents=True)
    whole = (models / "checkpoints" / "sd15.safetensors").read_bytes()
    contents = {"text": b"no weights at all", "empty": b"", "cut": whole[: len(whole) // 2]}
    for name, content in contents.items():
        (folder / f"{name}.safetensors").write_bytes(content)
    (folder / "text.txt").write_text("no weights at all")
    torch.save({"weight": torch.zeros(2)}, folder / "pickle.safetensors")
    lora = checkpoints.fill(checkpoints.lora_shapes(LAYERS, 768, rank=2), seed=4)
    save_file(lora, folder / "lora.safetensors")
    wide = checkpoints.tiny_adapter("plus", [640] * 4, 2048, 1280, 16, **RESAMPLER)
    checkpoints.write(folder / "sdxl.safetensors", wide, "flat")
    pixels = numpy.zeros((90, 120, 4), "u1")
    pixels[20:60, 20:60] = 255
    Image.fromarray(pixels).save(folder / "clear.png")
    Image.fromarray(pixels[..., :3]).save(folder / "whole.jpg")
    photo = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(photo[: len(photo) // 2])
    Image.fromarray(pixels[..., 0].astype("u2") * 257).save(folder / "grey16.png")
    return folder


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no checkpoint was given: a check needs --checkpoint FILE and --adapter FILE"),
        (["--checkpoint", "{here}"], "no adapter was given"),
        (["--checkpoint", "none", "--adapter", "{here}"], "none is not there: the file of a whole"),
        (["--checkpoint", "{odd}/folder"], "folder is a folder: the file of a whole model"),
        (["--adapter", "{odd}"], "odd is a folder: the file of an IP-Adapter"),
        (["--encoder", "{odd}/empty.safetensors"], "empty.safetensors is empty: the file of an im"),
        (["--encoder", "{odd}/text.txt"], "text.txt ends with none of .safetensors"),
        (["--checkpoint", "{odd}/text.txt"], "text.txt ends with none of .safetensors"),
        (["--image", "{odd}"], "odd is a folder: a photo is needed, as --image FILE"),
        (["--image", "{odd}/none.png"], "none.png is not there: a photo"),
        (["--image", "{odd}/text.txt"], "text.txt is no picture"),
        (["--image", "{odd}/cut.jpg"], "cut.jpg is no whole picture"),
        (["--image", "{odd}/grey16.png"], "grey16.png has more than 8 bits"),
        (["--face", "{odd}/text.txt"], "text.txt is a file: the folder of a face pack"),
        (["--face", "{odd}/none.onnx"], "none.onnx is not there: the folder of a face pack"),
        (["--models", "{odd}/none"], "none is not there: a folder like ComfyUI's models"),
        (["--only-models"], "--only-models leaves no folder"),
        ([*BOTH, "--size", "100"], "--size 100 cannot"),
        ([*BOTH, "--size", "0"], "--size 0 cannot"),
        ([*BOTH, "--steps", "900"], "--steps 900 is out of range: 1 to 100"),
        ([*BOTH, "--steps", "0"], "--steps 0 is out of range"),
        ([*BOTH, "--steps", "-3"], "--steps -3 is out of range"),
        ([*BOTH, "--steps", "many"], "argument --steps: invalid int value: 'many'"),
        ([*BOTH, "--cfg", "nan"], "--cfg nan is out of range"),
        ([*BOTH, "--scale", "inf"], "--scale inf is out of range"),
        ([*BOTH, "--scale", "0"], "leaves the adapter"),
        ([*BOTH, "--seed", "1" * 30], "is out of range"),
        ([*BOTH, "--device", "gpu"], "--device gpu is not here: auto, cpu or"),
        ([*BOTH, "--precision", "fp64"], "argument --precision: invalid choice: 'fp64'"),
        ([*BOTH, "--other"], "unrecognized arguments: --other"),
        (["--all", "--steps", "0"], "--steps 0 is out of range"),
        (["--all", "--adapter", "none.bin"], "none.bin is not there"),
    ],
)
def test_wrong_options_are_one_sentence(
    models: Path, odd: Path, arguments: list[str], sentence: str
) -> None:
    here = str(models / "ipadapter" / "plus.safetensors")
    given = [one.replace("{here}", here).replace("{odd}", str(odd)) for one in arguments]
    with pytest.raises(CheckError) as error:
        questions.asked(questions.parser(None).parse_args(given))
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("out", ["text.txt", "text.txt/inside"])
def test_a_folder_that_takes_no_reports_is_told_before_comfyui_is_looked_for(
    models: Path, odd: Path, out: str
) -> None:
    here = str(models / "ipadapter" / "plus.safetensors")
    script = str(ROOT / "tests" / "check" / "run.py")
    command = [sys.executable, script, "--checkpoint", here, "--adapter", here]
    environment = os.environ | {"COMFYUI_PATH": str(odd)}
    command += ["--out", str(odd / out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith(f"check: no report can be written into {odd / out} (")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"checkpoint": "odd/text.safetensors"}, "text.safetensors is no model file"),
        ({"checkpoint": "odd/cut.safetensors"}, "cut.safetensors is cut off: "),
        ({"checkpoint": "odd/pickle.safetensors"}, "ending: call it pickle.bin"),
        ({"checkpoint": "odd/lora.safetensors"}, "lora.safetensors is a LoRA: an SD1.5, SDXL"),
        ({"checkpoint": "ipadapter/plus.safetensors"}, "needs ViT-H); it goes with --adapter"),
        ({"adapter": "checkpoints/sd15.safetensors"}, "base model (SD1.5); it goes with --chec"),
        ({"adapter": "odd/lora.safetensors"}, "lora.safetensors is a LoRA: an IP-Adapter"),
        ({"adapter": "odd/sdxl.safetensors"}, "for SDXL; sd15.safetensors is SD1.5: give an ad"),
        ({"adapter": "ipadapter/xlabs.safetensors"}, "is an adapter for Flux; sd15.safetensors is"),
        ({"adapter": "odd/pickle.safetensors"}, "ending: call it pickle.bin"),
        ({"encoder": "clip_vision/L"}, "L is ViT-L; plus.safetensors needs ViT-H: give that"),
        ({"encoder": "ipadapter/plus.safetensors"}, "needs ViT-H); it goes with --adapter"),
        ({"encoder": "odd/folder"}, "config.json cannot be read"),
        ({"adapter": FACE}, "give the folder of a face pack"),
        ({"adapter": FACE, "face": "odd/folder"}, "ships no face: give a photo"),
        (
            {"adapter": FACE, "face": "odd/folder", "image": "odd/whole.jpg"},
            "folder holds no .onnx file: the folder of a face pack",
        ),
    ],
)
def test_files_that_do_not_go_together_are_told_before_a_model_is_loaded(
    models: Path, odd: Path, changed: dict[str, str], sentence: str
) -> None:
    places = {k: odd.parent / v if v.startswith("odd") else models / v for k, v in changed.items()}
    question = replace(ask(models, "sd15", "plus.safetensors", "H"), **places)
    said: list[str] = []
    with pytest.raises((CheckError, IPAdapterError)) as error:
        compare(question, said.append)
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert said == []


def test_a_photo_without_a_face_is_told_before_the_checkpoint_is_loaded(
    models: Path, odd: Path, tmp_path: Path
) -> None:
    pack = face_packs.make_pack(tmp_path / "some_pack")
    photo = odd / "whole.jpg"
    question = replace(ask(models, "sd15", "plus.safetensors", "H"), face=pack, image=photo)
    said: list[str] = []
    with pytest.raises(CheckError, match="no face was found .* than whole.jpg as --image"):
        compare(replace(question, adapter=models / FACE), said.append)
    assert not any(line.startswith("Loading") for line in said)


def test_a_face_pack_that_another_hides_is_refused(tmp_path: Path) -> None:
    hidden = face_packs.make_pack(tmp_path / "twice")
    first = Path(folder_paths.models_dir) / "insightface" / "twice"
    first.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(hidden, first)
    try:
        with pytest.raises(CheckError, match="is a face pack called twice too"):
            together.enter_face_pack(hidden)
        assert together.enter_face_pack(first) == "twice"
    finally:
        shutil.rmtree(first)


def test_what_is_not_used_is_said(models: Path, odd: Path) -> None:
    question = ask(models, "sd15", "plus.safetensors", "H", face=odd, image=odd / "clear.png")
    notes = together.look(question).notes
    assert [note.split(":")[0] for note in notes] == [
        "plus.safetensors hears no face",
        "clear.png has transparent parts",
    ]


def test_an_encoder_in_a_cache_of_links_is_taken(models: Path, tmp_path: Path) -> None:
    blobs, shown = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    shutil.copytree(models / "clip_vision" / "H", blobs)
    shown.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (blobs / name).rename(blobs / f"blob of {name}")
        (shown / name).symlink_to(blobs / f"blob of {name}")
    question = replace(ask(models, "sd15", "plus.safetensors", "H"), encoder=shown)
    assert ours.set_up(question, together.look(question)).encoder_path == shown


@pytest.mark.parametrize(
    ("given", "tried", "left_out"),
    [
        (
            {"checkpoint": "checkpoints/flux.safetensors"},
            {("flux.safetensors", "xlabs.safetensors"), ("flux.safetensors", "instantx.bin")},
            {},
        ),
        (
            {"adapter": "moved.safetensors"},
            {("flux.safetensors", "moved.safetensors")},
            {"sd15.safetensors": "moved.safetensors does not fit it"},
        ),
        (
            {"checkpoint": "checkpoints/sd15.safetensors", "adapter": "ipadapter/plus.safetensors"},
            {("sd15.safetensors", "plus.safetensors")},
            {},
        ),
        (
            {"encoder": "clip_vision/L"},
            {("flux.safetensors", "xlabs.safetensors")},
            {"sd3.safetensors": "it needs SigLIP, and L is ViT-L"},
        ),
    ],
)
def test_all_is_narrowed_by_the_files_that_are_given(
    models: Path,
    tmp_path: Path,
    given: dict[str, str],
    tried: set[tuple[str, str]],
    left_out: dict[str, str],
) -> None:
    shutil.copyfile(models / "ipadapter" / "xlabs.safetensors", tmp_path / "moved.safetensors")
    ours.enter_folders(models, alone=True)
    (models / "checkpoints" / BROKEN).unlink(missing_ok=True)
    paths = {
        role: tmp_path / name if name.startswith("moved") else models / name
        for role, name in given.items()
    }
    arguments = [f"--{role}={path}" for role, path in paths.items()]
    options = questions.parser(None).parse_args(["--all", *arguments])
    assert questions.asked(options) is None
    pairs = list(every.found_pairs(options))
    assert {(one.checkpoint, one.adapter) for one in pairs if not one.skipped} == tried
    reasons = {one.checkpoint: one.skipped for one in pairs if one.skipped}
    assert reasons.items() >= left_out.items()
    for one in pairs:
        if not one.skipped:
            command = dict(zip(one.command[::2], one.command[1::2], strict=True))
            assert all(command[f"--{role}"] == str(path) for role, path in paths.items())


def test_all_pairs_are_walked_and_a_failure_stops_nothing(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command itself, from another folder, with what this process found as its models."""
    some = {
        "checkpoints": ("sd15.safetensors", BROKEN),
        "ipadapter": ("shallow.safetensors", "standard.safetensors", Path(FACE).name, BROKEN),
    }
    for folder in some:
        (models / folder / BROKEN).write_bytes(b"no weights at all")
    for folder, names in some.items():
        (tmp_path / "models" / folder).mkdir(parents=True)
        for name in names:
            os.link(models / folder / name, tmp_path / "models" / folder / name)
    shutil.copytree(models / "clip_vision" / "H", tmp_path / "models" / "clip_vision" / "H")
    script = str(ROOT / "tests" / "check" / "run.py")
    command = [sys.executable, script, "--from", str(tmp_path), "--all", "--models", "models"]
    small = ["--size", "64", "--steps", "1", "--device", "cpu", "--only-models"]
    small += ["--prompt", "my own words"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, timeout=400)
    found = json.loads((tmp_path / "ipadapter-check" / "summary.json").read_text("utf-8"))
    results = {(one["checkpoint"], one["adapter"]): one["result"] for one in found}
    assert results.pop(("-", BROKEN)).startswith(f"left out: {BROKEN} is no model file")
    assert results.pop((BROKEN, "-")).startswith("left out: it cannot be read")
    assert results == {
        ("sd15.safetensors", "shallow.safetensors"): "not compared",
        ("sd15.safetensors", "standard.safetensors"): "agrees",
        ("sd15.safetensors", "faceid-plusv2_sd15.bin"): "left out: no face pack is here",
    }
    assert done.returncode == 0, done.stdout + done.stderr
    reports = list((tmp_path / "ipadapter-check").glob("sd15*.json"))
    assert len(reports) == len(list((tmp_path / "ipadapter-check").glob("sd15*.png"))) == 2
    said = [json.loads(one.read_text("utf-8"))["settings"]["prompt"] for one in reports]
    assert said == ["the user's own"] * 2


def test_reports_of_one_adapter_in_two_formats_are_two() -> None:
    checkpoint = Path("sd15.safetensors")
    names = {single.name_of(checkpoint, Path(f"plus{end}")) for end in (".bin", ".safetensors")}
    assert names == {"sd15.safetensors+plus.bin", "sd15.safetensors+plus.safetensors"}
