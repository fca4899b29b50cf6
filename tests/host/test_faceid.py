"""FaceID on a MODEL: diffusers' numbers with the inner LoRA, and nothing of it left behind."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.sample
import folder_paths
import pytest
import torch
from kit.models import book, checkpoints, tiny
from kit.models.tiny import Call, Twins
from pack.ip_models.errors import BrokenFile, WrongBase, WrongEncoder
from pack.ip_models.projection.projections import VERSION_1, Structure
from pack.nodes.host.files import folders
from pack.nodes.host.model import lora, patches
from pack.nodes.host.model.adapter import LoadedAdapter, ProjectionOptions, load
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor

SINGLE, EFFECT = 5e-6, 0.01
PLUS_V1, PLUS_V2 = "ip-adapter-faceid-plus_sd15", "ip-adapter-faceid-plusv2_sd15"


@cache
def twins(family: str) -> Twins:
    return tiny.twins(family)


@cache
def call(family: str) -> Call:
    return tiny.make_call(twins(family))


@cache
def plain(family: str) -> Tensor:
    return tiny.run_comfy(twins(family).model, call(family))


@cache
def face_tensors(family: str) -> dict[str, Tensor]:
    """A FaceID adapter with its LoRA."""
    twin = twins(family)
    return tiny.adapter_tensors(twin, "FaceID") | tiny.lora_tensors(twin)


@pytest.fixture
def adapter(tmp_path: Path) -> LoadedAdapter:
    return tiny.load_tensors(tmp_path, face_tensors("sd1"))


FACES = tiny.random_faces(2)


@pytest.mark.parametrize(
    ("family", "kind", "count", "name", "settings", "said"),
    [
        ("sd1", "FaceID", 1, "a", Settings(), None),
        ("sd1", "FaceID", 3, "a", Settings(scale=0.7, face_lora=0.5), None),
        ("sd1", "FaceID plus", 2, PLUS_V1, Settings(), None),
        ("sd1", "FaceID plus", 2, PLUS_V2, Settings(), None),
        ("sd1", "FaceID plus", 1, PLUS_V2, Settings(face_structure=0.4, face_lora=0), None),
        ("sd1", "FaceID plus", 1, PLUS_V1, Settings(), True),
        ("sd1", "FaceID portrait", 5, "a", Settings(), None),
        ("sd1", "FaceID portrait unnormed", 2, "a", Settings(), None),
        ("sdxl", "FaceID", 2, "a", Settings(), None),
        ("sdxl", "FaceID plus", 1, "a", Settings(face_structure=0.6), None),
        ("sdxl", "FaceID portrait", 2, "a", Settings(), None),
        ("sdxl", "FaceID portrait unnormed", 3, "a", Settings(scale=0.8), None),
    ],
)
def test_a_face_is_heard_as_in_diffusers(
    family: str,
    kind: str,
    count: int,
    name: str,
    settings: Settings,
    said: bool | None,
    tmp_path: Path,
) -> None:
    twin = twins(family)
    tensors = tiny.adapter_tensors(twin, kind)
    if "portrait" not in kind:
        tensors |= tiny.lora_tensors(twin)
    faces = tiny.random_faces(count, crops=kind == "FaceID plus")
    adapter = tiny.load_tensors(tmp_path, tensors, name).as_version(said)
    version_2 = family == "sdxl" or name == PLUS_V2 or said is True
    structure = Structure(version_2, settings.face_structure)
    model = apply(twin.model, adapter, faces, settings)
    ours = tiny.run_patched(model, call(family))
    strength = (settings.scale, None, structure, settings.face_lora)
    reference = tiny.run_diffusers(twin, call(family), [tensors], [faces], *strength)
    assert tiny.relative(ours, reference) < SINGLE
    bare = replace(settings, face_lora=0.0)
    without = tiny.run_patched(apply(twin.model, adapter, faces, bare), call(family))
    assert tiny.relative(without, plain(family)) > EFFECT
    if settings.face_lora and adapter.lora:
        assert tiny.relative(ours, without) > EFFECT
    else:
        assert torch.equal(ours, without)


def test_the_version_can_be_said_against_the_name(tmp_path: Path) -> None:
    twin = twins("sd1")
    tensors = tiny.adapter_tensors(twin, "FaceID plus")
    faces = tiny.random_faces(1, crops=True)
    second = tiny.load_tensors(tmp_path, tensors, PLUS_V2)
    pictures = [
        tiny.run_comfy(apply(twin.model, second.as_version(choice), faces, Settings()), call("sd1"))
        for choice in (None, True, False)
    ]
    assert torch.equal(pictures[0], pictures[1])
    assert tiny.relative(pictures[0], pictures[2]) > EFFECT


def sample(model: Any) -> Tensor:
    """Two steps of the host's own sampler, which puts the patches on and off the weights."""
    inputs = call("sd1")
    negative, positive = ([[row, {}]] for row in inputs.context.chunk(2))
    noise, empty = inputs.x[:1], torch.zeros_like(inputs.x[:1])
    settings = (noise, 2, 5.0, "euler", "normal", positive, negative, empty)
    return comfy.sample.sample(model, *settings, disable_pbar=True, seed=1)


