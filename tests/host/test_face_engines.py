"""Both engines see the same faces and give the same vectors; insightface runs for real."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from conftest import HOST, ROOT
from pack.ip_models.errors import BadInput, BrokenFile, MissingModel, UnsupportedNetwork
from pack.ip_models.faces.align import norm_crop
from pack.ip_models.faces.detect import SIZES, FaceChoice, choose, find_faces
from pack.ip_models.onnx.file import read_network
from pack.ip_models.onnx.module import OnnxModule
from pack.ip_models.pictures.fit import Picture
from pack.nodes.host.face import insightface
from pack.nodes.host.face.engine import EngineChoice, load_engine
from pack.nodes.host.face.insightface import InsightfaceEngine
from pack.nodes.host.face.packs import FacePack

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("insightface")
from kit.models.face_packs import (
    grown_recogniser,
    make_pack,
    paint,
    small_detector,
    small_recogniser,
)

KINDS: dict[str, dict[str, bool]] = {
    "small": {},
    "small fixed": {"fixed": True},
    "grown": {"grown": True},
    "grown batched": {"grown": True, "batched": True},
    "grown fixed": {"grown": True, "fixed": True},
    "grown fixed batched": {"grown": True, "fixed": True, "batched": True},
}


@pytest.fixture(scope="module", params=KINDS)
def pack(request: Any, tmp_path_factory: pytest.TempPathFactory) -> FacePack:
    return of_folder(make_pack(tmp_path_factory.mktemp("packs") / "faces", **KINDS[request.param]))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> FacePack:
    return of_folder(make_pack(tmp_path_factory.mktemp("packs") / "small"))


def of_folder(folder: Path) -> FacePack:
    files = (str(folder / "det_10g.onnx"), str(folder / "w600k_r50.onnx"))
    return FacePack(folder.name, str(folder), *files)


def photo() -> Picture:
    """insightface's own sample: six people."""
    import insightface.data

    return numpy.ascontiguousarray(insightface.data.get_image("t1")[..., ::-1])


def group() -> Picture:
    """Three faces for the small detector: 64, 128 and 192 pixels wide."""
    image = numpy.zeros((480, 640, 3), "u1")
    paint(image, 8, 30, 20)
    paint(image, 16, 8, 20)
    paint(image, 32, 14, 4)
    return image


def runs(path: str, data: numpy.ndarray) -> list[numpy.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: data})


def test_raw_outputs_agree(pack: FacePack) -> None:
    random = numpy.random.RandomState(0)
    for path, shape in ((pack.detector, (1, 3, 640, 640)), (pack.recogniser, (2, 3, 112, 112))):
        data = random.uniform(-1, 1, shape).astype("f4")
        found = OnnxModule(read_network(path))(torch.from_numpy(data))
        wanted = runs(path, data)
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert one.shape == other.shape
            assert abs(one.numpy() - other).max() < 1e-4 * max(1.0, abs(other).max())


@pytest.mark.parametrize("size", SIZES)
def test_boxes_agree_at_every_size(pack: FacePack, size: int) -> None:
    ours, theirs = (
        load_engine(pack, one) for one in (EngineChoice.TORCH, EngineChoice.INSIGHTFACE)
    )
    seen = 0
    for image in (photo(), group()):
        found, wanted = ours.detect(image, size), theirs.detect(image, size)
        assert len(found) == len(wanted)
        seen += len(found)
        for one, other in zip(found, wanted, strict=True):
            assert abs(one.box - other.box).max() < 0.5
            assert abs(one.key_points - other.key_points).max() < 0.5
            assert one.score == pytest.approx(other.score, abs=1e-4)
    if size == 640:
        assert seen >= 3


def test_vectors_agree(pack: FacePack) -> None:
    ours, theirs = (
        load_engine(pack, one) for one in (EngineChoice.TORCH, EngineChoice.INSIGHTFACE)
    )
    image = photo()
    places = numpy.random.RandomState(0).uniform(150, 700, (10, 1, 2))
    shape = numpy.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]]) - 56
    crops = [norm_crop(image, (shape + at).astype("f4")) for at in places]
    found, wanted = ours.embed(crops), theirs.embed(crops)
    assert found.shape == wanted.shape == (10, 512)
    assert torch.cosine_similarity(found, wanted).min() > 0.999
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
    # Each person is somebody else, and one alone is who they were among others.
    assert torch.cosine_similarity(found[:1], found[1:]).max() < 0.999
    assert torch.allclose(ours.embed(crops[3:4]), found[3:4], atol=1e-3)
    assert ours.embed([]).shape == theirs.embed([]).shape == (0, 512)


