"""`dev.py check` with files that are not whole, not usual or not finite: what it says, and when."""

from __future__ import annotations

import copy
import json
import random
import shutil
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.ldm.models.autoencoder
import comfy.supported_models
import comfy.utils
import pytest
import torch
from check import every, ours, report, single, stored, whole
from check.base import diffusion_tensors
from check.compare import Comparison, compare
from check.problem import CheckError
from check.question import Question
from kit.models import checkpoints, small_files
from kit.models.small_files import PREFIX
from pack.ip_models.errors import IPAdapterError
from pack.ip_models.references.features import ImageFeatures
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
SAME = 1e-4
MISSING = "middle_block.1.norm.weight"


@pytest.fixture(scope="module", autouse=True)
def _own_folders() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    with small_files.own_folders():
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `small_files.write`."""
    return small_files.write(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def question(models: Path) -> Question:
    """A pair that agrees."""
    return Question(
        models / "checkpoints" / "sd15.safetensors",
        models / "ipadapter" / "plus.safetensors",
        models / "clip_vision" / "H",
        size=64,
        steps=2,
    )


@pytest.fixture(scope="module")
def compared(question: Question) -> Comparison:
    """It, in single precision."""
    return compare(question, lambda line: None)


def refusal(question: Question) -> str:
    """The sentence that ends a check before it begins to load."""
    said: list[str] = []
    with pytest.raises((CheckError, IPAdapterError)) as error:
        compare(question, said.append)
    assert said == [] and "\n" not in str(error.value)
    return str(error.value)


def without(*starts: str) -> Callable[[Tensors], Tensors]:
    """A change of a file: tensors that are missing."""
    return lambda tensors: {k: v for k, v in tensors.items() if not k.startswith(starts)}


def changed(path: Path, change: Callable[[Tensors], Tensors], to: Path) -> Path:
    """A file with other tensors."""
    tensors = change(load_file(path))
    if to.suffix == ".ckpt":
        torch.save({"state_dict": tensors, "epoch": 3}, to)
    else:
        save_file(tensors, to)
    return to


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        (
            "sd15.safetensors",
            without(PREFIX + MISSING),
            f"lacks 1 of 206 tensors of its diffusion model, the first of them is {MISSING}: a wh",
        ),
        ("sd15.ckpt", without(PREFIX + "time_embed.2"), "lacks 2 of 206 tensors of its diffusion"),
        (
            "sd15.safetensors",
            without(PREFIX + "input_blocks.0.0.weight"),
            "holds blocks of a model, and not what tells ComfyUI which: tensors are missing in it",
        ),
        (
            "flux.safetensors",
            without(PREFIX + "double_blocks.1."),
            f"has {PREFIX}double_blocks.2 and nothing of {PREFIX}double_blocks.1: a whole file is",
        ),
        (
            "sd3.safetensors",
            without(PREFIX + "joint_blocks.1.x_block.attn.qkv.weight"),
            "lacks 1 of 83 tensors of its diffusion model, the first of them is joint_blocks.1.x",
        ),
        (
            "sd15.safetensors",
            lambda tensors: tensors | {PREFIX + "time_embed.2.bias": torch.zeros(7)},
            "holds time_embed.2.bias in another size than its other tensors need",
        ),
    ],
)
def test_a_base_model_that_is_not_whole_is_told_before_it_is_loaded(
    question: Question,
    tmp_path: Path,
    file: str,
    change: Callable[[Tensors], Tensors],
    sentence: str,
) -> None:
    path = question.checkpoint.with_name(file).with_suffix(".safetensors")
    cut = changed(path, change, tmp_path / f"cut {file}")
    assert refusal(replace(question, checkpoint=cut)).startswith(f"cut {file} {sentence}")


def _whole_checkpoint() -> Tensors:
    """SD1.5 with text encoder and VAE, by the host's own networks, without data."""
    config = comfy.supported_models.SD15(small_files.small_config())
    sizes: dict[str, Any] = dict(double_z=True, z_channels=4, resolution=256, in_channels=3)
    sizes |= dict(out_ch=3, ch=128, ch_mult=[1, 2, 4, 4], num_res_blocks=2, dropout=0.0)
    with torch.device("meta"):
        unet = config.get_model({}, "", device="meta").diffusion_model
        vae = comfy.ldm.models.autoencoder.AutoencoderKL(
            ddconfig={**sizes, "attn_resolutions": []}, embed_dim=4
        )
        text = config.clip_target().clip(dtype=torch.float16, device="meta", model_options={})
    return {
        **{PREFIX + key: one for key, one in unet.state_dict().items()},
        **{f"first_stage_model.{key}": one for key, one in vae.state_dict().items()},
        **{k.replace("clip_l.", "cond_stage_model."): v for k, v in text.state_dict().items()},
    }


