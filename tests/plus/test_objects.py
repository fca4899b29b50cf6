"""IPADAPTER as dicts that hold weights once, and INSIGHTFACE with and without the package."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import weakref
from collections import ChainMap, OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import folder_paths
import numpy
import pytest
import torch
from kit.models import checkpoints, face_packs, tiny
from kit.models.tiny import Twins
from kit.plus_original import original_nodes
from pack.ip_models.adapter.spec import Feature
from pack.ip_models.errors import BadInput, BrokenFile, IPAdapterError, MissingModel
from pack.nodes.host.face import packs
from pack.nodes.host.face.encode import Photos, encode_faces, engine_of
from pack.nodes.host.face.engine import EngineChoice, load_engine
from pack.nodes.host.files import checkpoint
from pack.nodes.host.model.adapter import LoadedAdapter, load
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.plus.objects.adapter_dict import AdapterDict
from pack.nodes.plus.objects.faces import Faces, load_faces
from pack.nodes.plus.objects.lazy import LazyTensors
from pack.nodes.plus.objects.pipeline import (
    Pipeline,
    adapter_of,
    encoder_of,
    faces_of,
    is_pipeline,
)
from torch import Tensor

Tensors = dict[str, Tensor]
ROOT = Path(__file__).resolve().parents[2]


@cache
def twins() -> Twins:
    return tiny.twins("sd1")


@cache
def tensors_of(kind: str) -> Tensors:
    found = tiny.adapter_tensors(twins(), kind)
    return found | tiny.lora_tensors(twins()) if kind == "FaceID" else found


def write(folder: Path, kind: str = "plus", name: str = "a.safetensors") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(checkpoints.write(path, tensors_of(kind), "flat"))


def halves(kind: str) -> dict[str, Tensors]:
    """Form B as the original makes it of a file."""
    return {half: dict(part) for half, part in checkpoints.nest(tensors_of(kind)).items()}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each time tensors are read from a file; the reading itself is the real one."""
    seen: list[str] = []
    real = checkpoint.read_tensors

    def counted(path: str, *args: Any) -> Mapping[str, Any]:
        seen.append(path)
        return real(path, *args)

    monkeypatch.setattr(checkpoint, "read_tensors", counted)
    return seen


def equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def test_a_file_is_read_once_until_somebody_touches_its_tensors(
    tmp_path: Path, reads: list[str]
) -> None:
    held = AdapterDict(write(tmp_path))
    inner = held["image_proj"], held["ip_adapter"]
    assert len(reads) == 1, "loading the adapter itself"
    adapter_of(held)
    assert is_pipeline(Pipeline(ipadapter={"file": "a", "model": held}))
    for half, tensors in halves("plus").items():
        assert list(held[half]) == list(held[half].keys()) and set(held[half]) == set(tensors)
        assert len(held[half]) == len(tensors) and next(iter(tensors)) in held[half]
        assert "nothing like that" not in held[half]
    gc.collect()
    assert len(reads) == 1 and not any(part.loaded for part in inner)
    assert not any(dict.__len__(part) for part in inner), "no tensor is held"
    assert inner[0]["latents"].shape == tensors_of("plus")["image_proj.latents"].shape
    assert len(reads) == 2
    assert equal(dict(inner[1]), {key: halves("plus")["ip_adapter"][key] for key in inner[1]})
    assert len(reads) == 2, "the file is read once for both halves"


def test_a_graph_of_our_own_holds_the_weights_once(tmp_path: Path, reads: list[str]) -> None:
    held = Pipeline(ipadapter={"file": "a", "model": AdapterDict(write(tmp_path))})
    adapter = adapter_of(held)
    apply(twins().model.clone(), adapter, tiny.random_features(1), Settings())
    size = sum(one.numel() for one in tensors_of("plus").values())
    gc.collect()
    found = [one for one in gc.get_objects() if isinstance(one, torch.nn.Parameter)]
    ours = {id(one) for one in adapter.patcher.model.parameters()}
    assert sum(one.numel() for one in found if id(one) in ours) == size
    assert len(reads) == 1


