"""The five points are drawn as InstantID's `draw_kps` has them: by OpenCV itself, beside ours."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pytest
from pack.ip_models.faces.align import ARCFACE_TEMPLATE
from pack.ip_models.faces.key_points import COLOURS, draw_key_points

cv2 = pytest.importorskip("cv2")
LIMBS = (0, 1, 3, 4)


def by_opencv(points: Any, width: int, height: int) -> Any:
    """The formula that InstantID publishes: stick width 4, 0.6 as bright, discs of radius 10."""
    drawn = numpy.zeros((height, width, 3), numpy.uint8)
    for limb in LIMBS:
        x, y = points[[limb, 2]].T
        length = ((x[0] - x[1]) ** 2 + (y[0] - y[1]) ** 2) ** 0.5
        middle, half = (int(x.mean()), int(y.mean())), (int(length / 2), 4)
        turn = int(math.degrees(math.atan2(y[0] - y[1], x[0] - x[1])))
        cv2.fillConvexPoly(drawn, cv2.ellipse2Poly(middle, half, turn, 0, 360, 1), COLOURS[limb])
    drawn = (drawn * 0.6).astype(numpy.uint8)
    for (x, y), colour in zip(points, COLOURS, strict=True):
        cv2.circle(drawn, (int(x), int(y)), 10, colour, -1)
    return drawn


def a_face(random: Any, width: int, height: int, middle: tuple[float, float]) -> Any:
    """Points near the template's, of any size, turned by any angle."""
    size, turn = random.uniform(2, 250), random.uniform(0, 2 * math.pi)
    turned = numpy.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    points = (ARCFACE_TEMPLATE / 112 - 0.5 + random.randn(5, 2) / 10) @ turned * size
    return (points + numpy.array([width, height]) * middle).astype(numpy.float32)


@pytest.mark.parametrize("seed", range(40))
def test_each_pixel_is_opencvs(seed: int) -> None:
    random = numpy.random.RandomState(seed)
    width, height = 900, 1000
    points = a_face(random, width, height, (0.5, 0.45))
    assert points.min() > 0 and (points < (width, height)).all(), "the face is in the picture"
    expected = by_opencv(points, width, height)
    assert expected.any(axis=(0, 1)).all()
    assert numpy.array_equal(draw_key_points(points, width, height), expected)


@pytest.mark.parametrize("seed", range(40))
def test_a_face_at_the_edge_differs_by_a_pixel_at_most(seed: int) -> None:
    """OpenCV begins a line anew where it enters the picture, and rounds from there."""
    random = numpy.random.RandomState(seed)
    width, height = (int(side) for side in random.randint(60, 500, 2))
    points = a_face(random, width, height, tuple(random.uniform(0, 1, 2)))
    expected = by_opencv(points, width, height)
    differs = (draw_key_points(points, width, height) != expected).any(-1)
    assert differs.sum() <= 1


def test_all_points_on_one_pixel_are_one_disc() -> None:
    points = numpy.full((5, 2), 30, numpy.float32)
    expected = by_opencv(points, 60, 60)
    assert numpy.array_equal(draw_key_points(points, 60, 60), expected)
    assert (expected.any(-1).sum(), tuple(expected[30, 30])) == (317, COLOURS[4])