def test_text_encoder_and_vae_have_to_be_whole_too() -> None:
    path, file = Path("some.safetensors"), _whole_checkpoint()
    whole.require_model(path, file)
    whole.require_model(path, without("first_stage_model.", "cond_stage_model.")(file))
    layer = "transformer.text_model.encoder.layers.11.mlp.fc1.weight"
    with pytest.raises(CheckError, match="lacks 1 of 198 tensors of its text encoder, .*11.mlp"):
        whole.require_model(path, without(f"cond_stage_model.{layer}")(file))
    with pytest.raises(CheckError, match="lacks 1 of 248 tensors of its VAE, .* is decoder.conv_i"):
        whole.require_model(path, without("first_stage_model.decoder.conv_in.bias")(file))

    with pytest.raises(CheckError, match="lacks 1 of 248 tensors of its VAE, .* is post_quant_con"):
        whole.require_model(path, without("first_stage_model.post_quant_conv.weight")(file))
    with pytest.raises(CheckError, match="of its VAE, the first of them is decoder.conv_in.weight"):
        whole.require_model(path, without("first_stage_model.decoder.conv_in.weight")(file))


def _full_unet(kind: type[comfy.supported_models.SD15], **sizes: Any) -> Tensors:
    """All tensors of a UNet with four levels, without data."""
    config = small_files.small_config() | dict(
        num_res_blocks=[2] * 4,
        channel_mult=[1, 2, 4, 4],
        transformer_depth=[1] * 6 + [0] * 2,
        transformer_depth_output=[1] * 9 + [0] * 3,
    )
    with torch.device("meta"):
        unet = kind(config | sizes).get_model({}, "", device="meta").diffusion_model
    return {PREFIX + key: one for key, one in unet.state_dict().items()}


def test_sd2_is_looked_at_although_it_tells_its_sort_by_values() -> None:
    file = _full_unet(comfy.supported_models.SD20, **small_files.SD2)
    whole.require_model(Path("v2-1_768.safetensors"), file)
    with pytest.raises(CheckError, match="v2-1_768.safetensors lacks 2 of 686 tensors"):
        whole.require_model(Path("v2-1_768.safetensors"), without(PREFIX + "out.0")(file))


def test_sd2_is_compared(question: Question, tmp_path: Path) -> None:
    base, adapter = tmp_path / "sd2.safetensors", tmp_path / "adapter.safetensors"
    save_file(small_files.small_unet(comfy.supported_models.SD20, **small_files.SD2), base)
    tensors = checkpoints.tiny_adapter("standard", small_files.LAYERS, 1024, 1024, 4)
    checkpoints.write(adapter, small_files.louder(tensors), "flat")
    asked = replace(question, checkpoint=base, adapter=adapter)
    found = report.facts(compare(asked, lambda line: None), asked)
    assert found["verdict"] == "agrees" and found["precisions"]["fp32"]["effect of the adapter"] > 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("middle_block.1.proj_in.weight", "has middle_block.1.norm.weight and not what it belongs"),
        ("output_blocks.4.0.in_layers.0.weight", "holds blocks of a model, and not what tells"),
    ],
)
def test_what_comfyui_counts_wrongly_without_is_told(name: str, sentence: str) -> None:
    file = _full_unet(comfy.supported_models.SD15)
    lcm = {PREFIX + "time_embed.cond_proj.weight": torch.empty(320, 256, device="meta")}
    whole.require_model(Path("some.safetensors"), file | lcm)
    with pytest.raises(CheckError, match=f"some.safetensors {sentence}"):
        whole.require_model(Path("some.safetensors"), without(PREFIX + name)(file))


def test_an_adapter_that_is_not_whole_is_told(question: Question, tmp_path: Path) -> None:
    name = "image_proj.layers.1.0.to_q.weight"
    cut = changed(question.adapter, without(name), tmp_path / "cut.safetensors")
    assert "cut.safetensors has no tensor layers.1.0.to_q" in refusal(
        replace(question, adapter=cut)
    )