def test_the_vector_is_what_face_analysis_gives(small: FacePack) -> None:
    """From picture to vector by insightface's own front door, with its colours and alignment."""
    from insightface.app import FaceAnalysis

    app = FaceAnalysis(name=small.folder, allowed_modules=["detection", "recognition"])
    app.prepare(-1, det_size=(640, 640))
    image = group()
    wanted = app.get(numpy.ascontiguousarray(image[..., ::-1]))
    engine = load_engine(small, EngineChoice.AUTO)
    found = find_faces(image, engine)
    assert len(found) == len(wanted) == 3
    order = sorted(found, key=lambda face: face.area)
    for face, other in zip(order, sorted(wanted, key=lambda f: f.bbox[2] - f.bbox[0]), strict=True):
        vector = engine.embed([norm_crop(image, face.key_points, engine.crop_size)])
        assert torch.cosine_similarity(vector, torch.from_numpy(other.embedding[None])) > 0.9999
    swapped = norm_crop(image, order[2].key_points)[..., ::-1]
    straight = norm_crop(image, order[2].key_points)
    pair = engine.embed([swapped, straight])
    assert torch.cosine_similarity(pair[:1], pair[1:]) < 0.99  # red and blue are not the same


@pytest.mark.parametrize("choice", [EngineChoice.TORCH, EngineChoice.INSIGHTFACE])
class TestPictures:
    def test_several_faces(self, small: FacePack, choice: EngineChoice) -> None:
        found = find_faces(group(), load_engine(small, choice))
        assert sorted(face.size for face in found) == [(64, 64), (128, 128), (192, 192)]
        largest = choose(found, FaceChoice.LARGEST)
        assert largest is not None and largest.box.tolist() == [352, 32, 544, 224]
        lefts = [choose(found, FaceChoice.LEFT_TO_RIGHT, index) for index in range(3)]
        assert [one.size[0] for one in lefts if one] == [128, 64, 192]

    def test_no_face(self, small: FacePack, choice: EngineChoice) -> None:
        assert find_faces(numpy.zeros((90, 120, 3), "u1"), load_engine(small, choice)) == []

    @pytest.mark.parametrize("times", [2, 5])
    def test_a_close_up_is_found_at_a_smaller_size(
        self, small: FacePack, choice: EngineChoice, times: int
    ) -> None:
        image = numpy.zeros((640, 640, 3), "u1")
        paint(image, 32, 1, 1, times)
        engine = load_engine(small, choice)
        assert engine.detect(image, 640) == []
        found = find_faces(image, engine)
        first = next(seen for size in SIZES if (seen := engine.detect(image, size)))
        assert [face.box.tolist() for face in found] == [face.box.tolist() for face in first]
        centre = (found[0].box[:2] + found[0].box[2:]) / 2
        assert abs(centre - 48 * times).max() < 24 * times and found[0].size[0] > 192

    def test_a_face_that_needs_a_border(self, small: FacePack, choice: EngineChoice) -> None:
        """60 of 480 pixels are never one cell of 8, except with the whole width around them."""
        image = numpy.zeros((480, 480, 3), "u1")
        image[:60, :60] = [255, 0, 255]
        engine = load_engine(small, choice)
        assert not any(engine.detect(image, size) for size in SIZES)
        found = find_faces(image, engine)
        assert len(found) == 1
        assert found[0].size == (360, 360)  # 64 of 256, where 1440 became 256
        assert abs(found[0].box - [-165, -165, 195, 195]).max() < 1


@pytest.mark.parametrize("choice", [EngineChoice.TORCH, EngineChoice.INSIGHTFACE])
def test_one_pack_is_loaded_once_and_freed(tmp_path: Path, choice: EngineChoice) -> None:
    pack = of_folder(make_pack(tmp_path / "faces"))
    engine = load_engine(pack, choice)
    assert engine.detect(group(), 640)
    assert load_engine(pack, choice) is engine
    watched = weakref.ref(engine)
    del engine
    gc.collect()
    assert watched() is None


def test_a_replaced_file_is_loaded_again(tmp_path: Path) -> None:
    pack = of_folder(make_pack(tmp_path / "faces"))
    engine = load_engine(pack, EngineChoice.AUTO)
    before = engine.embed([photo()[:112, :112]])
    small_recogniser(tmp_path / "faces" / "w600k_r50.onnx", seed=9)
    os.utime(tmp_path / "faces" / "w600k_r50.onnx", (1, 1))
    again = load_engine(pack, EngineChoice.AUTO)
    assert again is not engine
    assert not torch.allclose(again.embed([photo()[:112, :112]]), before)


