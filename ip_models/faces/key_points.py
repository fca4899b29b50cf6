"""The five points of a face as a picture, as InstantID's ControlNet was trained to read them.

Equal to `draw_kps` of InstantID (InstantX, Apache-2.0), which draws with OpenCV; the code is ours.
Eyes and corners of the mouth are joined with the nose by thin ellipses, which are darkened, and
each point is a disc. Everything lies on whole pixels, as there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy
from numpy.typing import NDArray

from ..pictures.fit import Picture
from .align import Points

# Red, green and blue of each eye, the nose and each corner of the mouth.
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
_NOSE = 2
_HALF_WIDTH = 4  # of an ellipse
_DARKENED = 0.6
_RADIUS = 10  # of a disc
Places = NDArray[numpy.int64]


def draw_key_points(points: Points, width: int, height: int) -> Picture:
    """A face's points on black, (height, width, 3).

    Args:
        points: (5, 2) x and y in pixels of this picture.
    """
    drawn = numpy.zeros((height, width, 3), numpy.uint8)
    for number, colour in enumerate(COLOURS):
        if number != _NOSE:
            outline = _ellipse(points[number], points[_NOSE])
            _fill(drawn, _edges(outline), colour)
    drawn = (drawn * _DARKENED).astype(numpy.uint8)
    for point, colour in zip(points, COLOURS, strict=True):
        _fill(drawn, _disc(int(point[0]), int(point[1])), colour)
    return drawn


def _ellipse(one: Points, other: Points) -> Places:
    """(n, 2) corners of an ellipse that reaches from one point to another."""
    across, down = one - other
    middle = ((one + other) / 2).astype(numpy.int64)
    length = int((across**2 + down**2) ** 0.5 / 2)
    turn = math.radians(int(math.degrees(math.atan2(down, across))))
    around = numpy.radians(numpy.arange(361))
    x, y = length * _single(numpy.cos(around)), _HALF_WIDTH * _single(numpy.sin(around))
    cos, sin = _single(numpy.cos(turn)), _single(numpy.sin(turn))
    turned = (x * cos - y * sin, x * sin + y * cos)
    return numpy.rint(numpy.stack(turned, -1) + middle).astype(numpy.int64)


def _single(value: Any) -> Any:
    """A sine as OpenCV's table has it: seven digits, in single precision."""
    return numpy.float64(numpy.float32(numpy.round(value, 7)))


def _edges(outline: Places) -> Places:
    """(n, 2) pixels on the lines between the corners of an outline."""
    ends = numpy.roll(outline, -1, axis=0)
    apart = (outline != ends).any(1)
    apart[0] = True  # a face so small that all corners are one
    pairs = list(zip(outline[apart], ends[apart], strict=True))
    return numpy.concatenate([part(*pair) for pair in pairs for part in (_line, _crossings)])


def _line(start: Places, end: Places) -> Places:
    """(n, 2) pixels of a line, drawn from the left."""
    first, last = (start, end) if start[0] <= end[0] else (end, start)
    steps = last - first
    count = max(int(numpy.abs(steps).max()), 1)
    # Half a pixel is rounded towards where the line began.
    along = (2 * numpy.arange(count + 1)[:, None] * numpy.abs(steps) + count - 1) // (2 * count)
    return first + numpy.sign(steps) * along


def _crossings(start: Places, end: Places) -> Places:
    """(n, 2) pixels where a line crosses each row, by steps of 1/65536 pixel as OpenCV counts."""
    (x, top), (last, bottom) = sorted((start.tolist(), end.tolist()), key=lambda place: place[1])
    count = bottom - top
    if not count:
        return numpy.stack((start, end))
    step = int(((2 * (last - x) << 16) + count) / (2 * count))  # towards 0
    rows = numpy.arange(count)
    return numpy.stack((((x << 16) + rows * step + (1 << 15)) >> 16, top + rows), -1)


def _disc(x: int, y: int) -> Places:
    """(n, 2) pixels at the left and right of each row of a disc."""
    rows = numpy.arange(-_RADIUS, _RADIUS + 1)
    half = numpy.sqrt(_RADIUS**2 - rows**2).astype(numpy.int64)
    return numpy.concatenate([numpy.stack((x + side * half, y + rows), -1) for side in (-1, 1)])


def _fill(drawn: Picture, border: Places, colour: tuple[int, int, int]) -> None:
    """Colour each row from the first to the last of its border's pixels."""
    columns, rows = border[numpy.lexsort(border.T)].T
    shown, first = numpy.unique(rows, return_index=True)
    last = numpy.append(first[1:], len(rows)) - 1
    for row, left, right in zip(shown, columns[first], columns[last], strict=True):
        if 0 <= row < len(drawn):
            drawn[row, max(left, 0) : max(right + 1, 0)] = colour
