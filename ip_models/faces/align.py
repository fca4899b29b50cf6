"""Faces cut out of a picture, as the recogniser and the image encoders were trained to see them.

`norm_crop` equals insightface's function of that name (InsightFace, MIT: the template and its
scaling; the arithmetic is ours), `square_crop` the box crop of the Kolors sample (Apache-2.0).
Pictures are (height, width, 3) of 8 bits.
"""

from __future__ import annotations

import numpy
from numpy.typing import NDArray
from PIL import Image

from ..errors import BadInput
from ..pictures.fit import Picture

Floats = NDArray[numpy.float64]
Points = NDArray[numpy.float32]

# Eyes, nose and corners of the mouth in a square of 112.
ARCFACE_TEMPLATE: Floats = numpy.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    dtype=numpy.float32,
).astype(numpy.float64)


def fit_similarity(source: Floats, target: Floats) -> Floats:
    """The rotation, scale and shift (2, 3) that bring points nearest to others.

    Umeyama 1991, "Least-squares estimation of transformation parameters between two point
    patterns", equations 38 to 43.
    """
    source, target = source.astype(numpy.float64), target.astype(numpy.float64)
    source_mean, target_mean = source.mean(0), target.mean(0)
    from_mean, to_mean = source - source_mean, target - target_mean
    variance = from_mean.var(0).sum()
    left, strength, right = numpy.linalg.svd(to_mean.T @ from_mean / len(source))
    sign = numpy.array([1.0, numpy.sign(numpy.linalg.det(left) * numpy.linalg.det(right)) or 1.0])
    rotation = (left * sign) @ right
    scale = (strength * sign).sum() / variance if variance > 0 else 0.0
    if not numpy.isfinite(scale) or scale <= 0:
        raise BadInput(
            "the five points of a face lie on one spot",
            "eyes, nose and mouth in different places are needed",
            "Use another photo",
        )
    shift = target_mean - scale * rotation @ source_mean
    return numpy.hstack([scale * rotation, shift[:, None]])


def template_of(size: int) -> Floats:
    """Where the five points go in a crop of a size; multiples of 112 are filled, of 128 framed."""
    if size % 112 and size % 128:
        raise ValueError(f"a crop of {size} is a multiple of neither 112 nor 128")
    ratio = size / (128 if size % 112 else 112)
    shift = 8.0 * ratio if size % 112 else 0.0
    # The template is single precision in the original.
    scaled = (ARCFACE_TEMPLATE.astype(numpy.float32) * numpy.float32(ratio)).astype(numpy.float32)
    return (scaled + numpy.array([shift, 0], numpy.float32)).astype(numpy.float64)


def norm_crop(image: Picture, key_points: Points, size: int = 112) -> Picture:
    """The face turned upright and scaled so that its points meet the template's."""
    return warp(image, fit_similarity(key_points.astype(numpy.float64), template_of(size)), size)


def warp(image: Picture, matrix: Floats, size: int) -> Picture:
    """A square of `size` through a (2, 3) map of places, bilinear, black outside."""
    full = numpy.vstack([matrix, [0.0, 0.0, 1.0]])
    back = numpy.linalg.inv(full)[:2]
    rows, columns = numpy.mgrid[:size, :size]
    x, y = (back[axis, 0] * columns + back[axis, 1] * rows + back[axis, 2] for axis in (0, 1))
    left, top = numpy.floor(x), numpy.floor(y)
    right_share, low_share = (x - left)[..., None], (y - top)[..., None]
    upper = _at(image, top, left) * (1 - right_share) + _at(image, top, left + 1) * right_share
    lower = _at(image, top + 1, left)
    lower = lower * (1 - right_share) + _at(image, top + 1, left + 1) * right_share
    return numpy.rint(upper * (1 - low_share) + lower * low_share).astype(numpy.uint8)


def _at(image: Picture, rows: Floats, columns: Floats) -> Floats:
    """(size, size, 3) pixels at whole places; black outside."""
    height, width = image.shape[:2]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    row = numpy.clip(rows, 0, height - 1).astype(numpy.int64)
    column = numpy.clip(columns, 0, width - 1).astype(numpy.int64)
    return image[row, column].astype(numpy.float64) * inside[..., None]


def square_crop(image: Picture, box: NDArray[numpy.float32], size: int = 336) -> Picture:
    """The square around a box, its side the longer one's, resized; black outside the picture."""
    left, top, right, bottom = box[:4].astype(numpy.float32)
    half = max(right - left, bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    square = tuple(float(one) for one in (x - half, y - half, x + half, y + half))
    if not (square[2] - square[0] >= 1 and square[3] - square[1] >= 1):
        raise BadInput("a face has no area", "a visible face is needed", "Use another photo")
    # PIL rounds the corners, and makes what lies outside black.
    cropped = Image.fromarray(image).crop(square)  # pyright: ignore[reportArgumentType]
    resized = cropped.resize((size, size), Image.Resampling.BICUBIC)
    return numpy.asarray(resized, dtype=numpy.uint8)


def shrink_bilinear(image: Picture, width: int, height: int) -> Picture:
    """Resize by two neighbours along each axis, on the integer grid of OpenCV's INTER_LINEAR.

    No smoothing beforehand, because the detector was trained on that; shares are in 1/2048.
    """
    if image.shape[:2] == (height, width):
        return image
    if image.shape[:2] == (2 * height, 2 * width):  # OpenCV averages in this one case
        lines = image[::2].astype(numpy.uint16) + image[1::2]
        return ((lines[:, ::2] + lines[:, 1::2] + 2) >> 2).astype(numpy.uint8)
    rows, row_shares = _neighbours(image.shape[0], height)
    columns, column_shares = _neighbours(image.shape[1], width)
    below = numpy.minimum(rows + 1, image.shape[0] - 1)
    beside = numpy.minimum(columns + 1, image.shape[1] - 1)
    first, second = column_shares[:, :, None]
    left, right = numpy.take(image, columns, 1), numpy.take(image, beside, 1)
    lines = (left * first + right * second) >> 4
    upper, lower = lines[rows], lines[below]
    top, bottom = row_shares[:, :, None, None]
    mixed = ((top * upper) >> 16) + ((bottom * lower) >> 16)
    return numpy.clip((mixed + 2) >> 2, 0, 255).astype(numpy.uint8)


def _neighbours(old: int, new: int) -> tuple[NDArray[numpy.int64], NDArray[numpy.int32]]:
    """The lower neighbour of each new place, and the shares (2, new) of both in 1/2048."""
    scale = 1.0 / (new / old)
    at = ((numpy.arange(new) + 0.5) * scale - 0.5).astype(numpy.float32)
    lower = numpy.floor(at)
    share = numpy.where((lower < 0) | (lower >= old - 1), numpy.float32(0), at - lower)
    places = numpy.clip(lower, 0, old - 1).astype(numpy.int64)
    shares = numpy.stack([numpy.float32(1) - share, share]) * numpy.float32(2048)
    return places, numpy.rint(shares).astype(numpy.int32)