def test_the_host_samples_with_the_lora_and_then_without(adapter: LoadedAdapter) -> None:
    base = twins("sd1").model
    before = sample(base)
    model = apply(base, adapter, FACES, Settings())
    picture, bare = sample(model), sample(apply(base, adapter, FACES, Settings(face_lora=0.0)))
    assert tiny.relative(picture, bare) > EFFECT and tiny.relative(bare, before) > EFFECT
    assert torch.equal(sample(patches.remove(model)), before)
    assert torch.equal(sample(model), picture)
    assert torch.equal(sample(base), before)


def test_a_scale_of_nought_leaves_the_weights_alone(adapter: LoadedAdapter) -> None:
    model = apply(twins("sd1").model, adapter, FACES, Settings(scale=0.0))
    assert not model.patches
    assert torch.equal(tiny.run_patched(model, call("sd1")), plain("sd1"))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_what_was_taken_off_leaves_nothing(family: str, tmp_path: Path) -> None:
    base = twins(family).model
    adapter = tiny.load_tensors(tmp_path, face_tensors(family))
    model = apply(base, adapter, FACES, Settings())
    assert len(model.patches) == 8 * len(twins(family).widths)
    picture = tiny.run_patched(model, call(family))
    cleared = patches.remove(model)
    assert not cleared.patches and lora.KEY not in cleared.model_options["transformer_options"]
    assert cleared.patches_uuid == base.patches_uuid
    assert torch.equal(tiny.run_patched(cleared, call(family)), plain(family))
    assert tiny.relative(picture, plain(family)) > EFFECT
    assert torch.equal(tiny.run_patched(model, call(family)), picture)


def test_the_model_that_came_in_is_as_it_was(adapter: LoadedAdapter) -> None:
    base = twins("sd1").model
    mark = base.patches_uuid
    apply(base, adapter, FACES, Settings())
    assert not base.patches and base.patches_uuid == mark
    assert lora.KEY not in base.model_options["transformer_options"]
    assert torch.equal(tiny.run_patched(base, call("sd1")), plain("sd1"))


def foreign(model: Any, strength: float) -> Any:
    """The MODEL with another LoRA on it, as ComfyUI's own loader puts it there."""
    patched = model.clone()
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora"
    width = twins("sd1").widths[0]
    generator = torch.Generator().manual_seed(6)
    halves = [torch.randn(*s, generator=generator) for s in ((4, width), (width, 4))]
    other = {f"{name}.down.weight": halves[0], f"{name}.up.weight": halves[1]}
    patched.add_patches(comfy.lora.load_lora(other, keys), strength)
    return patched


@pytest.mark.parametrize("after", [False, True])
def test_the_lora_of_somebody_else_stays(adapter: LoadedAdapter, after: bool) -> None:
    base = twins("sd1").model
    theirs = foreign(base, 0.5)
    if after:
        model = foreign(apply(base, adapter, FACES, Settings()), 0.5)
    else:
        model = apply(theirs, adapter, FACES, Settings())
    cleared = patches.remove(model)
    assert {key: len(left) for key, left in cleared.patches.items()} == {
        key: len(left) for key, left in theirs.patches.items()
    }
    assert (cleared.patches_uuid == theirs.patches_uuid) is not after
    assert cleared.patches_uuid not in (base.patches_uuid, model.patches_uuid)
    left, expected = (tiny.run_patched(one, call("sd1")) for one in (cleared, theirs))
    assert torch.equal(left, expected)
    assert tiny.relative(expected, plain("sd1")) > 1e-4


@pytest.mark.parametrize(("first", "second", "kept"), [(-1.0, 0.5, -1.0), (0.5, -1.0, -1.0)])
def test_the_greatest_strength_may_be_negative(
    adapter: LoadedAdapter, first: float, second: float, kept: float
) -> None:
    model = twins("sd1").model
    for strength in (first, second):
        model = apply(model, adapter, FACES, Settings(scale=0.5, face_lora=strength))
    strengths = {entry[0] for entries in model.patches.values() for entry in entries}
    assert strengths == {kept}


