"""Damaged adapter files on the disk: what announces a file and what loads it say the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from kit.models import checkpoints
from kit.models.checkpoints import lora_shapes, tiny_adapter
from pack.ip_models.adapter.published import Choice
from pack.ip_models.errors import BrokenFile, IPAdapterError, MissingModel
from pack.nodes.host.doctor.misplaced import misplaced
from pack.nodes.host.doctor.survey import report
from pack.nodes.host.files import checkpoint, folders
from pack.nodes.host.model.adapter import load, read_file_spec
from pack.nodes.host.model.search import find_adapter
from pack.nodes.host.routes import describe
from test_search import layers
from torch import Tensor

Tensors = dict[str, Tensor]
Damage = Callable[[Tensors], object]

WIDTHS = (32, 64, 64)


def tiny(kind: str) -> Tensors:
    tokens = 16 if kind in ("plus", "FaceID portrait") else 4
    # The latents of FaceID plus are its tokens, as wide as the text context.
    dim = 768 if kind == "FaceID plus" else 64
    tensors = tiny_adapter(kind, WIDTHS, 768, 80, tokens, dim=dim, heads=1, depth=2)
    if kind == "FaceID":
        tensors |= checkpoints.fill(lora_shapes(WIDTHS, 768, rank=4))
    return tensors


KINDS = ("standard", "plus", "full face", "FaceID", "FaceID plus", "FaceID portrait")


def drop(key: str) -> Damage:
    return lambda tensors: tensors.pop(key)


def change(key: str, how: Callable[[Tensor], Tensor]) -> Damage:
    return lambda tensors: tensors.update({key: how(tensors[key]).contiguous()})


def add(key: str, *shape: int) -> Damage:
    return lambda tensors: tensors.update({key: torch.zeros(shape)})


PROJ, PERCEIVER = "image_proj.", "image_proj.perceiver_resampler."
THIRD = "ip_adapter.5.to_v_ip.weight"
DAMAGES: dict[str, tuple[str, Damage]] = {
    "standard: no bias": ("standard", drop(f"{PROJ}proj.bias")),
    "standard: proj transposed": ("standard", change(f"{PROJ}proj.weight", torch.t)),
    "standard: proj cut": ("standard", change(f"{PROJ}proj.weight", lambda t: t[:-7])),
    "standard: no norm": ("standard", drop(f"{PROJ}norm.weight")),
    "standard: third value narrow": ("standard", change(THIRD, lambda t: t[:, :-1])),
    "standard: third value short": ("standard", change(THIRD, lambda t: t[:-1])),
    "standard: one more": ("standard", add(f"{PROJ}proj_2.weight", 4, 4)),
    "plus: no proj_out": ("plus", drop(f"{PROJ}proj_out.weight")),
    "plus: no latents": ("plus", drop(f"{PROJ}latents")),
    "plus: latents transposed": ("plus", change(f"{PROJ}latents", lambda t: t.transpose(1, 2))),
    "plus: no norm of a block": ("plus", drop(f"{PROJ}layers.1.0.norm2.bias")),
    "plus: heads": ("plus", change(f"{PROJ}layers.0.0.to_q.weight", lambda t: t[:-10])),
    "plus: feed forward": ("plus", change(f"{PROJ}layers.1.1.3.weight", torch.t)),
    "full face: no bias": ("full face", drop(f"{PROJ}proj.2.bias")),
    "full face: no norm": ("full face", drop(f"{PROJ}proj.3.weight")),
    "full face: cut": ("full face", change(f"{PROJ}proj.0.weight", lambda t: t[:-1])),
    "FaceID: half a LoRA": ("FaceID", drop("ip_adapter.3.to_v_lora.up.weight")),
    "FaceID: LoRA halves": (
        "FaceID",
        change("ip_adapter.3.to_v_lora.up.weight", lambda t: t[:, :-1]),
    ),
    "FaceID: identity": ("FaceID", change(f"{PROJ}proj.0.weight", lambda t: t[:, :-1])),
    "FaceID: whole numbers": ("FaceID", change(THIRD, lambda t: t.to(torch.int8))),
    "FaceID plus: no proj_in": ("FaceID plus", drop(f"{PERCEIVER}proj_in.weight")),
    "FaceID plus: no norm": ("FaceID plus", drop(f"{PERCEIVER}norm_out.bias")),
    "FaceID plus: narrow": ("FaceID plus", change(f"{PERCEIVER}proj_in.weight", lambda t: t[:64])),
    "FaceID portrait: no bias": ("FaceID portrait", drop(f"{PROJ}proj.0.bias")),
    "FaceID portrait: cut": ("FaceID portrait", change(f"{PROJ}proj.2.bias", lambda t: t[:-1])),
}
CONTAINERS = {"flat": ".safetensors", "nested": ".bin"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of adapters, the only one that is searched for them."""
    names = ("custom_nodes", folders.ADAPTERS, folders.ENCODERS, folders.EMBEDS)
    table = {name: ([str(tmp_path / name)], {".safetensors", ".bin"}) for name in names}
    for name in names:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path / folders.ADAPTERS


