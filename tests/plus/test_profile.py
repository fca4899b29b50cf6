"""Which picture old nodes make: as shipped, corrected, and what the settings say about it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from kit.models import encoders, tiny
from pack.ip_models.adapter.spec import Family
from pack.ip_models.attention.masks import MaskRule
from pack.ip_models.pictures.fit import Fit
from pack.ip_models.weights.gains import Weights
from pack.nodes.host.encoder.encode import Reference, Unconditional, encode
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.settings import AS_SHIPPED, CORRECTED, OFF, old_nodes
from pack.nodes.plus import register
from pack.nodes.plus.objects.adapter_dict import AdapterDict
from pack.nodes.plus.objects.pipeline import adapter_of
from pack.nodes.plus.register import NODES
from pack.nodes.plus.steps.profile import Version, profile_of
from pack.nodes.plus.steps.weight_types import WithoutMiddle
from torch import Tensor

import nodes

VARIABLE = "IPADAPTER_OLD_NODES"
ROUNDING, EFFECT = 5e-6, 0.01


@pytest.fixture(autouse=True)
def _nothing_chosen(  # pyright: ignore[reportUnusedFunction]
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path))


def chosen(folder: Path, text: str) -> None:
    """Settings as the host keeps those of its user, with a time of their own."""
    path = folder / "default" / "comfy.settings.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (len(text), len(text)))


def test_settings_of_the_editor_and_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert old_nodes() == AS_SHIPPED
    for value in (CORRECTED, OFF, AS_SHIPPED):
        chosen(tmp_path, json.dumps({"IPAdapter.OldNodes": value}))
        assert old_nodes() == value
    for damaged in ("{", "[]", json.dumps({"IPAdapter.OldNodes": 7}), "{}"):
        chosen(tmp_path, damaged)
        assert old_nodes() == AS_SHIPPED
    chosen(tmp_path, json.dumps({"IPAdapter.OldNodes": OFF}))
    monkeypatch.setenv(VARIABLE, "Corrected")
    assert old_nodes() == CORRECTED


def test_a_node_runs_again_after_the_setting_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("IPAdapterApply", "IPAdapterAdvanced", "IPAdapter", "IPAdapterEncoder")
    marks = {name: NODES[name].IS_CHANGED() for name in names}
    assert marks == {name: NODES[name].IS_CHANGED() for name in names}
    assert marks["IPAdapterApply"] != marks["IPAdapterAdvanced"]
    monkeypatch.setenv(VARIABLE, CORRECTED)
    assert all(NODES[name].IS_CHANGED() != mark for name, mark in marks.items())


def test_names_that_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    table: dict[str, Any] = {"IPAdapterAdvanced": Path}
    monkeypatch.setattr(nodes, "NODE_CLASS_MAPPINGS", table)
    monkeypatch.setattr(nodes, "NODE_DISPLAY_NAME_MAPPINGS", {})
    monkeypatch.setenv(VARIABLE, OFF)
    register.register("pack")
    assert table == {"IPAdapterAdvanced": Path}
    monkeypatch.setenv(VARIABLE, AS_SHIPPED)
    register.register("pack")
    assert set(NODES) <= set(table) and table["IPAdapterAdvanced"] is Path
    assert not register.is_ours("IPAdapterAdvanced") and register.is_ours("IPAdapterApply")
    assert register.is_ours("IPAdapterBatchV2") and not register.is_ours("KSampler")
    assert table["IPAdapterBatch"].RELATIVE_PYTHON_MODULE == "custom_nodes.pack"
    assert nodes.NODE_DISPLAY_NAME_MAPPINGS.keys() == table.keys() - {"IPAdapterAdvanced"}


def encoder(folder: Path) -> Any:
    wide = {"hidden_size": 1280, "num_attention_heads": 4, "projection_dim": 1024}
    return encoders.random_encoder(folder, **{**encoders.CONFIG, **wide, "intermediate_size": 32})


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("profile")
    twin = tiny.twins("sd1")
    adapter = tiny.load_tensors(folder, tiny.adapter_tensors(twin, "plus"))
    assert adapter.file is not None
    generator = torch.Generator().manual_seed(3)
    return {
        "model": twin.model,
        "ipadapter": AdapterDict(adapter.file[0]),
        "clip_vision": encoder(folder),
        "image": torch.rand(1, 70, 100, 3, generator=generator),
        "attn_mask": torch.rand(1, 40, 60, generator=generator),
        "call": tiny.make_call(twin, batch=2, height=16, width=24),
    }


def by_core(scene: dict[str, Any], fit: Fit, negative: Unconditional, **settings: Any) -> Tensor:
    """The same through the core, with everything said."""
    features = encode(scene["clip_vision"], Reference(scene["image"], fit, None, None, negative))
    adapter = adapter_of(scene["ipadapter"])
    chosen = Settings(mask=scene["attn_mask"], face_lora=0.0, **settings)
    return tiny.run_patched(apply(scene["model"], adapter, features, chosen), scene["call"])


def by_node(scene: dict[str, Any], name: str) -> Tensor:
    links = {key: value for key, value in scene.items() if key != "call"}
    patched = NODES[name]().apply_ipadapter(weight=1.0, **links)[0]
    return tiny.run_patched(patched, scene["call"])


@pytest.mark.parametrize("name", ["IPAdapterAdvanced", "IPAdapterApply"])
def test_corrected_is_what_the_own_nodes_make(
    scene: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = by_node(scene, name)
    monkeypatch.setenv(VARIABLE, CORRECTED)
    corrected = by_node(scene, name)
    own = by_core(scene, Fit.CROP_CENTRE, Unconditional.ZERO_PIXELS)
    assert tiny.relative(corrected, own) <= ROUNDING
    assert tiny.relative(corrected, shipped) > EFFECT


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (
            "IPAdapterAdvanced",
            {"weights": Weights((WithoutMiddle(),)), "mask_rule": MaskRule.BILINEAR},
        ),
        ("IPAdapterApply", {"mask_rule": MaskRule.BICUBIC}),
    ],
)
def test_as_shipped_is_the_core_with_options_of_its_own(
    scene: dict[str, Any], name: str, settings: dict[str, Any]
) -> None:
    own = by_core(scene, Fit.COMFYUI, Unconditional.BLACK_IMAGE, **settings)
    assert tiny.relative(by_node(scene, name), own) <= ROUNDING


def test_crops_of_faces() -> None:
    sides = {
        version: [profile_of(version).crop_side(family) for family in Family] for version in Version
    }
    assert set(sides[Version.ONE]) == {256}
    shipped = dict(zip(Family, sides[Version.TWO], strict=True))
    assert (shipped[Family.SD1], shipped[Family.SDXL], shipped[Family.KOLORS]) == (224, 256, 336)