def test_two_people_share_one_lora(adapter: LoadedAdapter) -> None:
    base = twins("sd1").model
    once = apply(base, adapter, FACES, Settings(scale=0.5))
    twice = apply(once, adapter, FACES, Settings(scale=0.5))
    assert twice.patches_uuid == once.patches_uuid
    assert all(len(entries) == 1 for entries in twice.patches.values())
    whole = tiny.run_patched(apply(base, adapter, FACES, Settings()), call("sd1"))
    assert tiny.relative(tiny.run_patched(twice, call("sd1")), whole) < 1e-5
    faint = apply(base, adapter, FACES, Settings(scale=0.5, face_lora=0.2))
    louder = apply(faint, adapter, FACES, Settings(scale=0.5))
    assert all(len(entries) == 1 for entries in louder.patches.values())
    assert tiny.relative(tiny.run_patched(louder, call("sd1")), whole) < 1e-5
    same = apply(louder, adapter, FACES, Settings(scale=0.5, face_lora=0.2))
    assert same.patches_uuid == louder.patches_uuid
    assert patches.remove(same).patches == {}


def test_a_file_is_loaded_once_while_only_its_other_version_is_held(tmp_path: Path) -> None:
    tensors = tiny.adapter_tensors(twins("sd1"), "FaceID plus")
    path = str(checkpoints.write(tmp_path / PLUS_V2, tensors, "flat"))
    other = load(path).as_version(False)
    gc.collect()
    assert load(path).patcher is other.patcher


def test_a_file_that_was_loaded_anew_has_one_lora_too(tmp_path: Path) -> None:
    """Adapters are let go where nobody holds them, and a second loader reads the file again."""
    path = checkpoints.write(tmp_path / "faceid.safetensors", face_tensors("sd1"), "flat")
    first = load(str(path))
    once = apply(twins("sd1").model, first, FACES, Settings())
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    twice = apply(once, load(str(path)), FACES, Settings())
    assert all(len(entries) == 1 for entries in twice.patches.values())
    assert patches.remove(twice).patches == {}


def test_two_files_have_a_lora_each_and_both_leave(tmp_path: Path) -> None:
    twin = twins("sd1")
    one = tiny.load_tensors(tmp_path, face_tensors("sd1"), "one")
    more = tiny.adapter_tensors(twin, "FaceID", seed=8) | tiny.lora_tensors(twin, seed=9)
    other = tiny.load_tensors(tmp_path, more, "other")
    both = apply(apply(twin.model, one, FACES, Settings()), other, FACES, Settings())
    assert all(len(entries) == 2 for entries in both.patches.values())
    picture = tiny.run_patched(both, call("sd1"))
    tensors = [face_tensors("sd1"), more]
    reference = tiny.run_diffusers(twin, call("sd1"), tensors, [FACES, FACES], [1.0, 1.0])
    assert tiny.relative(picture, reference) < SINGLE
    cleared = patches.remove(both)
    assert cleared.patches == {} and cleared.patches_uuid == twin.model.patches_uuid


def test_a_lora_that_is_not_whole_is_refused_on_loading(tmp_path: Path) -> None:
    tensors = dict(face_tensors("sd1"))
    del tensors["ip_adapter.9.to_k_lora.up.weight"]
    with pytest.raises(BrokenFile, match=r"a.safetensors has a LoRA without 9\.to_k_lora\.up"):
        tiny.load_tensors(tmp_path, tensors)


def test_a_lora_of_other_widths_is_refused(tmp_path: Path) -> None:
    tensors = dict(face_tensors("sd1"))
    tensors["ip_adapter.0.to_q_lora.up.weight"] = torch.zeros(48, 8)
    adapter = tiny.load_tensors(tmp_path, tensors)
    with pytest.raises(WrongBase, match="fits 127 of 128 attention maps"):
        apply(twins("sd1").model, adapter, FACES, Settings())
    apply(twins("sd1").model, adapter, FACES, Settings(face_lora=0.0))


def test_faces_are_projected_once_for_each_structure(tmp_path: Path) -> None:
    tensors = tiny.adapter_tensors(twins("sd1"), "FaceID plus")
    adapter = tiny.load_tensors(tmp_path, tensors, PLUS_V2)
    faces = tiny.random_faces(1, crops=True)
    options = [ProjectionOptions(s) for s in (VERSION_1, Structure(True), Structure(True, 0.5))]
    found = [adapter.key_values(faces, how) for how in options]
    assert [adapter.key_values(faces, how) for how in options] == found
    assert len({id(one) for one in found}) == 3
    assert adapter.key_values(faces, ProjectionOptions(Structure(False, 0.5))) is found[0]
    same = replace(faces, identity=faces.identity.clone(), source="another file")
    assert adapter.key_values(same, options[1]) is found[1]
    adapter._projected.allow(2 * found[0].nbytes)
    for scale in (0.1, 0.2, 0.3, 0.4):
        adapter.key_values(faces, ProjectionOptions(Structure(True, scale)))
    assert len(adapter._projected) == 3  # the last and two more


