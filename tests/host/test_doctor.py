"""The report of what was found: every layout, every kind of damage, and what to get."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path

import comfy.clip_vision
import folder_paths
import pytest
import torch
from kit.models import checkpoints, encoder_shapes, tiny, transformer_adapters, transformers
from kit.models.checkpoints import CONTAINERS, all_tables, load_table
from kit.models.sparse_files import chroma_shapes, flux_shapes, sd3_shapes, write_gguf
from kit.server import live
from kit.server.live import Client
from kit.server.live_graph import changed, node
from kit.server.live_nodes import tiny_hunyuan_video
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from pack.ip_models.adapter.published import ADAPTER_ADDRESSES, ENCODER_ADDRESSES, Choice
from pack.ip_models.adapter.spec import Family
from pack.nodes.doctor import Doctor
from pack.nodes.host.doctor import misplaced
from pack.nodes.host.doctor.compatibility import Combination, Source, problems
from pack.nodes.host.doctor.survey import report
from pack.nodes.host.embeds import store
from pack.nodes.host.face import packs
from pack.nodes.host.files import checkpoint, folders
from pack.nodes.host.model import adapter, search
from pack.nodes.host.model.adapter import read_file_spec
from safetensors.torch import save_file
from test_checkpoint import BROKEN
from test_search import PAGE, put_adapter, put_encoder, shapes_of_encoder, write_sparse

pytest.importorskip("onnx")
from kit.models import face_packs as made_packs

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")
FLUX_INSTANTX = Family.FLUX, Choice.INSTANTX
OTHERS = ("checkpoints", "controlnet", "loras", "text_encoders", folders.EMBEDS)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty model folders, the only ones that are searched."""
    table = {"custom_nodes": ([str(tmp_path / "custom_nodes")], set())}
    for name in (folders.ADAPTERS, folders.ENCODERS, *OTHERS):
        (tmp_path / name).mkdir()
        table[name] = ([str(tmp_path / name)], set(folder_paths.supported_pt_extensions))
    table[folders.EMBEDS][1].update(folders.EMBEDS_ENDINGS)
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def line_with(found: list[str], *words: str) -> str:
    """The one line that has all of the words."""
    lines = [line for line in found if all(word in line for word in words)]
    assert len(lines) == 1, (words, found)
    return lines[0]


def of_family(found: list[str], family: Family) -> list[str]:
    """The lines on what can be done with a family."""
    start = found.index(f"What can be done with {family.value}:") + 1
    return list(takewhile(lambda line: line[0] in "✓✗", found[start:]))


def of_kind(found: list[str], family: Family, choice: Choice) -> str:
    """The one line on a kind of adapter of a family."""
    (line,) = (one for one in of_family(found, family) if one[2:].startswith(f"{choice.value}: "))
    return line


def test_empty_folders_say_what_to_get_for_each_published_kind(models: Path) -> None:
    found = report()
    text = "\n".join(found)
    for (family, choice), address in ADAPTER_ADDRESSES.items():
        wanted = family in (Family.SD1, Family.SDXL)
        assert (address in text) == wanted, choice
        if wanted:
            assert of_kind(found, family, choice).startswith("✗")
    for name in ("ViT-H", "ViT-bigG"):
        line = line_with(found, f"{name}: put {ENCODER_ADDRESSES[name][1]}")
        assert line.endswith(f"into models/clip_vision as {ENCODER_ADDRESSES[name][0]}")
    assert "buffalo_l.zip" in text and "models/insightface/models/buffalo_l" in text
    assert "✓" not in text and str(models / "ipadapter") in text
    line = of_kind(found, Family.SDXL, Choice.STANDARD)
    assert line == "✗ standard: missing the adapter and ViT-H"


