"""Contrast adaptive sharpening: more where a picture is soft, less where it is crisp already.

The formula is that of AMD FidelityFX CAS (MIT), each channel by itself and with its corners; the
code is ours. Values are taken as they are, not made linear first, and what lies beyond the border
is the border again.
"""

from __future__ import annotations

import numpy

from .fit import Picture

_CROSS = ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))
_SIDES = ((0, 1), (1, 0), (1, 2), (2, 1))
_CORNERS = ((0, 0), (0, 2), (2, 0), (2, 2))


def sharpen(picture: Picture, amount: float) -> Picture:
    """A picture of 8 bits, sharpened; 0 leaves it alone, above that `amount` is AMD's sharpness."""
    if amount == 0:
        return picture
    height, width = picture.shape[:2]
    padded = numpy.pad(picture / 255.0, ((1, 1), (1, 1), (0, 0)), mode="edge")
    near = {(y, x): padded[y : y + height, x : x + width] for y, x in {*_CROSS, *_SIDES, *_CORNERS}}
    low = numpy.minimum.reduce([near[at] for at in _CROSS])
    high = numpy.maximum.reduce([near[at] for at in _CROSS])
    low = low + numpy.minimum.reduce([low, *(near[at] for at in _CORNERS)])
    high = high + numpy.maximum.reduce([high, *(near[at] for at in _CORNERS)])
    # How far the values can go before they leave 0..1, as a share of the highest.
    room = numpy.minimum(low, 2 - high) / numpy.where(high > 0, high, 1)
    weight = -numpy.sqrt(numpy.clip(room, 0, 1)) / (8 - 3 * amount)
    sides = sum(near[at] for at in _SIDES)
    sharper = (sides * weight + near[1, 1]) / (1 + 4 * weight)
    return numpy.rint(numpy.clip(sharper, 0, 1) * 255).astype(numpy.uint8)