def test_faces_without_crops_need_them_for_plus_and_pictures_are_no_faces(
    adapter: LoadedAdapter, tmp_path: Path
) -> None:
    twin = twins("sd1")
    with pytest.raises(WrongEncoder, match="needs a face. Connect Encode Face"):
        apply(twin.model, adapter, tiny.random_features(1), Settings())
    plus = tiny.load_tensors(tmp_path, tiny.adapter_tensors(twin, "FaceID plus"), "plus")
    with pytest.raises(WrongEncoder, match="needs the picture of the face too, read by ViT-H"):
        apply(twin.model, plus, FACES, Settings())


def test_a_face_with_its_crop_serves_an_adapter_for_pictures(tmp_path: Path) -> None:
    twin = twins("sd1")
    adapter = tiny.load_tensors(tmp_path, tiny.adapter_tensors(twin, "plus"), "plus")
    faces = tiny.random_faces(2, crops=True)
    assert faces.crops is not None
    picture, same = (
        tiny.run_comfy(apply(twin.model, adapter, one, Settings()), call("sd1"))
        for one in (faces, faces.crops)
    )
    assert torch.equal(picture, same)


def kolors_tensors(widths: list[int]) -> dict[str, Tensor]:
    """A Kolors FaceID plus adapter, small where the published widths do not matter."""
    shapes = checkpoints.tiny_shapes("FaceID plus", widths, 2048, 1024, 6, 4096, 1, depth=1)
    inner = "image_proj.perceiver_resampler.layers.0.1"
    shapes |= {f"{inner}.1.weight": (64, 4096), f"{inner}.3.weight": (4096, 64)}
    return checkpoints.fill(shapes, seed=3)


def test_kolors_hears_a_face_through_its_projection_of_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = ([str(tmp_path / "none")], set[str]())
    monkeypatch.setitem(folder_paths.folder_names_and_paths, folders.ADAPTERS, nowhere)
    twin = twins("sdxl")
    tensors = kolors_tensors(twin.widths)
    adapter = tiny.load_tensors(tmp_path, tensors)
    looks = replace(tiny.random_features(2), penultimate=torch.randn(2, 5, 1024), source="ViT-L")
    looks = replace(looks, negative_penultimate=torch.randn(1, 5, 1024))
    faces = replace(tiny.random_faces(2), crops=looks)
    with pytest.raises(WrongBase, match="this MODEL is SDXL"):
        apply(twin.model, adapter, faces, Settings())
    unet = twin.model.get_model_object("diffusion_model")
    unet.encoder_hid_proj = torch.nn.Linear(4096, 2048)
    try:
        model = apply(twin.model, adapter, faces, Settings())
        standard = tiny.load_tensors(tmp_path, tiny.adapter_tensors(twin, "standard"), "b")
        with pytest.raises(WrongBase, match="this MODEL is Kolors"):
            apply(twin.model, standard, tiny.random_features(1), Settings())
        assert tiny.relative(tiny.run_comfy(model, call("sdxl")), plain("sdxl")) > EFFECT
        prompt = patches.prompts_of(model).prompts[0]
        weights = checkpoints.nest(tensors)["image_proj"]
        hid_proj = {f"hid.{k}": v for k, v in unet.encoder_hid_proj.state_dict().items()}
        negative = torch.zeros(2, 512), torch.zeros(2, 5, 1024)
        for row, (identity, crops) in enumerate(((faces.identity, looks.penultimate), negative)):
            tokens = book.face_plus(identity, crops, weights, True)
            context = book.linear(tokens, hid_proj, "hid")
            for place in (0, 41, 69):
                rows = prompt.keys.cond if row == 0 else prompt.keys.uncond
                key, value = prompt.keys.pairs(rows)[place]
                if row:  # both faces share what is seen without one
                    key, value = key.repeat(1, 2, 1), value.repeat(1, 2, 1)
                for half, found in (("k", key[0]), ("v", value[0])):
                    matrix = tensors[f"ip_adapter.{2 * place + 1}.to_{half}_ip.weight"].double()
                    assert tiny.relative(found, context.flatten(0, 1) @ matrix.T) < SINGLE
    finally:
        del unet.encoder_hid_proj