def test_the_report_begins_with_the_files_to_begin_with(models: Path) -> None:
    first, sd1, sdxl, encoder, *rest = report()
    assert first == "To begin with, get these files and press R:"
    for line, family in ((sd1, Family.SD1), (sdxl, Family.SDXL)):
        address = ADAPTER_ADDRESSES[family, Choice.STANDARD]
        assert line == f"for {family.value}: put {address} into models/ipadapter"
    assert encoder.startswith("for both: put ") and rest[0].startswith("IP-Adapter report: ")
    put_adapter(models, "plus", "one.safetensors")
    assert report()[:2] == [first, encoder]
    put_encoder(models, "H", "h.safetensors")
    assert report()[0].startswith("IP-Adapter report: ")


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_layout_is_recognised(models: Path, container: str) -> None:
    widths = [32, 32, 64, 64, *[128] * 5, *[64] * 3, *[32] * 3, 128]
    tensors = checkpoints.tiny_adapter("plus", widths, 768, 1280, 16, dim=64, depth=1)
    checkpoints.write(models / "ipadapter" / "any name.bin", tensors, container)
    line = line_with(report(), "any name.bin", "MB")
    assert line.startswith("✓")
    assert "SD1.5 plus, 16 tokens, needs ViT-H, no encoder here gives it" in line


def test_every_published_file_is_listed_as_what_it_is(models: Path) -> None:
    for table in all_tables():
        write_sparse(models / "ipadapter" / f"{table.name}.safetensors", table.tensors)
    found = report()
    for table in all_tables():
        expect = table.expect
        line = line_with(found, f" {table.name}.safetensors: ", "")
        if line.startswith("✗"):  # recognised by read_spec as another model, with its sentence
            assert not expect.supported
            continue
        assert re.search(rf" MB, {expect.family} {expect.kind}( v\d)?, \d+ tokens, needs ", line)
        assert line.startswith("✓" if expect.supported else "–")
        assert ("not applicable yet" in line) == (not expect.supported)
    assert of_kind(found, Family.KOLORS, Choice.PLUS).endswith("missing ViT-L 336")
    assert of_kind(found, Family.SD2, Choice.PLUS) == "✗ plus: missing ViT-H"


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_has_its_sentence_and_harms_nothing(models: Path, case: str) -> None:
    content, words = BROKEN[case]
    for folder in (folders.ADAPTERS, folders.ENCODERS, *OTHERS):
        for name in ("bad.safetensors", "bad.bin"):
            (models / folder / name).write_bytes(content)
    put_adapter(models, "plus", "good.safetensors")
    found = report()
    assert line_with(found, "good.safetensors", "MB").startswith("✓")
    bad = [line for line in found if line.startswith("✗ bad.")]
    assert len(bad) == 6  # adapters, encoders, embeds
    assert all(words in line for line in bad[:4]), bad
    assert "Files in other folders:" not in found


FEW = {
    "few.safetensors": {"vision_model.post_layernorm.weight": torch.tensor(1.0)},
    "flat.safetensors": {"visual_projection.weight": torch.tensor(1.0)},
    "places.safetensors": {"vision_model.embeddings.position_embedding.weight": torch.tensor(1.0)},
    "table.bin": {"visual_projection.weight": {"a": torch.zeros(2)}},
}


@pytest.mark.parametrize("name", FEW)
def test_an_encoder_of_other_shapes_harms_nothing_beside_it(models: Path, name: str) -> None:
    path = put_adapter(models, "plus", "one.safetensors")
    put_encoder(models, "H", "h.safetensors")
    good = {"vision_model.post_layernorm.weight": torch.zeros(1280)}
    write = torch.save if name.endswith(".bin") else save_file
    write(good | FEW[name], models / "clip_vision" / name)
    found = report()
    assert line_with(found, f"– {name}: ", "no CLIP image encoder, not used here")
    assert line_with(found, "one.safetensors: ", "h.safetensors gives that")
    spec = read_file_spec(str(path))
    assert search.find_encoder(spec) == "h.safetensors"
    assert "h.safetensors" in search.encoder_hint(spec)
    (said,) = problems(Combination(encoder=name))
    assert said.startswith(f"{name} is no CLIP image encoder; ")
    assert problems(Combination("one.safetensors", name, embeds=Source.IMAGE)) == []


def test_what_cannot_be_opened_is_said(models: Path) -> None:
    (models / "ipadapter" / "link.safetensors").symlink_to(models / "gone")
    (models / "ipadapter" / "folder.bin").mkdir()
    put_adapter(models, "plus", "good.safetensors")
    assert line_with(report(), "good.safetensors", "MB")