TOUCHES: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "stars": lambda held: {**held},
    "keywords": lambda held: (lambda **given: given)(**held),
    "update": lambda held: _updated({}, held),
    "union": lambda held: {} | held,
    "union the other way": lambda held: held | {},
    "copy": lambda held: held.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda held: pickle.loads(pickle.dumps(held)),
    "items": lambda held: dict(held.items()),
    "values": lambda held: dict(zip(held, held.values(), strict=True)),
    "get": lambda held: {key: held.get(key) for key in held},
    "index": lambda held: {key: held[key] for key in held},
    "OrderedDict": OrderedDict,
    "ChainMap": lambda held: dict(ChainMap(held)),
    "pop": lambda held: {key: held.pop(key) for key in list(held)},
}


def _updated(one: dict[str, Any], other: Any) -> dict[str, Any]:
    one.update(other)
    return one


@pytest.mark.parametrize("touch", TOUCHES)
def test_however_a_half_is_copied_its_tensors_are_there(tmp_path: Path, touch: str) -> None:
    held = AdapterDict(write(tmp_path))["ip_adapter"]
    assert isinstance(held, dict)
    found = TOUCHES[touch](held)
    assert isinstance(found, dict) and not isinstance(found, LazyTensors)
    assert equal(found, {key: halves("plus")["ip_adapter"][key] for key in found})
    assert len(found) == len(halves("plus")["ip_adapter"])


def test_equal_to_a_plain_dict_of_the_same_tensors(tmp_path: Path) -> None:
    held = AdapterDict(write(tmp_path))["image_proj"]
    same = dict(AdapterDict(write(tmp_path))["image_proj"])
    other = LazyTensors(same, lambda: same)
    assert other == same
    assert same == other
    assert not (other != same)  # noqa: SIM202
    assert LazyTensors(same, lambda: same) == LazyTensors(same, lambda: same)
    assert LazyTensors(same, lambda: same) != {} and repr(LazyTensors(["a"], lambda: {})) == "{}"
    assert sorted(held) == sorted(same)


@pytest.mark.parametrize("touch", ["deepcopy", "copy.copy", "stars", "dict"])
def test_the_whole_dict_can_be_copied_too(tmp_path: Path, touch: str) -> None:
    held = AdapterDict(write(tmp_path, "FaceID plus", "plusv2.safetensors"))
    found = TOUCHES[touch](held)
    assert found["faceidplusv2"] is True and set(found) == {*halves("plus"), "faceidplusv2"}
    adapter = adapter_of(found)
    assert adapter.shortcut
    if touch != "deepcopy":  # whose tensors are others, for whoever wants to write into them
        assert adapter.patcher is adapter_of(held).patcher


def heard(adapter: LoadedAdapter) -> Tensor:
    model = apply(twins().model.clone(), adapter, tiny.random_features(1), Settings())
    return tiny.run_comfy(model, tiny.make_call(twins()))


WRITES: dict[str, Callable[[Any], Any]] = {
    "a value": lambda held: held.__setitem__("1.to_k_ip.weight", held["1.to_k_ip.weight"] * 3),
    "into a tensor": lambda held: held["1.to_k_ip.weight"].mul_(3),
    "update": lambda held: held.update({"1.to_k_ip.weight": held["1.to_k_ip.weight"] * 3}),
    "|=": lambda held: held.__ior__({"1.to_k_ip.weight": held["1.to_k_ip.weight"] * 3}),
    "past the class": lambda held: dict.__setitem__(
        held, "1.to_k_ip.weight", held["1.to_k_ip.weight"] * 3
    ),
}


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("write_into", WRITES)
def test_what_others_write_into_it_counts(tmp_path: Path, write_into: str, inference: bool) -> None:
    held = AdapterDict(write(tmp_path))
    own = adapter_of(held)
    before = heard(own)
    with torch.inference_mode(inference):  # as the host runs nodes
        WRITES[write_into](held["ip_adapter"])
        adapter = adapter_of(held)
    assert adapter is not own
    expected = {half: dict(part) for half, part in halves("plus").items()}
    expected["ip_adapter"]["1.to_k_ip.weight"] = expected["ip_adapter"]["1.to_k_ip.weight"] * 3
    after = heard(adapter)
    assert torch.equal(after, heard(adapter_of(expected))) and not torch.equal(after, before)
    assert torch.equal(heard(own), before), "ours is as it was"


