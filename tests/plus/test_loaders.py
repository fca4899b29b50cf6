"""Loaders of ComfyUI_IPAdapter_plus: its choice of files first, then ours, then a sentence."""

from __future__ import annotations

import inspect
import random
from functools import cache
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.sd
import folder_paths
import pytest
import torch
from kit.models import checkpoints, encoder_shapes, face_packs, tiny
from kit.models.encoders import make_pair
from kit.models.sparse_files import write_sparse
from kit.models.tiny import Twins
from kit.plus_original import original_module, original_nodes, schema
from pack.ip_models.adapter.published import Choice
from pack.ip_models.adapter.spec import Family
from pack.ip_models.errors import BadInput, MissingModel, WrongBase
from pack.ip_models.layer import Layer
from pack.nodes.host.encoder import load as encoder_load
from pack.nodes.host.face import packs
from pack.nodes.host.files import checkpoint, folders
from pack.nodes.host.model import search
from pack.nodes.plus import loaders
from pack.nodes.plus.objects import file_rules
from pack.nodes.plus.objects.lazy import LazyTensors
from pack.nodes.plus.objects.pipeline import Pipeline, adapter_of, encoder_of
from torch import Tensor

SD1, SDXL = Family.SD1, Family.SDXL
H, BIG_G = "CLIP-ViT-H-14-laion2B-s32B-b79K", "CLIP-ViT-bigG-14-laion2B-39B-b160k"
L_336 = "clip-vit-large-patch14-336"
# As published, in the order of a listing, with what people rename them to and with traps.
ADAPTERS = [
    "SDXL/ip-adapter-plus_sdxl_vit-h.safetensors",
    "community/ip_plus_composition_sd15.safetensors",
    "community/ip_plus_composition_sdxl.bin",
    "community/ip_plus_composition_sdxl.safetensors",
    "ip-adapter-faceid-plus_sd15.bin",
    "ip-adapter-faceid-plusv2_sd15.bin",
    "ip-adapter-faceid-plusv2_sdxl.bin",
    "ip-adapter-faceid-portrait-v11_sd15.bin",
    "ip-adapter-faceid-portrait_sd15.bin",
    "ip-adapter-faceid-portrait_sdxl.bin",
    "ip-adapter-faceid-portrait_sdxl_unnorm.bin",
    "ip-adapter-faceid_sd15.bin",
    "ip-adapter-faceid_sdxl.bin",
    "ip-adapter-full-face_sd15.safetensors",
    "ip-adapter-plus-face_sd15.safetensors",
    "ip-adapter-plus-face_sdxl_vit-h.safetensors",
    "ip-adapter-plus_sd15.safetensors",
    "ip-adapter_sd15.bin",
    "ip-adapter_sd15.safetensors",
    "ip-adapter_sd15_light.bin",
    "ip-adapter_sd15_light_v11.bin",
    "ip-adapter_sd15_vit-G.safetensors",
    "ip-adapter_sdxl.safetensors",
    "ip-adapter_sdxl_vit-h.safetensors",
    "ip_adapter_plus_general.bin",
    "old IP Adapter SD15.safetensors",
]
# What the original took from that list.
TAKEN: dict[str, tuple[str | None, str | None]] = {
    "LIGHT - SD1.5 only (low strength)": ("ip-adapter_sd15_light_v11.bin", None),
    "STANDARD (medium strength)": (
        "ip-adapter_sd15.bin",
        "ip-adapter_sdxl_vit-h.safetensors",
    ),
    "VIT-G (medium strength)": (
        "ip-adapter_sd15_vit-G.safetensors",
        "ip-adapter_sdxl.safetensors",
    ),
    "PLUS (high strength)": (
        "ip-adapter-plus_sd15.safetensors",
        "SDXL/ip-adapter-plus_sdxl_vit-h.safetensors",
    ),
    "PLUS FACE (portraits)": (
        "ip-adapter-plus-face_sd15.safetensors",
        "ip-adapter-plus-face_sdxl_vit-h.safetensors",
    ),
    "FULL FACE - SD1.5 only (portraits stronger)": ("ip-adapter-full-face_sd15.safetensors", None),
    "FACEID": ("ip-adapter-faceid_sd15.bin", "ip-adapter-faceid_sdxl.bin"),
    "FACEID PLUS - SD1.5 only": ("ip-adapter-faceid-plus_sd15.bin", None),
    "FACEID PLUS V2": ("ip-adapter-faceid-plusv2_sd15.bin", "ip-adapter-faceid-plusv2_sdxl.bin"),
    "FACEID PORTRAIT (style transfer)": (
        "ip-adapter-faceid-portrait-v11_sd15.bin",
        "ip-adapter-faceid-portrait_sdxl.bin",
    ),
    "FACEID PORTRAIT UNNORM - SDXL only (strong)": (
        None,
        "ip-adapter-faceid-portrait_sdxl_unnorm.bin",
    ),
    "Composition": (
        "community/ip_plus_composition_sd15.safetensors",
        "community/ip_plus_composition_sdxl.safetensors",
    ),
    "Kolors": (None, "ip_adapter_plus_general.bin"),
}
LORAS = [
    "ipadapter/ip-adapter-faceid-plus_sd15_lora.safetensors",
    "ipadapter/ip-adapter-faceid-plusv2_sd15_lora.safetensors",
    "ipadapter/ip-adapter-faceid-plusv2_sdxl_lora.safetensors",
    "ipadapter/ip-adapter-faceid_sd15_lora.safetensors",
    "ipadapter/ip-adapter-faceid_sdxl_lora.safetensors",
]
ENCODERS = [
    "SD2/pytorch_model.bin",
    f"{H}.safetensors",
    "ipadapter_sdxl.safetensors",
    f"{BIG_G}.safetensors",
    f"{L_336}.bin",
    "sd15_model.safetensors.old",
]