def test_a_file_name_that_is_no_text_does_not_stop_the_report(models: Path) -> None:
    put_adapter(models, "plus", "fran\udce7ais.safetensors")
    found = report()
    "\n".join(found).encode("utf-8")
    assert line_with(found, "fran\\udce7ais.safetensors", "MB")


def test_what_is_complete_is_ready_with_its_files(models: Path) -> None:
    put_adapter(models, "plus", "one.safetensors")
    put_adapter(models, "FaceID plus", "ip-adapter-faceid-plusv2.bin")
    put_encoder(models, "H", "h.safetensors")
    found = report()
    assert line_with(found, "✓ plus: one.safetensors + h.safetensors")
    assert line_with(found, "✗ FaceID plus v2: missing face pack buffalo_l")
    assert line_with(found, "one.safetensors", "h.safetensors gives that")
    assert line_with(found, "ip-adapter-faceid-plusv2.bin: ", "SD1.5 FaceID plus v2, 4 tokens")
    assert line_with(found, "✓ h.safetensors", "ViT-H")
    assert "put https://huggingface.co/h94/IP-Adapter/resolve/main/models/image_enc" not in str(
        found
    )


def test_the_first_by_name_is_named_and_the_pack_of_the_training_before_others(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b.safetensors", "a.safetensors"):
        put_adapter(models, "plus", name)
    put_adapter(models, "FaceID", "faceid.bin")
    put_encoder(models, "H", "h.safetensors")
    home = models / "insightface" / "models"
    for name in ("another", "buffalo_l"):
        made_packs.make_pack(home / name)
    # A field more that no reader knows: whole, and of another size than the published file.
    (home / "another" / "w600k_r50.onnx").write_bytes(
        (home / "buffalo_l" / "w600k_r50.onnx").read_bytes() + b"\x98\x06\0"
    )
    size = (home / "buffalo_l" / "w600k_r50.onnx").stat().st_size
    known = packs.KnownFile("w600k_r50", "buffalo_l", size, "")
    monkeypatch.setattr(packs, "KNOWN_FILES", (known,))
    found = report()
    assert of_kind(found, Family.SD1, Choice.PLUS) == "✓ plus: a.safetensors + h.safetensors"
    assert line_with(found, "✓ another in", "not a file known here")
    assert of_kind(found, Family.SD1, Choice.FACEID) == "✓ FaceID: faceid.bin + buffalo_l"


def test_face_packs_are_listed_with_their_files_and_licence(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_adapter(models, "FaceID", "faceid.bin")
    home = models / "insightface" / "models"
    made_packs.make_pack(home / "buffalo_l")
    made_packs.make_pack(home / "half")
    (home / "half" / "w600k_r50.onnx").unlink()
    (home / "antelopev2").mkdir()
    found = report()
    assert line_with(found, "✓ buffalo_l in", "face detector det_10g.onnx (not a file known here)")
    assert line_with(found, "✗ half", "has no face recogniser")
    assert line_with(found, "✗ antelopev2", "scrfd_10g_bnkps.onnx and glintr100.onnx")
    assert line_with(found, f"Licence: {packs.LICENCE}")
    assert line_with(found, "✓ FaceID: faceid.bin + buffalo_l", "faces may not be alike")
    size = (home / "buffalo_l" / "w600k_r50.onnx").stat().st_size
    known = packs.KnownFile("w600k_r50", "buffalo_l", size, "")
    monkeypatch.setattr(packs, "KNOWN_FILES", (known,))
    assert line_with(report(), "✓ FaceID: faceid.bin + buffalo_l").endswith("+ buffalo_l")


def test_an_encoder_folder_is_one_entry_and_goes_with_adapters(models: Path) -> None:
    put_adapter(models, "plus", "one.safetensors")
    home = models / "clip_vision" / "vit-h"
    home.mkdir()
    settings = dict(image_size=224, patch_size=14, hidden_size=1280, num_attention_heads=16)
    (home / "config.json").write_text(json.dumps({"model_type": "clip_vision_model", **settings}))
    write_sparse(home / "model.safetensors", shapes_of_encoder("H"))
    (home / "model.fp16.safetensors").write_bytes(PAGE)
    found = report()
    assert line_with(found, "✓ vit-h: 1264 MB, ViT-H")
    assert line_with(found, "✓ plus: one.safetensors + vit-h/model.safetensors")
    assert not any("fp16" in line for line in found)
    assert problems(Combination("one.safetensors", "vit-h", embeds=Source.IMAGE)) == []
    (home / "config.json").write_text("[]")
    assert line_with(report(), "✗ vit-h: ", "config.json").endswith(".")
    (said,) = problems(Combination(encoder="vit-h"))
    assert "vit-h" in said and "config.json" in said


def test_saved_embeds_are_listed_with_what_they_hold(models: Path) -> None:
    home = models / folders.EMBEDS
    (home / "sub").mkdir()
    data = store.as_safetensors(tiny.random_features(2))
    (home / "sub" / "cats.safetensors").write_bytes(data)
    (home / "face.safetensors").write_bytes(store.as_safetensors(tiny.random_faces(1)))
    torch.save([torch.stack((torch.zeros(1, 1024), torch.ones(1, 1024)))], home / "theirs.ipadpt")
    (home / "page.safetensors").write_bytes(PAGE)
    found = report()
    assert line_with(found, "✓ sub/cats.safetensors: 2 references of")
    assert line_with(found, "✓ face.safetensors: 1 face of")
    assert line_with(found, "✓ theirs.ipadpt: 1 reference of ViT-H")
    assert line_with(found, "✗ page.safetensors", "web page")
    assert line_with(found, f"Saved embeds in {home}:")
    (home / "face.safetensors").write_bytes(data)
    assert line_with(report(), "✓ face.safetensors: 2 references of")


def test_swapped_and_misplaced_files_are_found_by_content(models: Path) -> None:
    plus = load_table("ip-adapter-plus_sd15").tensors
    write_sparse(models / "controlnet" / "model.safetensors", plus)
    write_sparse(models / "clip_vision" / "CLIP-ViT-H.safetensors", plus)
    put_encoder(models, "H", "../ipadapter/ip-adapter.safetensors")
    widths = [32, 32, 64, 64, *[128] * 5, *[64] * 3, *[32] * 3, 128]
    tensors = checkpoints.tiny_adapter("standard", widths, 768, 1024, 4)
    checkpoints.write(models / "checkpoints" / "a.bin", tensors, "nested")
    checkpoints.write(models / "loras" / "b.ckpt", tensors, "raw bin")
    torch.save({"lora": torch.ones(2)}, models / "loras" / "ip-adapter-FaceID-sd15_LoRA.bin")
    write_sparse(models / "loras" / "normal.safetensors", {"lora_unet.lora_up.weight": (8, 4)})
    found = report()
    for place in ("controlnet/model", "clip_vision/CLIP", "checkpoints/a.bin", "loras/b.ckpt"):
        assert "belongs into models/ipadapter" in line_with(found, place, "is an IP-Adapter")
    assert line_with(found, "is an image encoder; it belongs into models/clip_vision")
    assert line_with(found, "FaceID-sd15_LoRA", "not needed here")
    start = found.index("Files in other folders:") + 1
    assert sum(1 for _ in takewhile(lambda line: line[0] == "–", found[start:])) == 6


def test_what_is_linked_into_its_folder_is_not_misplaced(models: Path) -> None:
    path = put_adapter(models, "plus", "one.safetensors")
    (models / "controlnet" / "one.safetensors").symlink_to(path)
    assert "Files in other folders:" not in report()


def put_base(models: Path, name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    folder, name = name.split("/")
    places = folder_paths.folder_names_and_paths
    places[folder] = ([str(models / folder)], set(folder_paths.supported_pt_extensions))
    write_sparse(models / folder / name, shapes)


def as_checkpoint(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"model.diffusion_model.{key}": shape for key, shape in shapes.items()}


def test_what_is_missing_is_that_of_the_base_models_there_are(models: Path) -> None:
    put_base(models, "diffusion_models/flux1-dev.safetensors", dict(flux_shapes()))
    found = report()
    assert line_with(found, "✓ Flux: flux1-dev.safetensors")
    assert [line for line in found if "can be done" in line] == ["What can be done with Flux:"]
    line = of_kind(found, Family.FLUX, Choice.XLABS)
    assert line.startswith("✗ XLabs: missing the adapter and ViT-L (trained for CFG above 1")
    line = of_kind(found, Family.FLUX, Choice.XLABS_V2)
    assert line == "✗ XLabs v2: missing the adapter and ViT-L"
    line = of_kind(found, Family.FLUX, Choice.INSTANTX)
    assert line == "✗ InstantX: missing the adapter and SigLIP"
    line = line_with(found, "InstantX for Flux: put ", ADAPTER_ADDRESSES[FLUX_INSTANTX])
    assert line.endswith("as flux_instantx_ip-adapter.bin (licence: FLUX.1 [dev] non-commercial)")
    assert line_with(found, "SigLIP: put ", ENCODER_ADDRESSES["SigLIP"][1])
    assert line_with(found, "ViT-L: put ", ENCODER_ADDRESSES["ViT-L"][1])
    put_base(models, "checkpoints/large.safetensors", as_checkpoint(sd3_shapes()))
    found = report()
    assert of_kind(found, Family.SD3, Choice.INSTANTX).endswith("the adapter and SigLIP")
    assert line_with(found, "InstantX for SD3.5: put ", "(licence: Stability AI community)")


def test_base_models_are_listed_as_what_they_are(models: Path) -> None:
    for number in range(5):
        put_base(models, f"diffusion_models/flux{number}.safetensors", dict(flux_shapes()))
    put_base(models, "diffusion_models/chroma.safetensors", dict(chroma_shapes()))
    put_base(models, "diffusion_models/lite.safetensors", dict(flux_shapes(8)))
    put_base(models, "diffusion_models/medium.safetensors", dict(sd3_shapes(24, 1536)))
    put_base(models, "diffusion_models/lora.safetensors", {"lora_unet.lora_up.weight": (8, 4)})
    (models / "diffusion_models" / "page.safetensors").write_bytes(PAGE)
    found = report()
    start = found.index("Base models in models/checkpoints, models/diffusion_models:") + 1
    assert list(takewhile(lambda line: line[0] in "✓–", found[start:])) == [
        "✓ Chroma, which is like Flux: chroma.safetensors",
        "✓ Flux: flux0.safetensors, flux1.safetensors, flux2.safetensors and 2 more",
        "– Flux with layers of its own: lite.safetensors; no adapter was published for it",
        "– SD3 Medium or SD3.5 Medium: medium.safetensors; no adapter was published for it",
    ]
    assert [line for line in found if "can be done" in line] == ["What can be done with Flux:"]


def test_quantised_base_models_are_listed_too(models: Path) -> None:
    """ComfyUI-GGUF lists them under a name of its own."""
    folder_paths.folder_names_and_paths["unet_gguf"] = ([str(models / "unet")], {".gguf"})
    write_gguf(models / "unet" / "flux1-dev-Q4_0.gguf", flux_shapes())
    (models / "unet" / "page.gguf").write_bytes(PAGE)
    found = report()
    assert line_with(found, "✓ Flux: flux1-dev-Q4_0.gguf")
    assert [line for line in found if "can be done" in line] == ["What can be done with Flux:"]


def test_adapters_and_encoders_of_transformers_are_ready_by_content(models: Path) -> None:
    aliases = {"ipadapter-flux": "InstantX", "xlabs/ipadapters": "XLabs v2"}
    for folder, kind in aliases.items():
        put_adapter(models, kind, f"../{folder}/any.bin")
        name = f"{kind}.safetensors"
        (models / folder / "any.bin").rename(models / folder / name)
    put_adapter(models, "SD3.5 InstantX", "three.bin")
    put_encoder(models, "L", "l.safetensors")
    bare = encoder_shapes.siglip(27, 1152, head=False)
    write_sparse(models / "clip_vision" / "bare.safetensors", bare)
    folders.register()
    found = report()
    assert line_with(found, "✓ InstantX.safetensors: 5291 MB, Flux InstantX, 128 tokens", "no enc")
    assert line_with(found, "✓ XLabs v2.safetensors: ", "Flux XLabs v2, 16 tokens", "l.safetensors")
    line = of_kind(found, Family.FLUX, Choice.XLABS_V2)
    assert line == "✓ XLabs v2: XLabs v2.safetensors + l.safetensors"
    assert of_kind(found, Family.FLUX, Choice.INSTANTX) == "✗ InstantX: missing SigLIP"
    line = of_kind(found, Family.SD3, Choice.INSTANTX)
    assert line == "✓ InstantX: three.bin + bare.safetensors"
    assert line_with(found, "✓ bare.safetensors: ", "SigLIP without its pooled feature")
    put_encoder(models, "S", "whole.safetensors")
    line = of_kind(report(), Family.FLUX, Choice.INSTANTX)
    assert line == "✓ InstantX: InstantX.safetensors + whole.safetensors"
    assert "Files in other folders:" not in report()


@pytest.mark.parametrize("kind", ["XLabs", "XLabs of diffusers", "InstantX", "SD3.5 InstantX"])
def test_a_misplaced_adapter_of_a_transformer_is_found(models: Path, kind: str) -> None:
    put_adapter(models, kind, "../controlnet/ip_adapter.safetensors")
    put_encoder(models, "S", "../loras/sig.safetensors")
    found = report()
    line = line_with(found, "controlnet/ip_adapter.safetensors is an IP-Adapter")
    assert line.endswith("it belongs into models/ipadapter")
    assert line_with(found, "loras/sig.safetensors is an image encoder")


def test_a_connected_transformer_narrows_the_report(models: Path) -> None:
    put_adapter(models, "InstantX", "big.safetensors")
    flux = transformers.full_flux()
    save_file(transformer_adapters.xlabs(flux), models / "ipadapter" / "fits.safetensors")
    found = report(flux.model)
    assert line_with(found, "The connected MODEL is Flux with 57 blocks")
    assert line_with(found, "✓ fits.safetensors", "fits the MODEL")
    assert line_with(found, "– big.safetensors", "not for the connected MODEL")
    found = report(transformers.full_chroma().model)
    assert line_with(found, "The connected MODEL is Chroma, which is like Flux with 57 blocks")


def test_a_model_narrows_the_report(models: Path) -> None:
    put_adapter(models, "plus", "big.safetensors")
    twin = tiny.twins("sd1")
    tensors = tiny.adapter_tensors(twin, "plus")
    checkpoints.write(models / "ipadapter" / "tiny.safetensors", tensors, "flat")
    found = report(twin.model)
    assert line_with(found, "The connected MODEL is SD1.5 with 16 cross-attention layers")
    assert line_with(found, "✓ tiny.safetensors", "fits the MODEL")
    assert line_with(found, "– big.safetensors", "not for the connected MODEL")
    assert [line for line in found if "can be done" in line] == ["What can be done with SD1.5:"]
    assert of_kind(found, Family.SD1, Choice.PLUS) == "✗ plus: missing ViT-H"
    assert line_with(found, "ViT-H: put")


def test_a_model_of_no_use_is_said(models: Path) -> None:
    found = report(tiny_hunyuan_video())
    line = line_with(found, "The connected MODEL is of no use here", "HunyuanVideo")
    assert line.endswith(".")


@pytest.mark.parametrize("wrong", [0, "text", [1], object(), torch.ones(2)])
def test_anything_may_be_connected(models: Path, wrong: object) -> None:
    found = report(wrong, wrong)
    assert line_with(found, "The connected MODEL is", "no MODEL")
    assert line_with(found, "The connected CLIP Vision is no CLIP image encoder")


def test_a_connected_encoder_is_named_with_the_adapters_it_serves(models: Path) -> None:
    put_adapter(models, "plus", "one.safetensors")
    put_adapter(models, "FaceID", "faceid.bin")
    put_adapter(models, "ViT-G", "vit-g.safetensors")
    config = dict(
        model_type="clip_vision_model",
        hidden_size=1280,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        hidden_act="gelu",
        image_size=28,
        patch_size=14,
        num_channels=3,
        projection_dim=1024,
    )
    path = models / "encoder.json"  # older versions of the host take it from a file only
    path.write_text(json.dumps(config))
    encoder = comfy.clip_vision.ClipVisionModel(str(path))
    line = line_with(report(None, encoder), "The connected CLIP Vision is")
    assert line.endswith("is ViT-H, for one.safetensors")


def test_versions_and_other_packs_are_named(models: Path) -> None:
    incumbent = models / "custom_nodes" / "ComfyUI_IPAdapter_plus"
    incumbent.mkdir(parents=True)
    (incumbent / "IPAdapterPlus.py").touch()
    found = report()
    assert re.fullmatch(
        r"IP-Adapter report: pack \d\S*, ComfyUI \d\S*, torch \d\S*, device \S.*, attention \w+",
        line_with(found, "IP-Adapter report: "),
    )
    assert line_with(found, "ComfyUI_IPAdapter_plus is installed as well, which is fine")


def test_the_report_goes_to_the_log_on_request(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="ipadapter")
    report()
    assert not caplog.records
    report(logged=True)
    assert "What can be done with SDXL" in caplog.text


def test_the_node_runs_alone_and_again_after_each_change(models: Path) -> None:
    schema = Doctor.define_schema()
    assert schema.is_output_node and all(one.optional for one in schema.inputs)
    made = Doctor.execute()
    assert "IP-Adapter report: " in made.args[0] and made.ui is not None
    first = Doctor.fingerprint_inputs()
    time.sleep(0.001)
    assert Doctor.fingerprint_inputs() != first


def test_three_hundred_files_take_a_second(models: Path) -> None:
    plus = load_table("ip-adapter-plus_sd15").tensors
    lora = {
        f"lora_unet_down_blocks_{i}_to_k.lora_{half}.weight": (8, 320)
        for i in range(800)
        for half in ("up", "down")
    }
    for folder, shapes, count in (("ipadapter", plus, 20), ("loras", lora, 300)):
        first = write_sparse(models / folder / "0.safetensors", shapes)
        for number in range(1, count):
            os.link(first, models / folder / f"{number}.safetensors")
    report()  # once, so that what is imported and listed does not count
    for cache in (misplaced._read_kind, adapter._read_file_spec):
        cache.cache_clear()
    checkpoint._remembered.__init__()
    start = time.process_time()
    assert sum("SD1.5 plus, 16 tokens" in line for line in report()) == 20
    assert time.process_time() - start < 1.0


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("comfy base")
    models = base / "shared models"
    for folder in ("ipadapter", "clip_vision", "checkpoints"):
        (models / folder).mkdir(parents=True)
    write_tiny_adapter(models / "ipadapter" / "tiny.safetensors")
    (models / "ipadapter" / "page.safetensors").write_bytes(PAGE)
    put_encoder(models, "G", "g.safetensors")
    write_sparse(models / "secret.safetensors", load_table("ip-adapter_sdxl").tensors)
    with live.running(base, models) as running:
        yield running


def test_route_and_node_give_the_same_report(client: Client) -> None:
    answer = client.get("/ipadapter/doctor")
    prompt = {"doctor": node("IPADoctor")}
    texts = [client.run(prompt)["outputs"]["doctor"]["text"][0] for _ in range(2)]
    assert texts[0].splitlines() == answer["text"]
    assert "✓ tiny.safetensors: " in texts[0] and "is a web page" in texts[0]
    assert answer.keys() == {"text"}
    assert line_with(answer["text"], "✗ page.safetensors: is a web page")
    assert line_with(answer["text"], "✓ g.safetensors: ", "ViT-bigG")
    assert "secret" not in json.dumps(answer)


def test_the_node_takes_model_and_encoder(client: Client) -> None:
    prompt = changed() | {
        "doctor": node("IPADoctor", model=["checkpoint", 0], clip_vision=["encoder", 0], log=True)
    }
    text = client.run(prompt)["outputs"]["doctor"]["text"][0]
    assert "The connected MODEL is SD1.5 with 16" in text
    assert "The connected CLIP Vision is ViT-H, for tiny.safetensors" in text
    assert "✓ tiny.safetensors" in text and "fits the MODEL" in text


def test_the_check_answers_over_http(client: Client) -> None:
    said = client.get("/ipadapter/check?adapter=tiny.safetensors&encoder=g.safetensors")["text"]
    assert len(said) == 1 and "needs ViT-H" in said[0] and "ViT-bigG" in said[0]
    for query in ("", "?adapter=../secret.safetensors", "?kind=x&embeds=y", "?checkpoint=%00"):
        assert client.get(f"/ipadapter/check{query}")["text"] == []
