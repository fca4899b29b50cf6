"""Faces are cut out as insightface cuts them, and found where its detector says they are."""

from __future__ import annotations

import warnings
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pack.ip_models.errors import BadInput, IPAdapterError, NoFace, UnsupportedNetwork
from pack.ip_models.faces import detect
from pack.ip_models.faces.align import (
    ARCFACE_TEMPLATE,
    fit_similarity,
    norm_crop,
    shrink_bilinear,
    square_crop,
    template_of,
)
from pack.ip_models.faces.detect import Face, FaceChoice, choose, decode, find_faces, letterbox
from pack.ip_models.pictures.fit import Picture
from PIL import Image

SIZES = (112, 224, 256, 336)


def photo(height: int = 220, width: int = 300, seed: int = 0) -> Picture:
    """Random colours, smooth enough that a shift of a pixel shows."""
    small = numpy.random.RandomState(seed).randint(0, 256, (height // 8, width // 8, 3), "u1")
    return numpy.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def key_points(seed: int, scale: float = 1.0, turn: float = 0.3) -> NDArray[numpy.float32]:
    random = numpy.random.RandomState(seed)
    rotation = numpy.array(
        [[numpy.cos(turn), -numpy.sin(turn)], [numpy.sin(turn), numpy.cos(turn)]]
    )
    spread = (ARCFACE_TEMPLATE - 56) * scale @ rotation.T
    return (spread + [150, 110] + random.randn(5, 2) * 2).astype("f4")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_norm_crop_equals_insightface(size: int, scale: float) -> None:
    align = pytest.importorskip("insightface.utils.face_align")
    image, points = photo(), key_points(size, scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = align.norm_crop(image, points, size).astype(int)
    found = norm_crop(image, points, size).astype(int)
    assert abs(found - wanted).max() <= 1
    assert (found != wanted).mean() < 1e-3
    assert found.max() > 0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_umeyama_equals_skimage(seed: int, mirrored: bool) -> None:
    transform = pytest.importorskip("skimage.transform")
    random = numpy.random.RandomState(seed)
    source, target = random.randn(5, 2) * 50, random.randn(5, 2) * 50
    if mirrored:  # where a reflection would fit better
        target = source * [-1, 1] + random.randn(5, 2)
    wanted = transform.SimilarityTransform.from_estimate(source, target).params[:2]
    assert numpy.allclose(fit_similarity(source, target), wanted, atol=1e-9)


def test_a_similarity_is_recovered() -> None:
    matrix = numpy.array([[0.6, -0.8, 5.0], [0.8, 0.6, -3.0]])
    points = numpy.random.RandomState(0).randn(5, 2)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    assert numpy.allclose(fit_similarity(points, moved), matrix)


def test_points_on_one_spot_are_refused() -> None:
    with pytest.raises(BadInput, match="one spot"):
        norm_crop(photo(), numpy.full((5, 2), 7, "f4"))


def test_the_template_fills_multiples_of_112_and_is_framed_in_those_of_128() -> None:
    assert numpy.allclose(template_of(112), ARCFACE_TEMPLATE)
    assert numpy.allclose(template_of(336), ARCFACE_TEMPLATE * 3, atol=1e-4)
    assert numpy.allclose(template_of(256), ARCFACE_TEMPLATE * 2 + [16, 0], atol=1e-4)
    with pytest.raises(ValueError, match="100"):
        template_of(100)


def test_outside_the_picture_is_black() -> None:
    crop = norm_crop(numpy.full((40, 40, 3), 255, "u1"), key_points(0) - [150, 110])
    assert crop.min() == 0 and crop.max() == 255


BOXES = [
    [60, 40, 140, 160],
    [-30.4, 20.5, 80.2, 60.7],
    [250, 180, 330, 260],
    [10.5, 10.5, 41.5, 42],
]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("size", [336, 224])
def test_square_crop_is_the_kolors_samples(box: list[float], size: int) -> None:
    """The sample: a square around the box by PIL's crop, then PIL's default resize."""
    image = photo()
    left, top, right, bottom = numpy.array(box, "f4")
    half = max(right - left, bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    square = [float(one) for one in (x - half, y - half, x + half, y + half)]
    wanted = Image.fromarray(image).crop(square).resize((size, size))  # pyright: ignore
    found = square_crop(image, numpy.array(box, "f4"), size)
    assert numpy.array_equal(found, numpy.asarray(wanted))


def test_square_crop_keeps_shape_and_centre() -> None:
    image = numpy.zeros((200, 200, 3), "u1")
    image[90:110, 90:110] = 255
    found = square_crop(image, numpy.array([80, 60, 120, 140], "f4"), 80)
    bright = numpy.argwhere(found[..., 0] > 127)
    assert bright.min(0).tolist() == [30, 30] and bright.max(0).tolist() == [49, 49]
    with pytest.raises(BadInput):
        square_crop(image, numpy.array([80, 60, 80, 60], "f4"))


SHAPES = [(640, 443), (150, 110), (128, 88), (301, 221), (700, 900), (300, 220), (1, 1), (600, 440)]


@pytest.mark.parametrize("width, height", SHAPES)
def test_shrinking_equals_opencv(width: int, height: int) -> None:
    cv2 = pytest.importorskip("cv2")
    wanted = cv2.resize(photo(), (width, height)).astype(int)
    found = shrink_bilinear(photo(), width, height).astype(int)
    assert abs(found - wanted).max() <= 1
    assert (found != wanted).mean() < 3e-3  # where it is enlarged; else none


@pytest.mark.parametrize("shape, size", [((220, 300), 128), ((300, 220), 128), ((200, 200), 640)])
def test_letterbox_scales_to_the_longer_side(shape: tuple[int, int], size: int) -> None:
    canvas, scale = letterbox(numpy.full((*shape, 3), 9, "u1"), size)
    assert canvas.shape == (size, size, 3)
    rows, columns = canvas[..., 0].any(1).sum(), canvas[..., 0].any(0).sum()
    assert max(rows, columns) == size
    assert rows == int(shape[0] / max(shape) * size)
    assert columns == int(shape[1] / max(shape) * size)
    assert scale == pytest.approx(size / max(shape), rel=0.01)


def test_a_sliver_of_a_picture_still_has_a_pixel() -> None:
    assert letterbox(numpy.full((2000, 1, 3), 9, "u1"), 128)[0].any()


def outputs(
    size: int,
    hits: list[tuple[int, int, float]],
    strides: tuple[int, ...] = (8, 16, 32),
    anchors: int = 2,
) -> list[NDArray[numpy.float32]]:
    """Level, row and score of each hit; boxes reach 2 strides each way."""
    rows = [(size // stride) ** 2 * anchors for stride in strides]
    scores = [numpy.zeros((count, 1), "f4") for count in rows]
    for level, row, score in hits:
        scores[level][row] = score
    boxes = [numpy.full((count, 4), 2, "f4") for count in rows]
    points = [numpy.tile(numpy.arange(10, dtype="f4"), (count, 1)) for count in rows]
    return [*scores, *boxes, *points]


def test_decoding_by_hand() -> None:
    # Stride 16 at 64: 4 x 4 places of 2 anchors; anchor 1 of row 1, column 2 is 2 * 6 + 1.
    found = decode(outputs(64, [(1, 13, 0.75)]), 64, 0.5, "det.onnx")
    assert len(found) == 1
    assert found[0].score == 0.75
    # The place is (32, 16); 2 strides each way; then everything twice as large.
    assert found[0].box.tolist() == [0, -32, 128, 96]
    assert found[0].key_points[0].tolist() == [64, 64]
    assert found[0].key_points[4].tolist() == [(32 + 128) * 2, (16 + 144) * 2]


def test_decoding_with_five_levels_and_one_anchor() -> None:
    strides = (8, 16, 32, 64, 128)
    found = decode(outputs(128, [(3, 3, 0.9)], strides, 1), 128, 1.0, "det.onnx")
    assert found[0].box.tolist() == [-64, -64, 192, 192]


def test_the_better_of_two_that_overlap_stays() -> None:
    hits = [(0, 0, 0.6), (0, 2, 0.9), (0, 40, 0.7), (2, 0, 0.49)]
    found = decode(outputs(64, hits), 64, 1.0, "det.onnx")
    assert [round(face.score, 2) for face in found] == [0.9, 0.7]
    assert decode(outputs(64, []), 64, 1.0, "det.onnx") == []


def test_numbers_that_are_not_finite_are_no_faces() -> None:
    broken = outputs(64, [(0, 0, 0.9), (0, 40, 0.7)])
    broken[3][0] = numpy.nan
    assert [round(face.score, 2) for face in decode(broken, 64, 1.0, "det.onnx")] == [0.7]


@pytest.mark.parametrize("count", [1, 6, 10])
def test_other_outputs_are_named(count: int) -> None:
    with pytest.raises(UnsupportedNetwork, match=f"det.onnx gives {count} outputs"):
        decode([numpy.zeros((1, 1), "f4")] * count, 64, 1.0, "det.onnx")
    with pytest.raises(UnsupportedNetwork, match="output of shape"):
        decode(outputs(64, []), 128, 1.0, "det.onnx")


class Watcher:
    """A detector that notes what it is asked and sees a face at one try."""

    def __init__(self, succeed_at: int, fixed: int | None = None) -> None:
        self.fixed_size = fixed
        self.succeed_at, self.asked = succeed_at, list[tuple[tuple[int, ...], int]]()

    def detect(self, image: Picture, size: int) -> list[Face]:
        self.asked.append((image.shape[:2], size))
        return [face(10, 20, 30, 60)] if len(self.asked) == self.succeed_at else []


def face(left: float, top: float, right: float, bottom: float, score: float = 0.9) -> Face:
    return Face(numpy.array([left, top, right, bottom], "f4"), score, key_points(0))


def test_sizes_are_tried_from_640_to_128_and_then_borders() -> None:
    watcher = Watcher(10**6)
    assert find_faces(photo(200, 400), watcher) == []
    assert [size for _, size in watcher.asked[:9]] == [640, 576, 512, 448, 384, 320, 256, 192, 128]
    assert {shape for shape, _ in watcher.asked[:9]} == {(200, 400)}
    borders = [(300, 600), (400, 800), (600, 1200)]
    assert [shape for shape, _ in watcher.asked[9::3]] == borders
    assert watcher.asked[9][1] == 640 and watcher.asked[11][1] == 256
    assert len(watcher.asked) == 18


@pytest.mark.parametrize("at, shift", [(1, (0, 0)), (9, (0, 0)), (10, (100, 50)), (13, (200, 100))])
def test_the_first_faces_count_in_pixels_of_the_picture(at: int, shift: tuple[int, int]) -> None:
    watcher = Watcher(at)
    found = find_faces(photo(200, 400), watcher)
    assert len(watcher.asked) == at
    by = [*shift, *shift]
    assert (found[0].box + by).tolist() == [10, 20, 30, 60]
    assert numpy.allclose(found[0].key_points + shift, key_points(0), atol=1e-4)


def test_a_huge_photo_is_made_small_before_it_gets_a_border() -> None:
    watcher = Watcher(10)
    found = find_faces(photo(2560, 5120), watcher)
    assert watcher.asked[8][0] == (2560, 5120) and watcher.asked[9][0] == (960, 1920)
    # Found in the picture at a quarter of its size, inside a border of 320 and 160.
    corner = numpy.array([320, 160, 320, 160])
    assert numpy.allclose(found[0].box / 4 + corner, [10, 20, 30, 60], atol=1e-3)


def test_a_detector_of_one_size_is_tried_with_borders_only() -> None:
    watcher = Watcher(10**6, fixed=320)
    assert find_faces(photo(200, 400), watcher) == []
    assert [size for _, size in watcher.asked] == [320] * 4
    assert "320" in detect.tried(watcher) and "640 to 128" in detect.tried(Watcher(1))


def test_choosing_a_face() -> None:
    small, large, left = face(50, 0, 60, 10, 0.9), face(70, 0, 99, 40, 0.6), face(0, 0, 20, 10, 0.7)
    found = [small, left, large]
    assert choose(found, FaceChoice.LARGEST) is large
    assert choose(found, FaceChoice.BEST_SCORE) is small
    assert [choose(found, FaceChoice.LEFT_TO_RIGHT, n) for n in range(3)] == [left, small, large]
    assert choose(found, FaceChoice.LEFT_TO_RIGHT, 3) is None
    assert choose([], FaceChoice.LARGEST) is None
    assert large.size == (29, 40)


@pytest.mark.parametrize(
    "names, wanted",
    [
        (["Conv_0", "PRelu_1"], (127.5, 127.5)),
        (["Sub_0", "Mul_1", "Conv_2"], (0.0, 1.0)),
        (["_minusscalar0", "_mulscalar0"], (0.0, 1.0)),
        (["Sub_0", "Conv_1"], (127.5, 127.5)),
        (["Conv"] * 8 + ["Sub_0", "Mul_1"], (127.5, 127.5)),
    ],
)
def test_pixel_scale_is_insightfaces_rule(names: list[str], wanted: tuple[float, float]) -> None:
    assert detect.pixel_scale(names) == wanted


def test_no_face_says_which_picture_and_what_was_tried() -> None:
    error: Any = NoFace(1, 4, (640, 480), detect.tried(Watcher(1)))
    assert isinstance(error, IPAdapterError)
    assert "image 2 of 4, 640 x 480 pixels" in str(error)
    assert "640 to 128" in str(error) and "25, 50, 100 %" in str(error)