def test_a_dict_of_another_pack_is_made_an_adapter_once(tmp_path: Path) -> None:
    foreign: dict[str, Any] = halves("plus")
    adapter = adapter_of(foreign)
    assert adapter_of(foreign) is adapter and adapter_of(dict(foreign)) is adapter
    assert adapter_of({"ipadapter": {"file": "/x/b.bin", "model": foreign}}) is adapter
    assert torch.equal(heard(adapter), heard(load(write(tmp_path))))
    gone = weakref.ref(adapter)
    foreign["ip_adapter"]["1.to_k_ip.weight"] = foreign["ip_adapter"]["1.to_k_ip.weight"] * 2
    assert adapter_of(foreign) is not adapter
    del adapter
    gc.collect()
    assert gone() is None


def test_an_adapter_goes_with_the_dict_it_was_made_of() -> None:
    foreign = copy.deepcopy(halves("plus"))
    gone = weakref.ref(adapter_of(foreign))
    assert gone() is not None
    del foreign
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("kind", ["standard", "plus", "full face"])
def test_the_original_s_own_node_takes_our_dict(tmp_path: Path, kind: str) -> None:
    """It reads keys, loads modules from the halves and iterates over them."""
    node = original_nodes()["IPAdapterEmbeds"]()
    whole: dict[str, int] = {"dim": 768, "heads": 12} if kind == "plus" else {}
    tensors = tiny.adapter_tensors(twins(), kind, **whole)
    path = str(checkpoints.write(tmp_path / "a.safetensors", tensors, "flat"))
    plain = {half: dict(part) for half, part in checkpoints.nest(tensors).items()}
    rows = tiny.random_features(2).pair(
        Feature.POOLED if kind == "standard" else Feature.PENULTIMATE
    )
    assert rows is not None
    found, expected = (
        tiny.run_comfy(
            node.apply_ipadapter(
                twins().model.clone(), held, rows[0], 1.0, "linear", 0.0, 1.0, neg_embed=rows[1]
            )[0],
            tiny.make_call(twins()),
        )
        for held in (AdapterDict(path), plain)
    )
    assert torch.equal(found, expected)
    assert not torch.equal(found, tiny.run_comfy(twins().model, tiny.make_call(twins())))


def test_our_own_adapter_is_taken_as_it_is(tmp_path: Path) -> None:
    adapter = load(path := write(tmp_path))
    assert adapter_of(adapter) is adapter
    assert adapter_of({"ipadapter": {"file": None, "model": adapter}}) is adapter
    assert adapter_of(AdapterDict(path)) is adapter


@pytest.mark.parametrize("name", ["x/ip-adapter-faceid-plusv2_sd15.bin", "PlusV2/a.safetensors"])
def test_a_path_with_plusv2_sets_the_flag(tmp_path: Path, name: str) -> None:
    assert AdapterDict(write(tmp_path, "FaceID plus", name))["faceidplusv2"] is True


def test_the_flag_says_which_version_a_faceid_plus_is(tmp_path: Path) -> None:
    path = write(tmp_path, "FaceID plus")
    first, second = AdapterDict(path), halves("FaceID plus")
    assert "faceidplusv2" not in first
    assert not adapter_of(first).shortcut and not adapter_of(second).shortcut
    first["faceidplusv2"] = True
    assert adapter_of(first).shortcut and adapter_of({**second, "faceidplusv2": True}).shortcut
    assert adapter_of(first).patcher is adapter_of(AdapterDict(path)).patcher
    # A name that says v2 in other words does not count there, and the picture is to be the same.
    other = AdapterDict(write(tmp_path, "FaceID plus", "faceid_plus_v2.safetensors"))
    assert not adapter_of(other).shortcut
    assert adapter_of(AdapterDict(path, version_2=True)).shortcut


