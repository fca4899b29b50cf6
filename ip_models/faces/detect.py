"""Faces in a picture: what a SCRFD detector's numbers mean, and what to try until one is found.

Decoding follows insightface's `SCRFD` (InsightFace, MIT); the code is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import numpy
from numpy.typing import NDArray

from ..errors import UnsupportedNetwork
from ..pictures.fit import Picture
from .align import Points, shrink_bilinear

SCORE = 0.5
OVERLAP = 0.4
# A face that fills the picture is found only where it is small enough for the largest anchors.
SIZES = tuple(range(640, 127, -64))
# One cut by the edge is found where something lies beyond it: shares of the sides.
PADDINGS = (0.25, 0.5, 1.0)
PADDED_SIZES = (640, 448, 256)
_LARGEST = 1280
Floats = NDArray[numpy.float32]
# Outputs -> (strides, anchors at each place, whether key points are among them).
_LAYOUTS = {
    6: ((8, 16, 32), 2, False),
    9: ((8, 16, 32), 2, True),
    10: ((8, 16, 32, 64, 128), 1, False),
    15: ((8, 16, 32, 64, 128), 1, True),
}


class FaceChoice(str, Enum):
    """Which of several faces is meant."""

    LARGEST = "largest"
    BEST_SCORE = "best score"
    LEFT_TO_RIGHT = "left to right"


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a picture, in its pixels.

    Attributes:
        box: (4,) left, top, right, bottom.
        key_points: (5, 2) x and y of eyes, nose and corners of the mouth.
    """

    box: Floats
    score: float
    key_points: Points

    @property
    def area(self) -> float:
        """Of the box."""
        left, top, right, bottom = (float(one) for one in self.box)
        return max(right - left, 0.0) * max(bottom - top, 0.0)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the box in whole pixels."""
        left, top, right, bottom = (float(one) for one in self.box)
        return round(right - left), round(bottom - top)

    def moved(self, x: float, y: float) -> Face:
        """The same face in a picture whose corner lies elsewhere."""
        by = numpy.array([x, y], numpy.float32)
        return replace(self, box=self.box + numpy.tile(by, 2), key_points=self.key_points + by)

    def scaled(self, factor: float) -> Face:
        """The same face in a picture of another size."""
        by = numpy.float32(factor)
        return replace(self, box=self.box * by, key_points=self.key_points * by)


class Detector(Protocol):
    """Finds faces in one picture at one size."""

    def detect(self, image: Picture, size: int) -> list[Face]:
        """Faces in an RGB picture scaled into a square of `size`, the best score first."""
        ...

    @property
    def fixed_size(self) -> int | None:
        """The only size it works at, if there is one."""
        ...


def find_faces(image: Picture, detector: Detector) -> list[Face]:
    """Faces of the first try that shows any, the best score first; [] if none does."""
    fixed = detector.fixed_size
    for size in SIZES if fixed is None else (fixed,):
        faces = detector.detect(image, size)
        if faces:
            return faces
    small, shrunk = _at_most(image, _LARGEST)
    for x, y, padded, size in _bordered(small, fixed):
        faces = detector.detect(padded, size)
        if faces:
            return [face.moved(-x, -y).scaled(1 / shrunk) for face in faces]
    return []


def tried(detector: Detector) -> str:
    """What `find_faces` tries, for messages."""
    fixed = detector.fixed_size
    sizes = (
        f"sizes {SIZES[0]} to {SIZES[-1]}"
        if fixed is None
        else f"size {fixed}, the only one of this detector"
    )
    borders = ", ".join(f"{round(100 * share)}" for share in PADDINGS)
    return f"detection {sizes}, and a border of {borders} %"


def _bordered(image: Picture, fixed: int | None) -> Iterator[tuple[int, int, Picture, int]]:
    """Width and height of the border, the picture with it, and a size."""
    # What a smaller size does for a face that fills the picture, a border does where it is fixed.
    sizes = PADDED_SIZES if fixed is None else (fixed,)
    for share in PADDINGS:
        yield from (_padded(image, share, size) for size in sizes)


def _at_most(image: Picture, side: int) -> tuple[Picture, float]:
    """A picture no larger than the detector looks at, and how much it was scaled."""
    height, width = image.shape[:2]
    factor = min(side / max(height, width), 1.0)
    if factor == 1.0:
        return image, factor
    width, height = (max(round(side * factor), 1) for side in (width, height))
    return shrink_bilinear(image, width, height), factor


def _padded(image: Picture, share: float, size: int) -> tuple[int, int, Picture, int]:
    y, x = (max(round(side * share), 1) for side in image.shape[:2])
    return x, y, numpy.pad(image, ((y, y), (x, x), (0, 0))), size


def choose(faces: Sequence[Face], choice: FaceChoice, index: int = 0) -> Face | None:
    """One face of several; None if there are not as many as the index asks for."""
    if not faces:
        return None
    if choice is FaceChoice.LARGEST:
        return max(faces, key=lambda face: face.area)
    if choice is FaceChoice.BEST_SCORE:
        return max(faces, key=lambda face: face.score)
    ordered = sorted(faces, key=lambda face: float(face.box[0] + face.box[2]))
    return ordered[index] if 0 <= index < len(ordered) else None


def letterbox(image: Picture, size: int) -> tuple[Picture, float]:
    """The picture in the upper left of a black square, and how much it was scaled."""
    height, width = image.shape[:2]
    ratio = height / width
    if ratio > 1:
        new_height, new_width = size, int(size / ratio)
    else:
        new_width, new_height = size, int(size * ratio)
    canvas = numpy.zeros((size, size, 3), numpy.uint8)
    new_width, new_height = max(new_width, 1), max(new_height, 1)
    canvas[:new_height, :new_width] = shrink_bilinear(image, new_width, new_height)
    return canvas, new_height / height


def decode(outputs: Sequence[Floats], size: int, scale: float, file: str) -> list[Face]:
    """Faces from a detector's outputs: scores, boxes and key points of each stride.

    Raises:
        UnsupportedNetwork: these are not the outputs of a SCRFD detector with key points.
    """
    strides, anchors, has_points = _LAYOUTS.get(len(outputs), ((), 0, False))
    if not has_points:
        raise UnsupportedNetwork(
            f"{file} gives {len(outputs)} outputs",
            "a SCRFD face detector with key points gives 9 or 15",
            "Use det_10g.onnx of buffalo_l or scrfd_10g_bnkps.onnx of antelopev2",
        )
    levels = len(strides)
    found: list[tuple[Floats, Floats, Floats]] = []
    for level, stride in enumerate(strides):
        centres = _centres(size // stride, stride, anchors)
        parts = (outputs[level], outputs[level + levels], outputs[level + 2 * levels])
        scores, distances, offsets = (
            _rows(part, len(centres), columns, file)
            for part, columns in zip(parts, (1, 4, 10), strict=True)
        )
        kept = numpy.flatnonzero(scores[:, 0] >= SCORE)
        near, far = numpy.split(distances[kept] * stride, 2, axis=1)
        boxes = numpy.hstack([centres[kept] - near, centres[kept] + far])
        points = centres[kept][:, None] + (offsets[kept] * stride).reshape(-1, 5, 2)
        found.append((scores[kept, 0], boxes / scale, points / scale))
    scores, boxes, points = (numpy.concatenate(part) for part in zip(*found, strict=True))
    whole = numpy.isfinite(boxes).all(1) & numpy.isfinite(points).all((1, 2))
    return _best(scores[whole], boxes[whole], points[whole])


def _rows(output: Floats, count: int, columns: int, file: str) -> Floats:
    if output.size != count * columns:
        raise UnsupportedNetwork(
            f"{file} gives an output of shape {output.shape}",
            f"a SCRFD face detector gives {count} rows of {columns} here",
            "Use det_10g.onnx of buffalo_l or scrfd_10g_bnkps.onnx of antelopev2",
        )
    return output.reshape(count, columns)


def _centres(count: int, stride: int, anchors: int) -> Floats:
    """(count * count * anchors, 2) x and y, row by row, each repeated for its anchors."""
    rows, columns = numpy.mgrid[:count, :count].astype(numpy.float32)
    return numpy.repeat(numpy.stack([columns, rows], -1).reshape(-1, 2) * stride, anchors, axis=0)


def _best(scores: Floats, boxes: Floats, points: Floats) -> list[Face]:
    """The best score first, without those that overlap a better one."""
    order = numpy.argsort(-scores, kind="stable")
    boxes, scores, points = (part[order].astype(numpy.float32) for part in (boxes, scores, points))
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    areas = sides[:, 0] * sides[:, 1]
    left = numpy.arange(len(boxes))
    faces: list[Face] = []
    while left.size:
        one, rest = left[0], left[1:]
        faces.append(Face(boxes[one], float(scores[one]), points[one]))
        corner = numpy.maximum(boxes[one, :2], boxes[rest, :2])
        shared = numpy.maximum(numpy.minimum(boxes[one, 2:], boxes[rest, 2:]) - corner + 1, 0)
        overlap = shared[:, 0] * shared[:, 1]
        left = rest[overlap / (areas[one] + areas[rest] - overlap) <= OVERLAP]
    return faces


def pixel_scale(names: Sequence[str]) -> tuple[float, float]:
    """Mean and deviation a recogniser's pixels are normalised with, by its first nodes' names.

    insightface's rule: a graph that begins with both a subtraction and a product does it itself.
    """
    first = names[:8]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in first)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in first)
    return (0.0, 1.0) if subtracts and multiplies else (127.5, 127.5)
