"""Adapters of people who train their own: read as what they are, or told what is missing."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from accelerate import Accelerator
from kit.models import tiny
from kit.models.checkpoints import contained, write
from kit.models.tiny import Twins
from kit.models.training import Training, below, by_processor
from pack.ip_models.adapter.processors import numbered, read_attention
from pack.ip_models.errors import IPAdapterError
from pack.nodes.host.doctor.misplaced import misplaced
from pack.nodes.host.files import checkpoint, folders
from pack.nodes.host.model.adapter import LoadedAdapter, load, read_file_spec
from pack.nodes.host.routes import describe
from safetensors.torch import (  # pyright: ignore[reportUnknownVariableType]
    load_file,
    save_file,
    save_model,
)
from torch import Tensor

FAMILIES = ("sd1", "sdxl")
KINDS = ("standard", "plus", "FaceID", "FaceID plus")
BOTH = [(family, kind) for family in FAMILIES for kind in KINDS]
SOME = [("sd1", "standard"), ("sd1", "FaceID plus"), ("sdxl", "FaceID")]
Saved = dict[str, Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of adapters, the only one that is searched for them."""
    names = ("custom_nodes", folders.ADAPTERS, folders.ENCODERS, folders.EMBEDS)
    endings = set(folder_paths.supported_pt_extensions)
    for name in names:
        (tmp_path / name).mkdir()
    table = {name: ([str(tmp_path / name)], endings) for name in names}
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path / folders.ADAPTERS


@cache
def twin_of(family: str) -> Twins:
    return tiny.twins(family)


@cache
def adapter(family: str, kind: str) -> dict[str, Tensor]:
    tensors = tiny.adapter_tensors(twin_of(family), kind)
    return tensors | (tiny.lora_tensors(twin_of(family)) if "FaceID" in kind else {})


@cache
def training(family: str, kind: str) -> Training:
    return Training(tiny.twins(family).unet, adapter(family, kind))


def held(loaded: LoadedAdapter) -> dict[str, Tensor]:
    """Everything that was loaded, under published names."""
    lora = {f"ip_adapter.{key}": value for key, value in loaded.lora.items()}
    return loaded.patcher.model.state_dict() | lora


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def said(path: Path) -> str:
    """The sentence with which a file is refused, wherever it is asked for."""
    with pytest.raises(IPAdapterError) as refused:
        read_file_spec(str(path))
    with pytest.raises(IPAdapterError) as again:
        load(str(path))
    assert str(again.value) == str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("family", "kind", "safe"),
    [(*one, True) for one in BOTH] + [(*one, False) for one in SOME],
)
def test_what_accelerate_saves_is_read_tensor_for_tensor(
    home: Path, family: str, kind: str, safe: bool
) -> None:
    accelerator = Accelerator(cpu=True)
    accelerator.prepare(training(family, kind))
    accelerator.save_state(str(home / "checkpoint-5"), safe_serialization=safe)
    name = f"checkpoint-5/{'model.safetensors' if safe else 'pytorch_model.bin'}"
    assert name in folders.files(folders.ADAPTERS)
    path = home / name
    if safe:  # which leaves out the numbers, because the UNet comes first
        assert not any(key.startswith("adapter_modules.") for key in load_file(path))
    assert same(held(load(str(path))), adapter(family, kind))
    assert describe(name) == read_file_spec(str(path)).describe()


@pytest.mark.parametrize(("family", "kind"), SOME)
def test_a_model_saved_by_safetensors_is_read(home: Path, family: str, kind: str) -> None:
    save_model(training(family, kind), str(home / "a.safetensors"))
    keys = load_file(home / "a.safetensors").keys()
    assert not any(".processor." in key for key in keys)  # here the numbers are kept
    assert same(held(load(str(home / "a.safetensors"))), adapter(family, kind))


def dotted(flat: Mapping[str, Tensor], change: Callable[[str], str]) -> Saved:
    return {change(key): value for key, value in flat.items()}


def named(family: str, kind: str) -> Saved:
    """As tencent-ailab/IP-Adapter#166 advises to convert: the UNet's names within ip_adapter."""
    layers = by_processor(twin_of(family).unet, adapter(family, kind))
    return {"image_proj": below(adapter(family, kind), "image_proj."), "ip_adapter": layers}