def test_a_folder_of_an_encoder_that_is_not_whole_is_told(
    question: Question, tmp_path: Path
) -> None:
    assert question.encoder is not None
    folder = shutil.copytree(question.encoder, tmp_path / "cut encoder")
    file = folder / "model.safetensors"
    (name,) = (key for key in load_file(file) if key.endswith("layers.1.mlp.fc1.bias"))
    changed(file, without(name), file)
    sentence = refusal(replace(question, encoder=folder))
    assert "cut encoder lacks 1 of 40 tensors of its image encoder" in sentence


def test_a_file_of_an_encoder_without_its_last_layers_is_told(
    question: Question, tmp_path: Path
) -> None:
    assert question.encoder is not None
    file = shutil.copyfile(question.encoder / "model.safetensors", tmp_path / "short.safetensors")
    sentence = "short.safetensors has 2 of the 32 layers of an image encoder that is 1280 wide"
    assert refusal(replace(question, encoder=file)).startswith(sentence)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.jpg", b"a picture")


NOISE = random.Random(3).randbytes(5000)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: path.write_bytes(b"\1" + NOISE), "is no model file"),
        (lambda path: path.write_bytes(b"\x80" + NOISE), "is cut off or damaged"),
        (lambda path: path.write_bytes(b"\x80\2" + NOISE), "is cut off or damaged"),
        (lambda path: path.write_text("Access denied"), "is no model file"),
        (lambda path: path.write_text("<!DOCTYPE html><html>"), "is a web page"),
        (_zip, "is cut off or damaged"),
        (lambda path: torch.save({"epoch": 3}, path), "is no model that ComfyUI knows"),
        (
            lambda path: torch.save({"home": Path("here")}, path),
            "or holds code that ComfyUI does",
        ),
        (lambda path: torch.save([torch.zeros(2)], path), "holds a list instead of named tensors"),
        (lambda path: torch.save({"state_dict": 5}, path), "is no model that ComfyUI knows"),
    ],
)
def test_a_ckpt_that_is_no_model_is_told(
    question: Question, tmp_path: Path, write: Callable[[Path], object], sentence: str
) -> None:
    path = tmp_path / "some.ckpt"
    write(path)
    said = refusal(replace(question, checkpoint=path))
    assert said.startswith("some.ckpt ") and sentence in said