def test_the_tensors_say_whether_an_identity_is_normed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, "FaceID portrait unnormed", "unnorm/a.safetensors")
    held = AdapterDict(path)
    assert held["portraitunnorm"] is True
    assert adapter_of(held).spec.identity == "raw" and not caplog.text
    assert adapter_of(halves("FaceID portrait unnormed")).spec.identity == "raw"
    odd = AdapterDict(write(tmp_path, "FaceID", "unnorm/b.safetensors"))
    assert adapter_of(odd).spec.identity == "normed" and "unnorm" in caplog.text


def test_the_lora_of_a_file_is_where_others_look_for_it(tmp_path: Path) -> None:
    held = AdapterDict(path := write(tmp_path, "FaceID"))
    lora = load(path).lora
    assert "0.to_q_lora.down.weight" in lora
    assert all(torch.equal(held["ip_adapter"][key], lora[key]) for key in lora)
    assert adapter_of(held).lora.keys() == lora.keys()


def test_a_file_that_was_replaced_is_said_so(tmp_path: Path) -> None:
    held = AdapterDict(write(tmp_path))
    write(tmp_path, "standard")
    with pytest.raises(BrokenFile, match="not the file that was loaded"):
        held["image_proj"]["latents"]
    assert "latents" in held["image_proj"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "is nothing"),
        (7, "is 7"),
        ({"ipadapter": None}, "holds no adapter"),
        ({"ipadapter": {"file": "x"}}, "holds no adapter"),
        (Pipeline(), "holds no adapter"),
        ({}, "no tensors"),
        ({"image_proj": {"latents": torch.zeros(1)}}, "no attention layers"),
    ],
)
def test_what_is_no_adapter_is_refused_in_a_sentence(value: Any, said: str) -> None:
    with pytest.raises(IPAdapterError, match=said):
        adapter_of(value)


def test_what_is_connected_wins_over_the_pipeline(tmp_path: Path) -> None:
    plus = AdapterDict(write(tmp_path))
    one, other = object(), object()
    held = Pipeline(
        clipvision={"file": "c", "model": one},
        ipadapter={"file": "a", "model": plus},
        insightface={"provider": "CPU", "model": one},
    )
    assert encoder_of(held, other) is other and encoder_of(held) is one
    assert faces_of(held, other) is other and faces_of(held) is one
    assert encoder_of(plus, other) is other and faces_of(plus, other) is other
    face = AdapterDict(write(tmp_path, "FaceID", "f.safetensors"))
    assert encoder_of(face) is None
    no_encoder = r"clip_vision is not connected.*ViT-H .*kind plus.*Connect"
    loaded = {"file": "a", "model": plus}
    for bare in (plus, Pipeline(ipadapter=loaded), {"ipadapter": loaded}):
        with pytest.raises(BadInput, match=no_encoder):
            encoder_of(bare)
    with pytest.raises(BadInput, match=r"insightface is not connected.*f\.safetensors.*Connect"):
        faces_of(face)


# INSIGHTFACE


@pytest.fixture
def insightface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """models/insightface with one pack that sees coloured squares as faces."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, packs.FOLDER, ([], set()))
    face_packs.make_pack(tmp_path / "insightface" / "models" / "buffalo_l")
    return tmp_path / "insightface"


def photo() -> numpy.ndarray[Any, Any]:
    """Two faces at 640: RGB."""
    image = numpy.zeros((640, 640, 3), numpy.uint8)
    face_packs.paint(image, 16, 10, 10)
    face_packs.paint(image, 32, 15, 8)  # blue, so that the order of the colours counts
    return image


def own() -> Faces:
    return Faces(load_engine(packs.find("buffalo_l"), EngineChoice.TORCH))


def test_where_insightface_is_installed_it_is_insightface_s_own(insightface: Path) -> None:
    app = pytest.importorskip("insightface.app")
    assert isinstance(load_faces("CPU", "buffalo_l"), app.FaceAnalysis)


def test_without_insightface_faces_are_read_all_the_same(insightface: Path) -> None:
    """In a Python that cannot import it, as where it was never installed."""
    script = f"""