def test_a_batch_the_file_does_not_take_is_run_singly(tmp_path: Path) -> None:
    """Some exports reshape to (1, -1), which only one face fits."""
    from kit.models.face_packs import Graph

    graph = Graph(opset=13)
    pooled = graph.add("AveragePool", "x", kernel_shape=[14, 14], strides=[14, 14])
    flat = graph.add("Reshape", pooled, graph.weight(numpy.array([-1, 192], "i8")))
    weight = graph.weight(graph.random.randn(192, 512).astype("f4"))
    graph.add("Gemm", flat, weight, output="y")
    folder = tmp_path / "faces"
    small_detector(folder / "det_10g.onnx")
    graph.save(folder / "w600k_r50.onnx", [("x", [1, 3, 112, 112])], [("y", [1, 512])])
    crops = [photo()[at : at + 112, :112] for at in (0, 200, 400)]
    engine = load_engine(of_folder(folder), EngineChoice.TORCH)
    assert torch.allclose(engine.embed(crops)[1:2], engine.embed(crops[1:2]))


def test_a_recogniser_of_another_width_is_named(tmp_path: Path) -> None:
    small_detector(tmp_path / "faces" / "det_10g.onnx")
    small_recogniser(tmp_path / "faces" / "w600k_r50.onnx", width=256)
    engine = load_engine(of_folder(tmp_path / "faces"), EngineChoice.TORCH)
    for count in (1, 2):
        with pytest.raises(UnsupportedNetwork, match=r"w600k_r50.onnx gives 1 x 256"):
            engine.embed([photo()[:112, :112]] * count)


def test_a_recogniser_that_normalises_by_itself(tmp_path: Path) -> None:
    """Its first nodes are a subtraction and a product, and both engines feed it 0 to 255."""
    from kit.models.face_packs import Graph

    graph = Graph(opset=13)
    low = graph.add("Sub", "x", graph.weight(numpy.array([127.5], "f4")))
    scaled = graph.add("Mul", low, graph.weight(numpy.array([1 / 128], "f4")))
    pooled = graph.add("AveragePool", scaled, kernel_shape=[14, 14], strides=[14, 14])
    flat = graph.add("Flatten", pooled)
    weight = graph.weight(graph.random.randn(192, 512).astype("f4"))
    graph.add("Gemm", flat, weight, output="y")
    folder = tmp_path / "faces"
    small_detector(folder / "det_10g.onnx")
    graph.save(folder / "w600k_r50.onnx", [("x", [None, 3, 112, 112])], [("y", [1, 512])])
    both = [
        load_engine(of_folder(folder), one)
        for one in (EngineChoice.TORCH, EngineChoice.INSIGHTFACE)
    ]
    found, wanted = (engine.embed([photo()[:112, :112]]) for engine in both)
    assert torch.allclose(found, wanted, atol=1e-3) and found.norm() < 200


@pytest.mark.parametrize("choice", EngineChoice)
def test_a_file_with_an_unknown_operator_goes_to_nobody_else(
    tmp_path: Path, choice: EngineChoice
) -> None:
    pack = of_folder(make_pack(tmp_path / "faces"))
    import onnx

    model = onnx.load(pack.recogniser)
    model.graph.output[0].name = "last"
    model.graph.node.append(onnx.helper.make_node("Elu", ["683"], ["last"], name="odd"))
    onnx.save(model, pack.recogniser)
    with pytest.raises(UnsupportedNetwork, match="Elu"):
        load_engine(pack, choice)


def test_a_file_that_is_swapped_before_another_engine_gets_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = of_folder(make_pack(tmp_path / "faces"))
    load = InsightfaceEngine.from_pack

    def swapped(given: Any) -> Any:
        os.utime(given.recogniser, (1, 1))
        return load(given)

    monkeypatch.setattr(InsightfaceEngine, "from_pack", swapped)
    with pytest.raises(BrokenFile, match="is not the file that was loaded any more"):
        load_engine(pack, EngineChoice.INSIGHTFACE)


def test_a_damaged_pack_is_named(tmp_path: Path) -> None:
    pack = of_folder(make_pack(tmp_path / "faces"))
    whole = Path(pack.detector).read_bytes()
    Path(pack.detector).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenFile, match="det_10g.onnx is cut off"):
        load_engine(pack, EngineChoice.AUTO)


def test_a_detector_that_is_not_square_is_named(tmp_path: Path) -> None:
    import onnx

    pack = of_folder(make_pack(tmp_path / "faces", fixed=True))
    model = onnx.load(pack.detector)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 480
    onnx.save(model, pack.detector)
    with pytest.raises(UnsupportedNetwork, match="640 x 480"):
        load_engine(pack, EngineChoice.TORCH)


def test_the_stop_button_stops_the_search(small: FacePack) -> None:
    import comfy.model_management as host

    engine = load_engine(small, EngineChoice.TORCH)
    host.interrupt_current_processing(True)
    try:
        with pytest.raises(host.InterruptProcessingException):
            find_faces(group(), engine)
    finally:
        host.interrupt_current_processing(False)