@pytest.mark.parametrize("preset", TAKEN)
def test_the_same_adapter_is_taken_by_its_name(preset: str) -> None:
    rule = file_rules.preset_of(preset)
    for family, expected in zip((SD1, SDXL), TAKEN[preset], strict=True):
        assert file_rules.find_adapter(rule, family, ADAPTERS) == expected
    assert file_rules.find_adapter(rule, None, ADAPTERS) is None
    assert file_rules.find_adapter(rule, SD1, []) is None


@pytest.mark.parametrize(
    ("preset", "listing", "expected"),
    [
        ("LIGHT", ["a_sd15_light.bin", "sd15_light.safetensors"], "a_sd15_light.bin"),
        ("FACEID PORTRAIT (", ["portrait_sd15.bin"], "portrait_sd15.bin"),
        ("STANDARD", ["IP_Adapter_SD15.BIN"], "IP_Adapter_SD15.BIN"),
        ("STANDARD", ["ip-adapter_sd15.bin.part", "ip-adapter_sd15.pth"], None),
        ("STANDARD", ["ipadapter_sd15.bin"], None),
        ("PLUS (", ["my-ip-adapter-plus-sd15.bin"], "my-ip-adapter-plus-sd15.bin"),
        ("Composition", ["ip_plus_composition_sd15.bin"], None),
    ],
)
def test_other_names(preset: str, listing: list[str], expected: str | None) -> None:
    assert file_rules.find_adapter(file_rules.preset_of(preset), SD1, listing) == expected


@pytest.mark.parametrize(
    ("preset", "family", "expected"),
    [
        ("FACEID", SD1, 3),
        ("FACEID", SDXL, 4),
        ("FACEID PLUS - SD1.5 only", SD1, 0),
        ("FACEID PLUS V2", SD1, 1),
        ("FACEID PLUS V2", SDXL, 2),
        ("FACEID PORTRAIT (style transfer)", SD1, None),
        ("PLUS (high strength)", SD1, None),
    ],
)
def test_the_same_lora_is_taken(preset: str, family: Family, expected: int | None) -> None:
    found = file_rules.find_lora(file_rules.preset_of(preset), family, LORAS)
    assert found == (None if expected is None else LORAS[expected])


@pytest.mark.parametrize(
    ("preset", "listing", "expected"),
    [
        ("STANDARD", ENCODERS, ENCODERS[1]),
        ("STANDARD", ["SD1.5/model.safetensors"], "SD1.5/model.safetensors"),
        ("STANDARD", ["sd15/my model.bin.txt"], "sd15/my model.bin.txt"),
        ("STANDARD", ["x/ipadapter for sd15.bin", f"{H}.bin"], "x/ipadapter for sd15.bin"),
        ("STANDARD", ["CLIP-ViT-H-fp16.safetensors", "clip_vision_h.safetensors"], None),
        ("VIT-G", ENCODERS, ENCODERS[2]),
        ("VIT-G", [f"{BIG_G}.safetensors"], f"{BIG_G}.safetensors"),
        ("Kolors", ENCODERS, ENCODERS[4]),
        ("FACEID", ENCODERS, ENCODERS[1]),
    ],
)
def test_the_same_encoder_is_taken(preset: str, listing: list[str], expected: str | None) -> None:
    assert file_rules.find_encoder(file_rules.preset_of(preset), listing) == expected