def ldm_name(name: str) -> str:
    """The name of an SD1.5 attention in the original code."""
    name = name.replace(".processor", "").replace(".attentions", "")
    if name.startswith("mid_block"):
        return name.replace("mid_block.0", "model.diffusion_model.middle_block.1")
    block, level, number, rest = name.split(".", 3)
    if block == "down_blocks":
        return f"model.diffusion_model.input_blocks.{3 * int(level) + int(number) + 1}.1.{rest}"
    return f"model.diffusion_model.output_blocks.{3 * int(level) + int(number)}.1.{rest}"


WRAPPERS: dict[str, Callable[[Saved], Saved]] = {
    "by processor": lambda saved: saved,
    "in no table": lambda saved: {
        **{f"image_proj.{k}": v for k, v in saved["image_proj"].items()},
        **saved["ip_adapter"],
    },
    "distributed": lambda saved: {
        **{f"module.image_proj_model.{k}": v for k, v in saved["image_proj"].items()},
        **{f"module.unet.{k}": v for k, v in saved["ip_adapter"].items()},
    },
    "compiled": lambda saved: {
        **{f"image_proj_model._orig_mod.{k}": v for k, v in saved["image_proj"].items()},
        **{f"unet._orig_mod.{k}": v for k, v in saved["ip_adapter"].items()},
        "unet._orig_mod.conv_in.weight": torch.zeros(4, 4, 3, 3),
    },
    "Lightning": lambda saved: {
        "state_dict": {
            **{f"ip_adapter.image_proj_model.{k}": v for k, v in saved["image_proj"].items()},
            **{f"ip_adapter.unet.{k}": v for k, v in saved["ip_adapter"].items()},
            "ip_adapter.unet.conv_in.weight": torch.zeros(4, 4, 3, 3),
            "ip_adapter.image_encoder.conv.weight": torch.zeros(4, 4, 3, 3),
        },
        "global_step": 5,
    },
    "a table for each layer": lambda saved: {
        "image_proj_model": saved["image_proj"],
        "ip_attn": {
            key.partition(".processor.")[0]: {
                other.partition(".processor.")[2]: v
                for other, v in saved["ip_adapter"].items()
                if other.partition(".processor.")[0] == key.partition(".processor.")[0]
            }
            for key in saved["ip_adapter"]
        },
    },
    "DeepSpeed's process": lambda saved: {
        "module": {
            **{f"image_proj_model.{k}": v for k, v in saved["image_proj"].items()},
            **{f"unet.{k}": v for k, v in saved["ip_adapter"].items()},
        },
        "buffer_names": [],
        "optimizer": None,
        "param_shapes": [{"a": torch.Size((1, 2))}],
        "ds_config": {"zero_optimization": {"stage": 2}},
    },
    "averaged beside the last": lambda saved: {
        "step": torch.tensor(3),
        **{f"ema_model.image_proj_model.{k}": v for k, v in saved["image_proj"].items()},
        **{f"ema_model.unet.{k}": v for k, v in saved["ip_adapter"].items()},
        **{f"online_model.image_proj_model.{k}": v + 1 for k, v in saved["image_proj"].items()},
        **{f"online_model.unet.{k}": v + 1 for k, v in saved["ip_adapter"].items()},
    },
    "only the projection averaged": lambda saved: {
        **{f"image_proj_model.{k}": v for k, v in saved["image_proj"].items()},
        **{f"unet.{k}": v for k, v in saved["ip_adapter"].items()},
        **{f"ema.image_proj_model.{k}": v + 1 for k, v in saved["image_proj"].items()},
    },
    "of the first adapter of diffusers": lambda saved: {
        "image_proj": saved["image_proj"],
        "unet": {
            k.replace("_ip.weight", "_ip.0.weight"): v for k, v in saved["ip_adapter"].items()
        },
    },
    "half of each layer by number": lambda saved: {
        **{f"image_proj_model.{k}": v for k, v in saved["image_proj"].items()},
        **{f"unet.{k}": v for k, v in saved["ip_adapter"].items() if "to_v_" in k},
        **{
            f"adapter_modules.{k.removeprefix('ip_adapter.')}": v
            for k, v in adapter("sd1", "standard").items()
            if "to_k_ip" in k
        },
    },
    "names of the original code": lambda saved: {
        "image_proj": saved["image_proj"],
        **{ldm_name(k): v for k, v in saved["ip_adapter"].items()},
    },
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_names_that_are_met_mean_the_same_adapter(home: Path, wrapper: str) -> None:
    torch.save(WRAPPERS[wrapper](named("sd1", "standard")), home / "mine.bin")
    loaded = load(str(home / "mine.bin"))
    assert same(held(loaded), adapter("sd1", "standard"))


@pytest.mark.parametrize(("family", "kind"), [one for one in BOTH if one != ("sdxl", KINDS[-1])])
def test_an_adapter_by_processors_gives_the_same_keys_and_values(
    home: Path, family: str, kind: str
) -> None:
    torch.save(named(family, kind), home / "mine.bin")
    mine = load(str(home / "mine.bin"))
    published = tiny.load_tensors(home, adapter(family, kind), "published")
    face = "FaceID" in kind
    crops = kind == "FaceID plus"
    given = tiny.random_faces(1, crops=crops) if face else tiny.random_features(1)
    one, other = mine.key_values(given), published.key_values(given)
    assert torch.equal(one.cond, other.cond) and torch.equal(one.uncond, other.uncond)
    assert one.widths == other.widths
    assert same(mine.lora, published.lora) and bool(mine.lora) is face


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_counted_as_the_attention_processors_of_diffusers(family: str) -> None:
    names = list(twin_of(family).unet.attn_processors)
    shuffled = random.Random(0).sample(names, len(names))
    found = [read_attention(f"module.unet.{name}.to_k_ip.weight") for name in shuffled]
    numbers = numbered(one for one in found if one)
    assert [names[numbers[one]] for one in found if one] == shuffled


def test_the_layers_of_a_smaller_unet_are_counted_by_the_unet_beside_them(home: Path) -> None:
    """One layer has lost both its tensors: the others keep their numbers, and it is named."""
    saved = named("sd1", "standard")
    lost = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor"
    layers = {k: v for k, v in saved["ip_adapter"].items() if not k.startswith(lost)}
    unet = twin_of("sd1").unet.state_dict()
    torch.save({"image_proj": saved["image_proj"], "unet": {**unet, **layers}}, home / "mine.bin")
    assert "has no tensor 5.to_k_ip.weight" in said(home / "mine.bin")


def without(key: str) -> Saved:
    saved = named("sd1", "standard")
    return {part: {k: v for k, v in saved[part].items() if k != key} for part in saved}


K = "down_blocks.1.attentions.1.transformer_blocks.0.attn2.processor.to_k_ip.weight"
REFUSED: dict[str, tuple[Callable[[], Saved], str]] = {
    # What the README of tencent-ailab makes of a model.safetensors (#166, #172).
    "no layers": (
        lambda: {**named("sd1", "standard"), "ip_adapter": {}},
        "an image projection and no attention layers (to_k_ip and to_v_ip)",
    ),
    "no projection": (
        lambda: {"ip_adapter": named("sd1", "standard")["ip_adapter"]},
        "attention layers and no image projection (image_proj)",
    ),
    "a key is missing": (
        lambda: without(K),
        f"has no tensor 7.to_k_ip.weight ({K.removesuffix('.processor.to_k_ip.weight')})",
    ),
    "the projection's bias is missing": (lambda: without("proj.bias"), "has no tensor proj.bias"),
    "the UNet of diffusers with an adapter in it": (
        lambda: {
            **named("sd1", "standard")["ip_adapter"],
            "encoder_hid_proj.image_projection_layers.0.norm.weight": torch.ones(768),
        },
        "as diffusers has it in memory",
    ),
    "two adapters": (
        lambda: {
            name: {
                "image_proj": named("sd1", "standard")["image_proj"],
                "unet": named("sd1", "standard")["ip_adapter"],
            }
            for name in ("first", "second")
        },
        "first.image_proj.proj.weight and second.image_proj.proj.weight",
    ),
    "averaged without names": (
        lambda: {"decay": 0.999, "shadow_params": [torch.zeros(4, 4)]},
        "averaged weights (EMA) without their names",
    ),
    "a layer of an unknown name": (
        lambda: {
            **named("sd1", "standard"),
            "ip_adapter": {"one.to_k_ip.weight": torch.ones(4, 4)},
        },
        "a training names the attention of the UNet",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_missing_is_said_and_nothing_is_to_be_downloaded(home: Path, case: str) -> None:
    content, words = REFUSED[case]
    torch.save(content(), home / "mine.bin")
    sentence = said(home / "mine.bin")
    assert sentence.startswith("mine.bin ") and words in sentence
    assert "ownload" not in sentence


def states(folder: Path) -> dict[str, str]:
    """The files that accelerate writes beside the weights, and words that tell each."""
    model = torch.nn.Linear(4, 4).requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters())
    with torch.enable_grad():
        model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    accelerator = Accelerator(cpu=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    accelerator.prepare(model, optimizer, scheduler)
    accelerator.save_state(str(folder))
    (folder / "model.safetensors").unlink()
    torch.save({"scale": 65536.0, "_growth_tracker": 3}, folder / "scaler.pt")
    torch.save(optimizer.state_dict(), folder / "renamed.bin")
    return {
        "optimizer.bin": "the state of an optimizer",
        "renamed.bin": "the state of an optimizer",
        "scheduler.bin": "the state of a scheduler",
        "random_states_0.pkl": "the state of random numbers",
        "scaler.pt": "the state of a gradient scaler",
    }


def test_the_state_of_a_training_is_told_from_the_weights_beside_it(home: Path) -> None:
    folder = home / "checkpoint-7"
    words = states(folder)
    assert {path.name for path in folder.iterdir()} == words.keys()
    for name, what in words.items():
        sentence = said(folder / name)
        assert sentence.startswith(f"{name} holds {what}; ") and "ownload" not in sentence
        assert "Choose the file with the weights" in sentence
    save_model(training("sd1", "plus"), str(folder / "weights.safetensors"))
    torch.save({"image_proj": {}}, folder / "ip_adapter.bin")  # likelier by name, but no adapter
    for name in words:  # what was said of a file is remembered with its time
        (folder / name).touch()
        assert "Choose checkpoint-7/weights.safetensors" in said(folder / name)


def test_of_all_adapters_in_the_folder_none_is_advised_for_a_stray_state(home: Path) -> None:
    write(home / "another.safetensors", adapter("sd1", "standard"), "flat")
    torch.save({"state": {}, "param_groups": []}, home / "optimizer.bin")
    assert "another" not in said(home / "optimizer.bin")


def test_a_deepspeed_checkpoint_says_what_joins_it(home: Path) -> None:
    shares = home / "checkpoint-9" / "pytorch_model"
    shares.mkdir(parents=True)
    emptied = {key: torch.zeros(0) for key in contained(adapter("sd1", "standard"), "raw")}
    torch.save({"module": emptied}, shares / "zero_pp_rank_0_mp_rank_00_model_states.pt")
    (shares / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"\x80\x02c")
    (shares.parent / "zero_to_fp32.py").write_text("")
    for path in sorted(shares.iterdir()):
        sentence = said(path)
        assert "one process's share of a DeepSpeed checkpoint" in sentence
        assert "Run `python zero_to_fp32.py . pytorch_model.bin` in checkpoint-9" in sentence
    torch.save(contained(adapter("sd1", "standard"), "raw"), shares.parent / "pytorch_model.bin")
    (path := shares / "zero_pp_rank_0_mp_rank_00_model_states.pt").touch()
    assert "Choose checkpoint-9/pytorch_model.bin" in said(path)


def test_an_fsdp_checkpoint_says_what_joins_it(home: Path) -> None:
    folder = home / "checkpoint-3"
    (folder / "pytorch_model_fsdp_0").mkdir(parents=True)
    (folder / "random_states_0.pkl").write_bytes(b"\x80\x02c")
    words = "Run `accelerate merge-weights pytorch_model_fsdp_0 .` in checkpoint-3"
    assert words in said(folder / "random_states_0.pkl")


def cut(tensors: Mapping[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    keys = list(tensors)
    size = math.ceil(len(keys) / count)
    return [{k: tensors[k] for k in keys[i : i + size]} for i in range(0, len(keys), size)]


@pytest.mark.parametrize("ending", [".safetensors", ".bin"])
def test_a_file_in_parts_is_read_by_any_of_them(home: Path, ending: str) -> None:
    tensors = contained(adapter("sd1", "plus"), "raw bin")
    paths = [home / "run" / f"model-{n:05}-of-00003{ending}" for n in (1, 2, 3)]
    paths[0].parent.mkdir()
    for path, part in zip(paths, cut(tensors, 3), strict=True):
        (save_file if ending == ".safetensors" else torch.save)(part, path)
    assert all(same(held(load(str(path))), adapter("sd1", "plus")) for path in paths)
    paths[1].rename(home / "run" / "elsewhere")
    for path in (paths[0], paths[2]):
        sentence = said(path)
        assert "one of 3 parts" in sentence and paths[1].name in sentence
    assert list(misplaced()) == []


@pytest.mark.parametrize("ending", [".safetensors", ".bin"])
def test_a_part_that_is_replaced_is_read_anew(home: Path, ending: str) -> None:
    tensors = contained(adapter("sd1", "standard"), "flat")
    first, second = cut(tensors, 2)
    save = save_file if ending == ".safetensors" else torch.save
    paths = [home / f"a-{n:05}-of-00002{ending}" for n in (1, 2)]
    save(first, paths[0])
    save(second, paths[1])
    kept = load(str(paths[0]))
    save({key: value + 1 for key, value in second.items()}, paths[1])
    anew = held(load(str(paths[0])))
    changed = next(iter(second))
    assert torch.equal(anew[changed], held(kept)[changed] + 1)


def test_a_tensor_left_out_for_another_is_found_by_the_note_of_the_file(home: Path) -> None:
    tensors = contained(adapter("sd1", "standard"), "flat")
    lost, kept = "ip_adapter.9.to_v_ip.weight", "ip_adapter.9.to_k_ip.weight"
    rest = {key: value.contiguous() for key, value in tensors.items() if key != lost}
    save_file(rest, home / "noted.safetensors", metadata={lost: kept, "format": "pt"})
    save_file(rest, home / "silent.safetensors", metadata={"format": "pt"})
    loaded = held(load(str(home / "noted.safetensors")))
    assert torch.equal(loaded[lost], loaded[kept])
    assert "has no tensor 9.to_v_ip.weight" in said(home / "silent.safetensors")


def test_a_note_cannot_stand_for_a_tensor_that_is_there(home: Path) -> None:
    tensors = contained(adapter("sd1", "standard"), "flat")
    notes = {key: "nowhere" for key in list(tensors)[:2]} | {"more": "ip_adapter.1.to_k_ip.weight"}
    notes |= {"image_proj.proj.weight": "ip_adapter.1.to_k_ip.weight"}
    whole = {key: value.contiguous() for key, value in tensors.items()}
    save_file(whole, home / "a.safetensors", metadata=notes)
    assert same(held(load(str(home / "a.safetensors"))), tensors)
    assert set(checkpoint.read_shapes(str(home / "a.safetensors"))) == {*tensors, "more"}


PEAK = Path("/proc/self/clear_refs")


@pytest.mark.skipif(not PEAK.exists(), reason="only Linux tells the peak of a process")
@pytest.mark.parametrize("ending", [".safetensors", ".bin"])
def test_the_unet_beside_an_adapter_is_not_read_into_memory(home: Path, ending: str) -> None:
    megabyte = 2**20
    unet = torch.zeros(300, 256, 1024)  # 300 MB
    saved = {**contained(adapter("sd1", "standard"), "raw"), "unet.conv_in.weight": unet}
    path = home / f"model{ending}"
    (save_file if ending == ".safetensors" else torch.save)(saved, path)
    del saved, unet
    read_file_spec(str(path))
    PEAK.write_text("5")
    before = memory("VmRSS")
    loaded = load(str(path))
    assert same(held(loaded), adapter("sd1", "standard"))
    assert memory("VmHWM") - before < 100 * megabyte


def memory(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{what}:"))
    return 1024 * int(line.split()[1])