def test_describe_says_what_is_really_used(small: FacePack) -> None:
    ours = load_engine(small, EngineChoice.AUTO).describe()
    theirs = load_engine(small, EngineChoice.INSIGHTFACE).describe()
    assert "engine: torch on cpu" in ours and "engine: insightface 2" in theirs
    assert "on CPUExecutionProvider" in theirs
    for text in (ours, theirs):
        assert "det_10g.onnx" in text and "w600k_r50.onnx" in text and small.folder in text


def test_objects_of_other_packs(small: FacePack) -> None:
    from insightface.app import FaceAnalysis

    app: Any = FaceAnalysis(name=small.folder, allowed_modules=["detection", "recognition"])
    app.prepare(-1, det_size=(640, 640))
    wanted = load_engine(small, EngineChoice.TORCH).detect(group(), 640)
    for form in (app, app.models, {"app": app}, SimpleNamespace(model=app), (app, "buffalo_l")):
        engine = InsightfaceEngine.from_object(form)
        found = engine.detect(group(), 640)
        assert [face.box.tolist() for face in found] == [face.box.tolist() for face in wanted]
        assert engine.embed([photo()[:112, :112]]).shape == (1, 512)
        assert "CPUExecutionProvider" in engine.describe()
    for form in (None, {}, "faces", {"detection": object()}, SimpleNamespace(models={})):
        with pytest.raises(BadInput, match="Connect Load Face Models"):
            InsightfaceEngine.from_object(form)


def test_without_insightface_the_command_is_said(
    small: FacePack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [one for one in sys.modules if one.split(".")[0] == "insightface"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "insightface", None)
    with pytest.raises(MissingModel) as error:
        InsightfaceEngine.from_pack(small)
    assert f'"{sys.executable}" -m pip install insightface' in str(error.value)


@pytest.mark.parametrize("cuda, words", [(None, ""), ("12.8", '-gpu<1.27"'), ("13.0", '-gpu"')])
def test_the_command_fits_the_device(
    cuda: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(sys, "platform", "linux")
    command = insightface.install_command()
    assert ("onnxruntime" in command) == bool(cuda) and words in command


FRESH = """
import os, sys, types
sys.path.insert(0, {host!r})
import comfy.cli_args
comfy.cli_args.args.cpu = True
pack = types.ModuleType("pack")
pack.__path__ = [{root!r}]
sys.modules["pack"] = pack
os.environ.pop("ORT_DISABLE_TELEMETRY", None)
import comfy.model_patcher
before = set(sys.modules)
from pack.nodes.host.face.engine import EngineChoice, load_engine
from pack.nodes.host.face.packs import FacePack
found = FacePack("small", *{files!r})
load_engine(found, EngineChoice.AUTO).describe()
tops = {{name.split(".")[0] for name in set(sys.modules) - before}}
foreign = tops & {{"onnxruntime", "insightface", "onnx", "cv2", "skimage", "google"}}
assert not foreign, foreign

class Watch:
    seen = []
    def find_spec(self, name, path=None, target=None):
        if name in ("insightface", "onnxruntime"):  # the first sets the variable by itself
            self.seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
load_engine(found, EngineChoice.INSIGHTFACE)
assert Watch.seen[:1] == ["1"], Watch.seen
"""


def test_nothing_is_imported_before_it_is_asked_for_and_nothing_is_reported(
    small: FacePack,
) -> None:
    files = (small.folder, small.detector, small.recogniser)
    code = FRESH.format(host=str(HOST), root=str(ROOT), files=files)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=small.folder
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_weights_through_identity_are_weights(tmp_path: Path) -> None:
    """What the converter package stumbles over."""
    plain, wrapped = tmp_path / "plain.onnx", tmp_path / "wrapped.onnx"
    grown_recogniser(plain, through_identity=False)
    grown_recogniser(wrapped)
    modules = [OnnxModule(read_network(str(path))) for path in (plain, wrapped)]
    counts = [sum(one.numel() for one in module.parameters()) for module in modules]
    assert counts[0] == counts[1]
    data = torch.rand(1, 3, 112, 112)
    assert torch.equal(modules[0](data)[0], modules[1](data)[0])


@pytest.mark.parametrize("shape", [(8, 2000, 3), (2000, 8, 3), (1, 640, 3)])
def test_a_sliver_of_a_photo_shows_nobody_to_either_engine(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    make_pack(tmp_path / "pack")
    files = [str(tmp_path / "pack" / name) for name in ("det_10g.onnx", "w600k_r50.onnx")]
    pack = FacePack("sliver", str(tmp_path), *files)
    photo = numpy.random.RandomState(0).randint(0, 40, shape).astype(numpy.uint8)
    for choice in (EngineChoice.TORCH, EngineChoice.INSIGHTFACE):
        assert load_engine(pack, choice).detect(photo, 640) == []
