"""From the pack's own sockets to those of ComfyUI_IPAdapter_plus and back, without a loss."""

from __future__ import annotations

import gc
from functools import cache
from pathlib import Path
from typing import Any

import folder_paths
import numpy
import pytest
import torch
from kit.models import checkpoints, face_packs, tiny
from kit.models.tiny import Twins
from pack.ip_models.adapter.spec import Feature
from pack.ip_models.errors import BadInput, IPAdapterError
from pack.ip_models.references.features import FaceFeatures, ImageFeatures, Region, Regions
from pack.nodes.host.face import packs
from pack.nodes.host.face.engine import EngineChoice, load_engine
from pack.nodes.host.model.adapter import LoadedAdapter, load
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.plus.cross import ConvertAdapter, ConvertEmbeds
from pack.nodes.plus.objects.adapter_dict import AdapterDict
from pack.nodes.plus.objects.faces import Faces
from pack.nodes.plus.objects.lazy import LazyTensors
from pack.nodes.plus.objects.pipeline import Pipeline, adapter_of
from torch import Tensor


@cache
def twins() -> Twins:
    return tiny.twins("sd1")


def write(folder: Path, kind: str = "plus", name: str = "a") -> str:
    tensors = tiny.adapter_tensors(twins(), kind)
    return str(checkpoints.write(folder / f"{name}.safetensors", tensors, "flat"))


def halves(kind: str = "plus") -> dict[str, Any]:
    tensors = tiny.adapter_tensors(twins(), kind)
    return {half: dict(part) for half, part in checkpoints.nest(tensors).items()}


class Encoder:
    """As much of a CLIP_VISION as a node asks for before it uses one."""

    image_size, image_mean = 224, (0.5, 0.5, 0.5)

    def encode_image(self, image: Tensor) -> None: ...


def convert(adapter: Any, **more: Any) -> tuple[Any, Any, Any, Any]:
    return ConvertAdapter.execute(adapter, **more).args  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("form", ["own", "file", "pipeline", "foreign"])
def test_either_sort_gives_both(tmp_path: Path, form: str) -> None:
    path = write(tmp_path)
    given: Any = {
        "own": lambda: load(path),
        "file": lambda: AdapterDict(path),
        "pipeline": lambda: Pipeline(ipadapter={"file": path, "model": AdapterDict(path)}),
        "foreign": halves,
    }[form]()
    own, old, encoder, faces = convert(given)
    assert type(own) is LoadedAdapter and type(old) is Pipeline and encoder is faces is None
    assert adapter_of(old) is own and (own is load(path)) is (form != "foreign")
    expected = halves()
    for half, tensors in expected.items():
        found = old["ipadapter"]["model"][half]
        assert form == "foreign" or (isinstance(found, LazyTensors) and not found.loaded)
        assert set(found) == set(tensors)
        assert all(torch.equal(found[key], value) for key, value in tensors.items())


def test_an_adapter_that_came_from_no_file_goes_back(tmp_path: Path) -> None:
    own = convert(halves("FaceID plus"))[0]
    assert own.file is None
    old = convert(own)[1]
    assert adapter_of(old).patcher is own.patcher
    held = old["ipadapter"]["model"]
    assert isinstance(held["ip_adapter"], LazyTensors) and not held["ip_adapter"].loaded
    for half, tensors in halves("FaceID plus").items():
        assert all(torch.equal(held[half][key], value) for key, value in tensors.items())
    held["image_proj"]["proj.0.weight"].zero_()
    parameters = dict(own.patcher.model.named_parameters())
    assert bool(parameters["image_proj.proj.0.weight"].any()), "what others write into is a copy"


@pytest.mark.parametrize("version", [False, True])
def test_the_version_that_was_chosen_goes_with_it(tmp_path: Path, version: bool) -> None:
    own = load(write(tmp_path, "FaceID plus", "plusv2")).as_version(version)
    old = convert(own)[1]
    assert ("faceidplusv2" in old["ipadapter"]["model"]) is version
    assert adapter_of(old).shortcut is version and convert(old)[0].shortcut is version


def test_the_weights_are_there_once(tmp_path: Path) -> None:
    tensors = tiny.adapter_tensors(twins(), "plus", seed=91)  # of no other test
    own, old, _, _ = convert(
        load(str(checkpoints.write(tmp_path / "b.safetensors", tensors, "flat")))
    )
    again = convert(old)[0]
    assert again is own
    apply(twins().model.clone(), again, tiny.random_features(1), Settings())
    latents = tensors.pop("image_proj.latents").clone()
    del tensors
    gc.collect()
    held = [one for one in gc.get_objects() if type(one) in (Tensor, torch.nn.Parameter)]
    same = {
        one.data_ptr() for one in held if one.shape == latents.shape and torch.equal(one, latents)
    }
    assert len(same - {latents.data_ptr()}) == 1


def test_what_is_connected_is_in_it(tmp_path: Path) -> None:
    inner, encoder = Encoder(), Encoder()
    given = Pipeline(
        clipvision={"file": "c", "model": inner},
        ipadapter={"file": "a", "model": AdapterDict(write(tmp_path))},
    )
    assert convert(given)[2] is inner
    _, old, found, _ = convert(given, clip_vision=encoder)
    assert found is encoder and old["clipvision"] == {"file": None, "model": encoder}
    assert given["clipvision"]["model"] is inner, "what came in is as it was"
    lacking = {"ipadapter": {"file": "a", "model": halves()}}
    _, old, found, _ = convert(lacking, clip_vision=encoder)
    assert old["clipvision"]["model"] is encoder and old["insightface"]["model"] is None