import sys
sys.modules["insightface"] = sys.modules["onnxruntime"] = None
sys.path.insert(0, {str(ROOT / "tests")!r})
import conftest
import folder_paths, numpy
folder_paths.models_dir = {str(insightface.parent)!r}
from pack.nodes.plus.objects.faces import Faces, load_faces
faces = load_faces("CUDA", "buffalo_l")
assert type(faces) is Faces, type(faces)
found = faces.get(numpy.load({str(insightface / "photo.npy")!r}))
numpy.save({str(insightface / "found.npy")!r}, [face.normed_embedding for face in found])
"""
    numpy.save(insightface / "photo.npy", photo()[..., ::-1])
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    expected = [face.normed_embedding for face in own().get(photo()[..., ::-1])]
    assert len(expected) == 2
    assert numpy.allclose(numpy.load(insightface / "found.npy"), expected, atol=1e-6)


def test_ours_gives_what_insightface_gives(insightface: Path) -> None:
    pytest.importorskip("insightface.app")
    theirs, ours = load_faces("CPU", "buffalo_l"), own()
    bgr = photo()[..., ::-1]
    assert len(ours.get(bgr)) == 2
    for their, our in zip(theirs.get(bgr), ours.get(bgr), strict=True):
        for name, within in (("bbox", 0.1), ("kps", 0.1), ("det_score", 1e-4)):
            found, expected = getattr(our, name), getattr(their, name)
            assert numpy.allclose(found, expected, atol=within), name
            assert numpy.shape(found) == numpy.shape(expected)
        similar = float(our.normed_embedding @ their.normed_embedding)
        assert similar > 0.999 and our["embedding"].shape == (512,)
        assert our.landmark_3d_68 is None, "what it does not read is None, as there"


def test_ours_can_be_set_and_asked_as_insightface_s(insightface: Path) -> None:
    faces = own()
    bgr = photo()[..., ::-1]
    scores = [face.det_score for face in faces.get(bgr)]
    assert scores == sorted(scores, reverse=True) and len(faces.get(bgr, max_num=1)) == 1
    faces.det_model.input_size = (128, 128)
    assert faces.get(bgr) == []
    faces.prepare(ctx_id=0, det_size=(640, 640))
    assert len(faces.get(bgr)) == 2 and faces.get(numpy.zeros_like(bgr)) == []
    faces.det_model.input_size = "x"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(BadInput, match="input_size"):
        faces.get(bgr)


def test_our_own_face_node_takes_both(insightface: Path) -> None:
    photos = Photos(torch.from_numpy(photo()[None]).float() / 255)
    ours = encode_faces(own(), photos).features.identity
    assert torch.equal(ours, encode_faces(own().engine, photos).features.identity)
    assert engine_of(faces := own()) is faces
    pytest.importorskip("insightface.app")
    theirs = encode_faces(load_faces("CPU", "buffalo_l"), photos).features.identity
    assert torch.cosine_similarity(ours, theirs).item() > 0.999


@pytest.mark.parametrize("provider", ["CUDA", "ROCM", "DirectML", "OpenVINO", "CoreML"])
def test_a_provider_that_is_not_there_is_no_error(
    insightface: Path, caplog: pytest.LogCaptureFixture, provider: str
) -> None:
    pytest.importorskip("insightface.app")
    faces = load_faces(provider, "buffalo_l")
    assert len(faces.get(photo()[..., ::-1])) == 2
    assert f"provider {provider} is not in this onnxruntime" in caplog.text


def test_an_insightface_that_fails_is_replaced(
    insightface: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a version that takes no providers, as it once was."""
    app = pytest.importorskip("insightface.app")
    monkeypatch.setattr(app, "FaceAnalysis", lambda name, root: None)
    faces = load_faces("CPU", "buffalo_l")
    assert type(faces) is Faces and "insightface cannot be used" in caplog.text


def test_a_pack_that_is_missing_is_not_downloaded(insightface: Path) -> None:
    with pytest.raises(MissingModel, match=r"antelopev2.*Put both files"):
        load_faces("CPU", "antelopev2")
    assert not (insightface / "models" / "antelopev2").exists()


def test_a_pack_in_a_folder_of_its_own_name_is_read(insightface: Path) -> None:
    """antelopev2 as its archive unpacks, where insightface finds nothing."""
    face_packs.make_pack(insightface / "models" / "antelopev2" / "antelopev2")
    assert len(load_faces("CPU", "antelopev2").get(photo()[..., ::-1])) == 2