def test_the_original_takes_the_same_of_any_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own functions, over listings of words that such names are made of."""
    utils = original_module("utils")
    words = [
        *("ip", "adapter", "plus", "plusv2", "face", "faceid", "full", "portrait", "v11", "unnorm"),
        *("sd15", "sdxl", "sd1.5", "vit-h", "vit-G", "light", "composition", "kolors", "lora"),
        *(H, BIG_G, L_336, "model", "ipadapter", "ip_adapter_plus_general", "SDXL"),
    ]
    listings: dict[str, list[str]] = {}
    monkeypatch.setattr(folder_paths, "get_filename_list", lambda name: listings[name])
    monkeypatch.setattr(folder_paths, "get_full_path", lambda _, name: name)
    choice, hits = random.Random(0), 0
    for _ in range(300):
        names = [_name(choice, words) for _ in range(150)] + choice.sample(ADAPTERS, 9)
        choice.shuffle(names)
        for preset in TAKEN:
            rule = file_rules.preset_of(preset)
            listings |= {"ipadapter": names, "clip_vision": names, "loras": names}
            assert file_rules.find_encoder(rule, names) == utils.get_clipvision_file(preset)
            for family in (SD1, SDXL):
                try:
                    theirs, faces, lora = utils.get_ipadapter_file(preset, family is SDXL)
                except Exception:  # noqa: BLE001 (it raises nothing else)
                    assert family not in rule.files
                    continue
                assert file_rules.find_adapter(rule, family, names) == theirs
                assert rule.faces == faces
                own = file_rules.find_lora(rule, family, names)
                assert own == (utils.get_lora_file(lora) if lora else None)
                hits += theirs is not None
    assert hits > 1000


def _name(choice: random.Random, words: list[str]) -> str:
    parts = choice.choices(words, k=choice.randint(1, 4))
    glue = choice.choice("-_. /")
    return glue.join(parts) + choice.choice([".safetensors", ".bin", ".BIN", ".pth", ".bin.x"])


def test_the_original_took_this_from_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    utils = original_module("utils")
    monkeypatch.setattr(folder_paths, "get_filename_list", lambda _: ADAPTERS)
    monkeypatch.setattr(folder_paths, "get_full_path", lambda _, name: name)
    for preset, expected in TAKEN.items():
        for sdxl, name in enumerate(expected):
            if name is not None:
                assert utils.get_ipadapter_file(preset, bool(sdxl))[0] == name


@pytest.mark.parametrize("words", ["", "nothing", None, 3, "PLUS"])
def test_a_preset_that_does_not_exist_is_said_so(words: Any) -> None:
    with pytest.raises(BadInput, match=r"preset is .*Choose one"):
        file_rules.preset_of(words)


# Schemas


@pytest.mark.parametrize("name", [name for name in loaders.NODES if name != "InsightFaceLoader"])
def test_the_schema_is_that_of_the_original(name: str) -> None:
    assert schema(loaders.NODES[name]) == schema(original_nodes()[name])


PROVIDERS = ["CPU", "CUDA", "ROCM", "DirectML", "OpenVINO", "CoreML"]


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "call"),
    [
        (
            "IPAdapterUnifiedLoader",
            {
                "required": {"model": ["MODEL"], "preset": [list(TAKEN)[:6]]},
                "optional": {"ipadapter": ["IPADAPTER"]},
            },
            (["MODEL", "IPADAPTER"], ["model", "ipadapter"]),
            ("load_models", "ipadapter"),
        ),
        (
            "IPAdapterUnifiedLoaderFaceID",
            {
                "required": {
                    "model": ["MODEL"],
                    "preset": [list(TAKEN)[6:11]],
                    "lora_strength": ["FLOAT", {"default": 0.6, "min": 0, "max": 1, "step": 0.01}],
                    "provider": [PROVIDERS],
                },
                "optional": {"ipadapter": ["IPADAPTER"]},
            },
            (["MODEL", "IPADAPTER"], ["MODEL", "ipadapter"]),
            ("load_models", "ipadapter/faceid"),
        ),
        (
            "IPAdapterUnifiedLoaderCommunity",
            {
                "required": {"model": ["MODEL"], "preset": [["Composition", "Kolors"]]},
                "optional": {"ipadapter": ["IPADAPTER"]},
            },
            (["MODEL", "IPADAPTER"], ["model", "ipadapter"]),
            ("load_models", "ipadapter/loaders"),
        ),
        (
            "IPAdapterInsightFaceLoader",
            {
                "required": {
                    "provider": [PROVIDERS[:3]],
                    "model_name": [["buffalo_l", "antelopev2"]],
                }
            },
            (["INSIGHTFACE"], ["INSIGHTFACE"]),
            ("load_insightface", "ipadapter/loaders"),
        ),
        (
            "InsightFaceLoader",
            {"required": {"provider": [PROVIDERS[:3]]}},
            (["INSIGHTFACE"], ["INSIGHTFACE"]),
            ("load_insight_face", "ipadapter"),
        ),
    ],
)
def test_the_schema(name: str, inputs: Any, outputs: Any, call: Any) -> None:
    found = schema(loaders.NODES[name])
    assert found["input"] == inputs
    assert found["order"] == {group: list(names) for group, names in inputs.items()}
    assert (found["output"], found["output_name"]) == outputs
    assert (found["function"], found["category"]) == call
    assert not found["output_node"] and not found["description"]
    assert name in loaders.TITLES


def test_methods_can_be_called_by_position() -> None:
    def parameters(method: Any) -> list[str]:
        found = inspect.signature(method).parameters.values()
        assert any(one.kind is inspect.Parameter.VAR_KEYWORD for one in found)
        return [one.name for one in found if one.kind is not inspect.Parameter.VAR_KEYWORD][1:]

    unified = ["model", "preset", "lora_strength", "provider", "ipadapter"]
    assert parameters(loaders.UnifiedLoader.load_models) == unified
    assert parameters(loaders.ModelLoader.load_ipadapter_model) == ["ipadapter_file"]
    assert parameters(loaders.FaceModelsLoader.load_insightface) == ["provider", "model_name"]
    assert parameters(loaders.FaceModelsLoaderV1.load_insight_face) == ["provider"]


# Loading


@cache
def twins(family: str) -> Twins:
    return tiny.twins(family)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folders, the only ones that are searched."""
    table = {}
    for name in (folders.ADAPTERS, folders.ENCODERS, "loras"):
        (tmp_path / name).mkdir()
        table[name] = ([str(tmp_path / name)], set(folder_paths.supported_pt_extensions))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    return tmp_path