def said(read: Callable[[], object]) -> str:
    """The sentence of a refusal, "" where there is none."""
    try:
        read()
    except IPAdapterError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_recognised_and_loaded(home: Path, kind: str, container: str) -> None:
    path = str(checkpoints.write(home / f"a{CONTAINERS[container]}", tiny(kind), container))
    spec = read_file_spec(path)
    assert load(path).spec == spec and read_file_spec(path) is spec


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_file_is_refused_where_it_is_announced(
    home: Path, case: str, container: str
) -> None:
    kind, damage = DAMAGES[case]
    tensors = tiny(kind)
    damage(tensors)
    name = f"a{CONTAINERS[container]}"
    path = str(checkpoints.write(home / name, tensors, container))
    announced = said(lambda: read_file_spec(path))
    assert announced.startswith(f"{name} ") and said(lambda: load(path)) == announced
    assert describe(name) == announced


def test_everything_that_lists_adapters_refuses_a_damaged_one(home: Path) -> None:
    kind, damage = DAMAGES["plus: no norm of a block"]
    tensors = tiny(kind)
    damage(tensors)
    checkpoints.write(home / "bad.safetensors", tensors, "flat")
    sentence = describe("bad.safetensors")
    assert "has no tensor layers.1.0.norm2.bias" in sentence
    lines = [line for line in report() if "bad.safetensors" in line]
    assert len(lines) == 1 and lines[0].startswith("✗ bad.safetensors: has no")
    assert lines[0].replace(": has", " has").endswith(sentence)
    with pytest.raises(MissingModel, match=r"layers\.1\.0\.norm2\.bias"):
        find_adapter(layers(WIDTHS, 768), Choice.PLUS)
    assert list(misplaced()) == []
    checkpoints.write(home / "good.safetensors", tiny(kind), "flat")
    folders.forget(folders.ADAPTERS)
    assert find_adapter(layers(WIDTHS, 768), Choice.PLUS) == "good.safetensors"


def test_a_file_that_was_replaced_is_recognised_anew(home: Path) -> None:
    path = str(checkpoints.write(home / "a.safetensors", tiny("plus"), "flat"))
    assert read_file_spec(path).kind.value == "plus"
    checkpoints.write(home / "a.safetensors", tiny("full face"), "flat")
    assert read_file_spec(path).kind.value == "full face"


def expanded() -> Any:
    tensors = tiny("standard")
    tensors[THIRD] = torch.zeros(1).expand(1_000_000, 768)
    return tensors


def tables_that_multiply() -> Any:
    inner: dict[str, Any] = {"a": torch.zeros(1)}
    for _ in range(40):
        inner = {"a": inner, "b": inner}
    return {"image_proj": inner, "ip_adapter": inner}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(expanded, "5.to_v_ip.weight larger than the file", id="one number expanded"),
        pytest.param(tables_that_multiply, "or one table twice", id="tables"),
    ],
)
@pytest.mark.parametrize("read", [checkpoint.read_shapes, checkpoint.read_tensors])
def test_a_torch_file_cannot_claim_more_than_it_holds(
    home: Path, content: Callable[[], Any], words: str, read: Callable[[str], object]
) -> None:
    path = home / "small.bin"
    torch.save(content(), path)
    with pytest.raises(BrokenFile, match=words):
        read(str(path))