def test_face_models_become_insightface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, packs.FOLDER, ([], set()))
    face_packs.make_pack(tmp_path / "insightface" / "models" / "buffalo_l")
    engine = load_engine(packs.find("buffalo_l"), EngineChoice.TORCH)
    _, old, _, faces = convert(load(write(tmp_path, "FaceID")), face_models=engine)
    assert type(faces) is Faces and old["insightface"]["model"] is faces
    image = numpy.zeros((640, 640, 3), numpy.uint8)
    face_packs.paint(image, 16, 10, 10)
    assert len(faces.get(image[..., ::-1])) == 1
    assert (
        convert(old)[3] is faces and convert(load(write(tmp_path)), face_models=faces)[3] is faces
    )


@pytest.mark.parametrize(
    ("adapter", "more", "said"),
    [
        (None, {}, "a link from .* is needed"),
        ("x", {}, 'ipadapter is "x"'),
        (Pipeline(), {}, "holds no adapter"),
        (halves, {"clip_vision": 3}, "clip_vision is 3"),
        (halves, {"face_models": object()}, "without a detector and a recogniser"),
    ],
)
def test_what_is_no_adapter_is_refused(adapter: Any, more: Any, said: str) -> None:
    with pytest.raises(IPAdapterError, match=said):
        convert(adapter() if callable(adapter) else adapter, **more)


# Embeds


def exchange(embeds: Any, *more: Any, **named: Any) -> tuple[Any, Tensor, Tensor]:
    return ConvertEmbeds.execute(embeds, *more, **named).args  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("feature", ["pooled", "penultimate"])
def test_features_are_the_same_after_both_ways(feature: str) -> None:
    given = tiny.random_features(3)
    same, positive, negative = exchange(given, feature=feature)
    assert same is given and len(positive) == len(negative) == 3
    pair = given.pair(Feature(feature))
    assert pair is not None
    assert torch.equal(positive, pair[0]) and torch.equal(negative, pair[1])
    back, again, nothing = exchange(positive, negative)
    assert isinstance(back, ImageFeatures)
    found = back.pair(Feature(feature))
    assert found is not None and all(map(torch.equal, found, pair))
    assert torch.equal(again, positive) and torch.equal(nothing, negative)
    assert back.pair(Feature.POOLED if feature == "penultimate" else Feature.PENULTIMATE) is None
    positive.zero_()
    assert torch.equal(given.pair(Feature(feature))[0], pair[0])  # pyright: ignore[reportOptionalSubscript]


def heard(features: Any, path: str) -> Tensor:
    model = apply(twins().model.clone(), load(path), features, Settings())
    return tiny.run_comfy(model, tiny.make_call(twins()))


@pytest.mark.parametrize(("kind", "feature"), [("standard", "pooled"), ("plus", "penultimate")])
def test_a_picture_made_with_them_is_the_same(tmp_path: Path, kind: str, feature: str) -> None:
    path, given = write(tmp_path, kind), tiny.random_features(2)
    _, positive, negative = exchange(given, feature=feature)
    assert torch.equal(heard(exchange(positive, negative)[0], path), heard(given, path))


def test_without_negative_rows_pooled_ones_are_zeros() -> None:
    _, positive, negative = exchange(torch.ones(2, 1024))
    assert torch.equal(positive, torch.ones(2, 1024)) and not negative.any()
    with pytest.raises(BadInput, match="neg_embed is not connected"):
        exchange(torch.ones(2, 17, 1280))


@pytest.mark.parametrize("shape", [(2, 3, 1024), (2, 3, 257, 1280), (2, 1, 1024)])
def test_pairs_of_version_1_are_taken_apart(shape: tuple[int, ...]) -> None:
    rows = torch.randn(*shape)
    features, positive, negative = exchange(rows)
    assert features.count == shape[1]
    assert torch.equal(positive, rows[0]) and torch.equal(negative, rows[1])


@pytest.mark.parametrize("count", [1, 3, 5])
def test_negative_rows_are_fitted(count: int) -> None:
    rows = torch.arange(float(count))[:, None].expand(count, 1024)
    _, _, negative = exchange(torch.ones(3, 1024), rows)
    assert negative[:, 0].tolist() == [float(min(i, count - 1)) for i in range(3)]


def test_faces_from_a_file_are_faces() -> None:
    features, positive, negative = exchange(torch.ones(2, 512))
    assert isinstance(features, FaceFeatures) and features.count == 2
    assert torch.equal(positive, torch.ones(2, 512)) and not negative.any()


@pytest.mark.parametrize(
    ("embeds", "more", "said"),
    [
        (tiny.random_faces(1), (), "hold faces; EMBEDS carry rows of whole pictures only"),
        (Regions((Region(tiny.random_features(1), None, 1.0),)), (), "regions with masks"),
        (torch.ones(3), (), "have shape 3"),
        (torch.ones(3, 2, 17, 4), (), "have shape"),
        (torch.zeros(0, 1024), (), "have shape"),
        (torch.ones(1, 1024), (torch.ones(1, 1280),), "neg_embed has shape"),
        (torch.ones(1, 1024), ("x",), 'neg_embed is "x"'),
        ([torch.ones(1)], (), "embeds is a list of"),
        (None, (), "embeds is nothing"),
    ],
)
def test_what_cannot_cross_is_said(embeds: Any, more: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        exchange(embeds, *more)


def test_a_feature_that_is_not_there_is_said() -> None:
    given, _, _ = exchange(torch.ones(1, 1024))
    with pytest.raises(BadInput, match="hold no penultimate features"):
        exchange(given, feature="penultimate")
    with pytest.raises(BadInput, match="feature"):
        exchange(given, feature="both")