def put(models: Path, family: str, kind: str, name: str) -> str:
    tensors = tiny.adapter_tensors(twins(family), kind)
    if kind in ("FaceID", "FaceID plus"):
        tensors = tensors | tiny.lora_tensors(twins(family))
    path = models / folders.ADAPTERS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(checkpoints.write(path, tensors, "flat"))


@pytest.fixture
def vit_h(models: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file with the shapes of a ViT-H that is loaded already, so that its 1.2 GB are not."""
    return put_encoder(models, monkeypatch, f"{H}.safetensors")


def put_encoder(models: Path, monkeypatch: pytest.MonkeyPatch, name: str, *sizes: int) -> Any:
    """The same with layers, width and width of the pooled feature of another one."""
    layers, width, pooled = sizes or (32, 1280, 1024)
    shapes = encoder_shapes.clip(layers, width, pooled)
    path = write_sparse(models / folders.ENCODERS / name, shapes)
    encoder = make_pair(models).ours
    monkeypatch.setitem(encoder_load._encoders, checkpoint.identity(str(path)), encoder)  # pyright: ignore
    return encoder


def load(family: str, preset: str, node: Any = None, **more: Any) -> tuple[Any, Any]:
    node = node or loaders.UnifiedLoader()
    return node.load_models(twins(family).model, preset, **more)


@pytest.mark.parametrize(("family", "name"), [("sd1", "sd15"), ("sdxl", "sdxl_vit-h")])
def test_a_preset_gives_a_pipeline(models: Path, vit_h: Any, family: str, name: str) -> None:
    path = put(models, family, "plus", f"ip-adapter-plus_{name}.safetensors")
    put(models, family, "plus", "a/better one.safetensors")
    model, pipeline = load(family, "PLUS (high strength)")
    assert model is twins(family).model
    assert type(pipeline) is Pipeline and list(pipeline) == [
        "clipvision",
        "ipadapter",
        "insightface",
    ]
    assert pipeline["ipadapter"]["file"] == path
    assert pipeline["clipvision"] == {
        "file": str(models / folders.ENCODERS / f"{H}.safetensors"),
        "model": vit_h,
    }
    assert pipeline["insightface"] == {"provider": None, "model": None}
    assert encoder_of(pipeline) is vit_h and adapter_of(pipeline).file[0] == path  # pyright: ignore
    parts = pipeline["ipadapter"]["model"]
    assert not any(part.loaded for part in parts.values() if isinstance(part, LazyTensors))


def test_a_file_of_another_name_is_found_by_its_content(models: Path, vit_h: Any) -> None:
    put(models, "sdxl", "plus", "ip-adapter-plus_sd15_for_xl.safetensors")
    path = put(models, "sd1", "plus", "renamed.safetensors")
    _, pipeline = load("sd1", "PLUS (high strength)")
    assert pipeline["ipadapter"]["file"] == path and pipeline["clipvision"]["model"] is vit_h


def test_an_encoder_of_another_name_is_found_by_its_content(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(models, "sd1", "plus", "ip-adapter-plus_sd15.safetensors")
    encoder = put_encoder(models, monkeypatch, "clip_vision_h.safetensors")
    assert load("sd1", "PLUS (high strength)")[1]["clipvision"]["model"] is encoder


def test_an_odd_adapter_gets_the_encoder_it_needs(
    models: Path, vit_h: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of ViT-bigG stands in for the standard one, so a ViT-H of the right name is wrong."""
    twin = twins("sd1")
    tensors = checkpoints.tiny_adapter("standard", twin.widths, twin.context, 1280, 4)
    checkpoints.write(models / folders.ADAPTERS / "odd.safetensors", tensors, "flat")
    big = put_encoder(models, monkeypatch, "big.safetensors", 48, 1664, 1280)
    _, pipeline = load("sd1", "STANDARD (medium strength)")
    assert pipeline["clipvision"]["model"] is big
    put(models, "sd1", "standard", "ip-adapter_sd15.safetensors")
    folders.forget(folders.ADAPTERS)
    _, pipeline = load("sd1", "STANDARD (medium strength)")
    assert pipeline["clipvision"]["model"] is vit_h


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        ("PLUS (high strength)", "has no adapter; a plus adapter for SD1.5 is needed"),
        ("FULL FACE - SD1.5 only (portraits stronger)", "full face adapter for SD1.5 is needed"),
        ("Kolors", "this MODEL is not Kolors"),
    ],
)
def test_what_is_missing_is_said(models: Path, preset: str, said: str) -> None:
    with pytest.raises((MissingModel, WrongBase), match=said):
        load("sd1", preset)