def test_a_ckpt_with_objects_of_a_training_is_looked_into(
    question: Question, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Lightning saved those of SD1.5, whose class the host has a stand-in for."""
    module = types.ModuleType("model_checkpoint")
    vars(module)["ModelCheckpoint"] = comfy.utils.ModelCheckpoint
    place = comfy.utils.ModelCheckpoint.__module__  # where no Lightning is
    for name in (place, place.rpartition(".")[0], place.partition(".")[0]):
        monkeypatch.setitem(sys.modules, name, module)
    tensors = load_file(question.checkpoint)
    del tensors[PREFIX + MISSING]
    path = tmp_path / "old.ckpt"
    torch.save({"state_dict": tensors, "callbacks": [comfy.utils.ModelCheckpoint()]}, path)
    assert "old.ckpt lacks 1 of 206 tensors" in refusal(replace(question, checkpoint=path))


def _wider(key: str, channels: int) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        weight = tensors[PREFIX + key]
        return tensors | {PREFIX + key: torch.zeros(len(weight), channels, *weight.shape[2:])}

    return change


@pytest.mark.parametrize(
    ("file", "key", "channels", "sentence"),
    [
        ("sd15", "input_blocks.0.0.weight", 9, "is an inpainting model (9 input channels where 4"),
        ("sd15", "input_blocks.0.0.weight", 8, "is an InstructPix2Pix model"),
        ("flux", "img_in.weight", 384, "is a Flux Fill model for inpainting"),
        ("flux", "img_in.weight", 128, "is a Flux Depth or Canny model"),
    ],
)
def test_a_model_that_wants_more_than_a_prompt_is_refused_and_left_out(
    models: Path, tmp_path: Path, file: str, key: str, channels: int, sentence: str
) -> None:
    (tmp_path / "checkpoints").mkdir()
    path = changed(
        models / "checkpoints" / f"{file}.safetensors",
        _wider(key, channels),
        tmp_path / "checkpoints" / "wide.safetensors",
    )
    question = Question(path, models / "ipadapter" / "plus.safetensors")
    needed = "a model that paints from a prompt alone is needed, as --checkpoint FILE"
    said = refusal(question)
    assert f"wide.safetensors {sentence}" in said and said.endswith(needed)
    ours.enter_folders(tmp_path, alone=True)
    ((name, _, reason),) = every.bases()
    assert (name, reason) == ("wide.safetensors", said)


def _strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_are_not_finite_prove_nothing(
    question: Question, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(tensors: Tensors) -> Tensors:
        return tensors | {PREFIX + "out.2.bias": torch.full((4,), torch.nan)}

    path = changed(question.checkpoint, spoil, tmp_path / "spoiled.safetensors")
    assert single.check(replace(question, checkpoint=path), tmp_path / "out") == 2
    said = capsys.readouterr().out
    assert "NOT FINITE" in said and "AGREE" not in said and "differ" not in said
    for side in ("ComfyUI", "diffusers"):
        for run in ("with", "without"):
            assert f"not finite: fp32: {side} {run} the adapter, from step 1 of 2" in said
    (text,) = (tmp_path / "out").glob("*.json")
    found = _strict(text.read_text("utf-8"))
    assert found["verdict"] == "not finite"
    assert found["precisions"]["fp32"]["relative L2 per step with the adapter"] == [None, None]
    assert found["precisions"]["fp32"]["agrees"] is False


@pytest.mark.parametrize(("title", "bad"), [("theirs", torch.nan), ("ours", torch.inf)])
def test_one_side_that_is_not_finite_is_named_with_its_step(
    compared: Comparison, question: Question, tmp_path: Path, title: str, bad: float
) -> None:
    made = copy.copy(compared)
    side = getattr(compared.both["fp32"], title)
    heard = [side.heard[0], torch.full_like(side.heard[1], bad)]
    both = replace(compared.both["fp32"], **{title: replace(side, heard=heard)})
    made.both = {"fp32": both}
    found = report.facts(made, question)
    name = {"theirs": "diffusers", "ours": "ComfyUI"}[title]
    assert found["verdict"] == "not finite"
    assert found["not finite"] == [f"fp32: {name} with the adapter, from step 2 of 2"]
    text, _ = report.save(found, made, tmp_path, "some")
    assert _strict(text.read_text("utf-8")) == found
    assert any("no number" in line for line in report.lines(found))


def test_features_that_are_not_finite_are_named_with_their_side(
    compared: Comparison, question: Question
) -> None:
    made = copy.copy(compared)
    said = compared.their_embeds
    assert said is not None and isinstance(said.embeds, ImageFeatures)
    assert said.embeds.penultimate is not None
    bad = torch.full_like(said.embeds.penultimate, torch.inf)
    made.their_embeds = replace(said, embeds=replace(said.embeds, penultimate=bad))
    found = report.facts(made, question)
    assert found["verdict"] == "not finite"
    assert found["not finite"] == ["diffusers: the penultimate feature of the image encoder"]


def test_the_walk_ends_with_what_its_pairs_prove() -> None:
    left = f"{every.LEFT_OUT}no face pack is here"
    assert every.exit_code(["agrees", "not compared", left]) == 0
    assert every.exit_code(["agrees", "not finite", left]) == 2
    assert every.exit_code(["agrees", "changes nothing"]) == 2
    assert every.exit_code(["changes nothing", "differs"]) == 1
    assert every.exit_code(["agrees", "failed (exit code 9)", "not finite"]) == 1


def test_models_that_differ_without_the_adapter_do_not_agree(
    compared: Comparison, question: Question
) -> None:
    made = copy.copy(compared)
    theirs = compared.both["fp32"].theirs
    assert theirs is not None
    plain, heard = ([one * 1.4 for one in trace] for trace in (theirs.plain, theirs.heard))
    theirs = replace(theirs, plain=plain, heard=heard)
    made.both = {"fp32": replace(compared.both["fp32"], theirs=theirs)}
    found = report.facts(made, question)
    assert found["verdict"] == "differs"
    assert "the models differ without the adapter already" in "\n".join(report.lines(found))


def test_what_changes_nothing_proves_nothing_but_may_differ() -> None:
    def one(effect: float, agrees: bool | None) -> dict[str, Any]:
        return {"effect of the adapter": effect} | ({} if agrees is None else {"agrees": agrees})

    assert report.verdict({"fp16": one(0.5, True), "fp32": one(0.5, True)}) == "agrees"
    assert report.verdict({"fp16": one(0.5, True), "fp32": one(0.01, True)}) == "changes nothing"
    assert report.verdict({"fp32": one(0.0, None)}) == "changes nothing"
    assert report.verdict({"fp32": one(0.0, False)}) == "differs"
    assert report.verdict({"fp32": one(0.5, None)}) == "not compared"
    assert report.verdict({"fp32": one(0.5, True)}, ["fp32: a step"]) == "not finite"


def test_the_report_says_what_files_hold_and_how_the_encoder_ran(
    compared: Comparison, question: Question
) -> None:
    found = report.facts(compared, question)
    held = {file["role"]: list(file["holds"]) for file in found["files"]}
    assert held == {"checkpoint": ["fp32"], "adapter": ["fp32"], "encoder": ["fp16"]}
    precision = {"weights": "fp16", "work": "fp32"}
    assert found["image encoder"] == {"ComfyUI": precision, "diffusers": precision}
    lines = list(report.lines(found))
    assert "  checkpoint    holds fp32" in lines and "  encoder       holds fp16" in lines
    assert "  image encoder ran in ComfyUI with weights in fp16, work in fp32" in lines


def test_an_encoder_in_another_precision_than_comfyuis_is_told(
    question: Question, tmp_path: Path
) -> None:
    assert question.encoder is not None
    folder = shutil.copytree(question.encoder, tmp_path / "single")
    file = folder / "model.safetensors"
    changed(file, lambda tensors: {k: v.float() for k, v in tensors.items()}, file)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float32"}), "utf-8")
    asked = replace(question, encoder=folder)
    found = report.facts(compare(asked, lambda line: None), asked)
    assert found["image encoder"] == {
        "ComfyUI": {"weights": "fp16", "work": "fp32"},
        "diffusers": {"weights": "fp32", "work": "fp32"},
    }
    lines = "\n".join(report.lines(found))
    assert "in transformers with weights in fp32, work in fp32" in lines


def test_weights_packed_for_nodes_of_other_packs_are_refused(
    question: Question, tmp_path: Path
) -> None:
    def pack(tensors: Tensors) -> Tensors:
        key = PREFIX + "middle_block.1.transformer_blocks.0.attn2.to_q.weight"
        return tensors | {key: torch.zeros(160 * 320, 1, dtype=torch.uint8)}

    path = changed(question.checkpoint, pack, tmp_path / "nf4.safetensors")
    assert "nf4.safetensors holds weights packed" in refusal(replace(question, checkpoint=path))


def _as_type(dtype: torch.dtype) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value.to(dtype) for key, value in tensors.items()}


def _scaled(tensors: Tensors) -> Tensors:
    """As scaled fp8 is published: a scale beside each weight of a linear layer."""
    made: Tensors = {PREFIX + "scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    for key, value in tensors.items():
        made[key] = value
        if key.endswith("attn2.to_q.weight"):
            scale = value.abs().max() / 448
            made[key] = (value / scale).to(torch.float8_e4m3fn)
            made[key.replace(".weight", ".scale_weight")] = scale
    return made


def test_plain_fp8_is_compared_and_named(question: Question, tmp_path: Path) -> None:
    path = changed(
        question.checkpoint, _as_type(torch.float8_e4m3fn), tmp_path / "small.safetensors"
    )
    asked = replace(question, checkpoint=path, without_fp32=True)
    found = report.facts(compare(asked, lambda line: None), asked)
    assert list(found["files"][0]["holds"]) == ["fp8 e4m3"]
    assert found["verdict"] == "agrees"
    assert max(found["precisions"]["fp32"]["relative L2 per step with the adapter"]) < SAME


def test_a_scaled_text_encoder_leaves_nothing_out() -> None:
    names = ("text_encoders.t5xxl.transformer.scaled_fp8", *(f"{PREFIX}{n}.w" for n in range(9)))
    assert not stored.quantised(diffusion_tensors(dict.fromkeys(names)))
    assert stored.quantised(diffusion_tensors(dict.fromkeys((*names, f"{PREFIX}scaled_fp8"))))


def test_scaled_fp8_is_left_out_with_a_sentence(question: Question, tmp_path: Path) -> None:
    path = changed(question.checkpoint, _scaled, tmp_path / "scaled.safetensors")
    asked = replace(question, checkpoint=path)
    found = report.facts(compare(asked, lambda line: None), asked)
    assert found["verdict"] == "not compared"
    assert set(found["files"][0]["holds"]) == {"fp32", "fp8 e4m3"}
    (reason,) = found["not compared"]
    assert "scales" in reason and "which diffusers does not read" in reason


def test_types_have_the_names_people_call_them_by() -> None:
    types = (torch.float8_e5m2, torch.bfloat16, torch.float16, torch.int8)
    tensors = [torch.zeros(4 - n, dtype=dtype) for n, dtype in enumerate(types)]
    assert stored.counted(tensors) == {"fp8 e5m2": 4, "bf16": 3, "fp16": 2, "int8": 1}