def test_where_to_get_a_missing_adapter_is_said() -> None:
    """For a whole SD1.5, which no test holds."""
    layers = tuple(
        Layer(None, width, 768, (i, 0), "", "") for i, width in enumerate(checkpoints.HIDDEN_SD1)
    )
    with pytest.raises(MissingModel, match=r"Put https\S+ip-adapter-plus_sd15\.safetensors into"):
        search.find_adapter(layers, Choice.PLUS, "load it")


def test_a_missing_encoder_is_said(models: Path) -> None:
    put(models, "sd1", "plus", "ip-adapter-plus_sd15.safetensors")
    with pytest.raises(MissingModel, match="models.clip_vision fits; ViT-H is needed"):
        load("sd1", "PLUS (high strength)")


def test_a_model_of_neither_family_is_said_so(models: Path) -> None:
    """The original takes everything that is no SDXL for an SD1.5 and fails later."""
    put(models, "sd1", "plus", "ip-adapter-plus_sd15.safetensors")
    other = twins("sd1").model.clone()
    other.add_object_patch("diffusion_model", torch.nn.Linear(1, 1))
    with pytest.raises(WrongBase):
        loaders.UnifiedLoader().load_models(other, "PLUS (high strength)")


def test_kolors_counts_as_sdxl(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(models, "sdxl", "plus", "plus.safetensors")
    path = put(models, "sdxl", "plus", "ip_adapter_plus_general.safetensors")
    encoder = put_encoder(models, monkeypatch, f"{L_336}.safetensors", 24, 1024, 768)
    model = twins("sdxl").model.clone()
    model.add_object_patch("diffusion_model.encoder_hid_proj", torch.nn.Linear(4096, 2048))
    _, pipeline = loaders.UnifiedLoaderCommunity().load_models(model, "Kolors")
    assert pipeline["ipadapter"]["file"] == path and pipeline["clipvision"]["model"] is encoder


def test_what_is_loaded_is_used_again(models: Path, vit_h: Any) -> None:
    path = put(models, "sd1", "plus", "ip-adapter-plus_sd15.safetensors")
    node, other = loaders.UnifiedLoader(), loaders.UnifiedLoader()
    _, one = load("sd1", "PLUS (high strength)", node)
    _, again = load("sd1", "PLUS (high strength)", node)
    _, taken = load("sd1", "PLUS (high strength)", other, ipadapter=one)
    form_b = one["ipadapter"]["model"]
    assert again["ipadapter"]["model"] is form_b and taken["ipadapter"]["model"] is form_b
    again["ipadapter"]["model"] = again["clipvision"]["model"] = None
    assert load("sd1", "PLUS (high strength)", node)[1]["ipadapter"]["model"] is form_b
    put(models, "sd1", "plus", "ip-adapter-plus_sd15.safetensors")
    newer = load("sd1", "PLUS (high strength)", node)[1]["ipadapter"]
    assert newer["file"] == path and newer["model"] is not form_b, "the file is another one"


def test_a_new_or_replaced_file_is_noticed(models: Path) -> None:
    seen = [loaders.UnifiedLoader.IS_CHANGED(preset="FACEID")]
    for name in ("a.safetensors", "b.safetensors", "b.safetensors"):
        put(models, "sd1", "plus", name)
        folders.forget(folders.ADAPTERS)
        seen.append(loaders.UnifiedLoader.IS_CHANGED(preset="FACEID"))
    assert len(set(seen)) == 4
    one = loaders.ModelLoader.IS_CHANGED(ipadapter_file="b.safetensors")
    put(models, "sd1", "standard", "b.safetensors")
    assert loaders.ModelLoader.IS_CHANGED(ipadapter_file="b.safetensors") != one
    assert loaders.ModelLoader.IS_CHANGED(ipadapter_file=None) is not None


def test_names_of_windows_are_found(models: Path) -> None:
    path = put(models, "sd1", "plus", "XL/a.safetensors")
    for name in ("XL/a.safetensors", r"XL\a.safetensors"):
        assert loaders.ModelLoader.VALIDATE_INPUTS(ipadapter_file=name) is True
        (held,) = loaders.ModelLoader().load_ipadapter_model(name)
        assert adapter_of(held).file[0] == path  # pyright: ignore[reportOptionalSubscript]
    assert loaders.ModelLoader.VALIDATE_INPUTS() is True
    said = loaders.ModelLoader.VALIDATE_INPUTS(ipadapter_file="../../secret.bin")
    assert "is not in" in str(said)


def test_parts_of_another_pack_are_taken_over(models: Path, vit_h: Any) -> None:
    path = put(models, "sd1", "plus", "ip-adapter-plus_sd15.safetensors")
    foreign = {"image_proj": {}, "ip_adapter": {}} | checkpoints.nest(
        tiny.adapter_tensors(twins("sd1"), "plus")
    )
    encoder = object()
    given = {
        "clipvision": {
            "file": str(models / folders.ENCODERS / f"{H}.safetensors"),
            "model": encoder,
        },
        "ipadapter": {"file": path, "model": foreign},
    }
    _, pipeline = load("sd1", "PLUS (high strength)", ipadapter=given)
    assert pipeline["ipadapter"]["model"] is foreign
    assert pipeline["clipvision"]["model"] is encoder
    given["ipadapter"] = {"file": path, "model": None}
    assert load("sd1", "PLUS (high strength)", ipadapter=given)[1]["ipadapter"]["model"]
    assert load("sd1", "PLUS (high strength)", ipadapter=foreign)[1]["ipadapter"]["model"]


def test_a_file_alone_is_form_b(models: Path) -> None:
    put(models, "sd1", "FaceID plus", "x/ip-adapter-faceid-plusv2_sd15.safetensors")
    name = "x/ip-adapter-faceid-plusv2_sd15.safetensors"
    assert loaders.ModelLoader.INPUT_TYPES() == {"required": {"ipadapter_file": ([name],)}}
    (held,) = loaders.ModelLoader().load_ipadapter_model(ipadapter_file=name)
    assert set(held) == {"image_proj", "ip_adapter", "faceidplusv2"} and adapter_of(held).shortcut
    with pytest.raises(MissingModel, match=r'"nothing\.bin" is not in'):
        loaders.ModelLoader().load_ipadapter_model("nothing.bin")


def test_a_file_is_the_dict_the_original_makes(models: Path) -> None:
    for kind, name in (
        ("plus", "a.safetensors"),
        ("FaceID", "unnorm/b.safetensors"),
        ("FaceID plus", "plusv2.safetensors"),
        ("standard", "c.safetensors"),
        ("full face", "d.safetensors"),
    ):
        path = put(models, "sd1", kind, name)
        same_as_theirs(path, name)
        binary = models / folders.ADAPTERS / f"{name}.bin"
        torch.save(checkpoints.nest(checkpoints_of(path)), binary)
        same_as_theirs(str(binary), f"{name}.bin")


def checkpoints_of(path: str) -> dict[str, Tensor]:
    return dict(checkpoint.read_tensors(path))


def same_as_theirs(path: str, name: str) -> None:
    theirs = original_module("utils").ipadapter_model_loader(path)
    folders.forget(folders.ADAPTERS)
    (ours,) = loaders.ModelLoader().load_ipadapter_model(name)
    assert set(ours) == set(theirs)
    for half in ("image_proj", "ip_adapter"):
        assert set(ours[half]) == set(theirs[half])
        for key, value in theirs[half].items():
            assert torch.equal(ours[half][key], value) and ours[half][key].dtype == value.dtype
    assert {k: v for k, v in ours.items() if v is True} == {
        k: v for k, v in theirs.items() if v is True
    }


# FaceID


@pytest.fixture
def faces(models: Path) -> Path:
    return face_packs.make_pack(models / packs.FOLDER / "models" / "buffalo_l")


def faceid(model: Any = None, preset: str = "FACEID", **more: Any) -> tuple[Any, Any]:
    node = loaders.UnifiedLoaderFaceID()
    return node.load_models(model or twins("sd1").model, preset, **more)


def put_lora(models: Path, name: str, seed: int = 5) -> dict[str, Tensor]:
    """A LoRA file as the host reads it, for all attention."""
    generator = torch.Generator().manual_seed(seed)
    model = twins("sd1").model
    shapes = {key: value.shape for key, value in model.model.state_dict().items()}
    tensors: dict[str, Tensor] = {}
    for key, weight in comfy.lora.model_lora_keys_unet(model.model, {}).items():
        if key.startswith("lora_unet_") and isinstance(weight, str) and "attn2.to_" in weight:
            rows, columns = shapes[weight][:2]
            tensors[f"{key}.lora_down.weight"] = torch.randn(4, columns, generator=generator)
            tensors[f"{key}.lora_up.weight"] = torch.randn(rows, 4, generator=generator)
    assert tensors
    checkpoints.write(models / "loras" / name, tensors, "flat")
    return tensors


def output(model: Any) -> Tensor:
    return tiny.run_patched(model, tiny.make_call(twins("sd1")))


def test_the_lora_file_is_put_on_as_the_host_does(models: Path, faces: Path, vit_h: Any) -> None:
    put(models, "sd1", "FaceID", "ip-adapter-faceid_sd15.safetensors")
    tensors = put_lora(models, "ip-adapter-faceid_sd15_lora.safetensors")
    before = output(twins("sd1").model)
    model, pipeline = faceid(lora_strength=0.6, provider="CPU")
    expected, _ = comfy.sd.load_lora_for_models(twins("sd1").model, None, tensors, 0.6, 0)
    assert torch.equal(output(model), output(expected))
    assert not torch.equal(output(model), before)
    assert torch.equal(output(twins("sd1").model), before), "the MODEL that came in is as it was"
    assert len(pipeline["insightface"]["model"].get(_photo())) == 1
    assert pipeline["insightface"]["provider"] == "CPU"


def _photo() -> Any:
    numpy = pytest.importorskip("numpy")
    image = numpy.zeros((640, 640, 3), numpy.uint8)
    face_packs.paint(image, 16, 10, 10)
    return image[..., ::-1]


def test_each_preset_has_a_lora_of_its_own(models: Path, faces: Path, vit_h: Any) -> None:
    put(models, "sd1", "FaceID", "ip-adapter-faceid_sd15.safetensors")
    put(models, "sd1", "FaceID plus", "ip-adapter-faceid-plus_sd15.safetensors")
    put_lora(models, "ip-adapter-faceid_sd15_lora.safetensors")
    second = put_lora(models, "ip-adapter-faceid-plus_sd15_lora.safetensors", seed=6)
    node, model = loaders.UnifiedLoaderFaceID(), twins("sd1").model
    first, _ = node.load_models(model, "FACEID", 0.5)
    other, _ = node.load_models(model, "FACEID PLUS - SD1.5 only", 0.5)
    again, _ = node.load_models(model, "FACEID", 0.5)
    expected, _ = comfy.sd.load_lora_for_models(model, None, second, 0.5, 0)
    assert torch.equal(output(other), output(expected))
    assert torch.equal(output(again), output(first))
    assert not torch.equal(output(first), output(other))


def test_without_a_lora_file_the_one_inside_counts(
    models: Path, faces: Path, vit_h: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ipadapter")
    put(models, "sd1", "FaceID", "ip-adapter-faceid_sd15.safetensors")
    model, _ = faceid(lora_strength=0.6)
    assert "the LoRA inside ip-adapter-faceid_sd15.safetensors is applied at 0.6" in caplog.text
    twice, _ = faceid(model, lora_strength=0.6)
    before = output(twins("sd1").model)
    assert torch.equal(output(twice), output(model)) and not torch.equal(output(model), before)


def test_at_strength_0_no_lora_is_needed_nor_applied(models: Path, faces: Path, vit_h: Any) -> None:
    put(models, "sd1", "FaceID", "ip-adapter-faceid_sd15.safetensors")
    assert faceid(lora_strength=0.0)[0] is twins("sd1").model


def test_neither_a_lora_file_nor_one_inside_is_said(models: Path, faces: Path, vit_h: Any) -> None:
    path = models / folders.ADAPTERS / "ip-adapter-faceid_sd15.safetensors"
    checkpoints.write(path, tiny.adapter_tensors(twins("sd1"), "FaceID"), "flat")
    with pytest.raises(MissingModel, match=r"no LoRA .*ip-adapter-faceid_sd15_lora\.safetensors"):
        faceid(lora_strength=0.6)


def test_faceid_alone_needs_no_encoder(models: Path, faces: Path) -> None:
    put(models, "sd1", "FaceID", "ip-adapter-faceid_sd15.safetensors")
    assert faceid()[1]["clipvision"] == {"file": None, "model": None}


def test_a_faceid_plus_v2_of_another_name_is_v2(models: Path, faces: Path, vit_h: Any) -> None:
    put(models, "sd1", "FaceID plus", "face_v2.safetensors")
    _, pipeline = faceid(preset="FACEID PLUS V2")
    assert adapter_of(pipeline).shortcut
    put(models, "sd1", "FaceID plus", "face.safetensors")
    folders.forget(folders.ADAPTERS)
    _, first = faceid(preset="FACEID PLUS - SD1.5 only", ipadapter=pipeline)
    assert not adapter_of(first).shortcut
    assert first["insightface"]["model"] is pipeline["insightface"]["model"]


def test_missing_face_models_are_said(models: Path, vit_h: Any) -> None:
    put(models, "sd1", "FaceID", "ip-adapter-faceid_sd15.safetensors")
    with pytest.raises(MissingModel, match="buffalo_l"):
        faceid()


@pytest.mark.parametrize(
    ("node", "call"),
    [
        (loaders.FaceModelsLoader, lambda node: node.load_insightface("CPU", "buffalo_l")),
        (loaders.FaceModelsLoader, lambda node: node.load_insightface(provider="CPU")),
        (loaders.FaceModelsLoaderV1, lambda node: node.load_insight_face("CUDA", extra=1)),
    ],
)
def test_face_models_alone(models: Path, faces: Path, node: Any, call: Any) -> None:
    (found,) = call(node())
    assert len(found.get(_photo())) == 1 and found.det_model.input_size == (640, 640)
