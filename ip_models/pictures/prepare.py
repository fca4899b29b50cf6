"""A picture made ready by hand for an encoder: which part of it, on what ground, how crisp."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy
import torch
from PIL import Image, ImageColor, ImageFilter
from torch import Tensor

from ..errors import Action, BadInput, Mend
from ..inputs import shown, within
from .fit import Fit, cover, fit_one, with_long_side
from .sharpen import sharpen

Colour = tuple[float, ...]
# What CLIP encoders were trained with; a picture of this colour says nothing to them.
CLIP_MEAN: Colour = (0.48145466, 0.4578275, 0.40821073)
# Of a picture that exists only on the way to the square: a gigabyte.
_MOST_PIXELS = 2**28
_BLUR = 1 / 12  # of the side


class Framing(str, Enum):
    """Which part of a picture stays, and in which shape."""

    CROP_CENTRE = Fit.CROP_CENTRE.value
    CROP_TOP = Fit.CROP_TOP.value
    CROP_BOTTOM = Fit.CROP_BOTTOM.value
    CROP_LEFT = Fit.CROP_LEFT.value
    CROP_RIGHT = Fit.CROP_RIGHT.value
    CROP_FACE = "crop face"
    PAD = Fit.PAD.value
    SQUASH = Fit.SQUASH.value
    LONG_SIDE = "long side"

    @property
    def crops(self) -> bool:
        """Whether something is cut off."""
        return self not in (Framing.PAD, Framing.SQUASH, Framing.LONG_SIDE)


class Ground(str, Enum):
    """What the bars beside a padded picture show."""

    MEAN = "mean colour"
    EDGE = "edge"
    COLOUR = "colour"
    BLUR = "blur"


@dataclass(frozen=True)
class Preparation:
    """What to make of a picture.

    Attributes:
        size: side of the square, or the long side, in pixels.
        colour: in 0..1, of plain bars and of what a mask hides.
        sharpening: 0..1, 0 for none.
    """

    framing: Framing
    size: int
    ground: Ground = Ground.MEAN
    colour: Colour = CLIP_MEAN
    sharpening: float = 0.0

    def __post_init__(self) -> None:
        within("sharpening", self.sharpening, 0, 1)


def parse_colour(text: object, name: str) -> Colour:
    """Red, green and blue in 0..1 of "#808080", "grey" or "rgb(128, 128, 128)".

    Raises:
        BadInput: this is no colour.
    """
    try:
        channels = ImageColor.getrgb(str(text).strip())[:3]
    except ValueError:
        channels = ()
    if not channels or not all(0 <= channel <= 255 for channel in channels):
        raise BadInput(
            f"{name} is {shown(text)}",
            "a colour such as #808080 or grey is needed",
            "Write # and six digits, or the English name of a colour",
        )
    return tuple(channel / 255 for channel in channels)


def require_room(height: int, width: int, preparation: Preparation) -> None:
    """Refuse a picture so long and thin, or so large, that its square would fill the memory.

    Raises:
        BadInput: it would.
    """
    framing, size = preparation.framing, preparation.size
    sides = (height, width)
    between = size * size * max(sides) // min(sides) if framing.crops else 0
    between = max(sides) ** 2 if framing is Framing.PAD else between
    if between > _MOST_PIXELS:
        raise BadInput(
            f"image is {width} x {height} pixels and fit is {framing.value} with size {size}",
            f"the picture on the way to the square would have {between / 1e6:.0f} million pixels, "
            f"of which {_MOST_PIXELS / 1e6:.0f} are allowed",
            Action(
                "Cut or shrink the picture first, or set fit to squash",
                Mend("fit", Framing.SQUASH.value),
            ),
        )


def prepare(
    image: Tensor, preparation: Preparation, centre: tuple[float, float] | None = None
) -> Tensor:
    """(height, width, 3) of 8 bits -> the same, as the encoder is to see it.

    Args:
        centre: of the face, x and y in the picture's pixels; for the crop of a face.
    """
    framed = _framed(Image.fromarray(image.numpy()), preparation, preparation.ground, centre)
    return torch.from_numpy(sharpen(numpy.array(framed), preparation.sharpening))


def prepare_mask(
    plane: Tensor, preparation: Preparation, centre: tuple[float, float] | None = None
) -> Tensor:
    """(height, width) of 8 bits -> the same, cut as its picture; bars count as what they touch."""
    framed = _framed(Image.fromarray(plane.numpy()), preparation, Ground.EDGE, centre)
    return torch.from_numpy(numpy.array(framed))


def _framed(
    image: Image.Image, wanted: Preparation, ground: Ground, centre: tuple[float, float] | None
) -> Image.Image:
    size = wanted.size
    if wanted.framing is Framing.LONG_SIDE:
        return with_long_side(image, size)
    if wanted.framing is Framing.CROP_FACE:
        return _around(image, size, centre or (image.width / 2, image.height / 2))
    if wanted.framing is Framing.PAD and ground in (Ground.EDGE, Ground.BLUR):
        padded = _with_edges(image) if ground is Ground.EDGE else _over_blur(image, size)
        return padded.resize((size, size), Image.Resampling.BICUBIC)
    colour = tuple(round(255 * channel) for channel in wanted.colour)
    return fit_one(image, size, Fit(wanted.framing.value), colour)


def _around(image: Image.Image, size: int, centre: tuple[float, float]) -> Image.Image:
    """The square with a point in its middle, or as near to it as the edges allow."""
    covering = cover(image, size)
    left, top = (
        min(max(round(at * new / old - size / 2), 0), new - size)
        for at, new, old in zip(centre, covering.size, image.size, strict=True)
    )
    return covering.crop((left, top, left + size, top + size))


def _corner(image: Image.Image) -> tuple[int, int]:
    """Where a picture lies in the square it is padded to; x and y."""
    side = max(image.size)
    return (side - image.width) // 2, (side - image.height) // 2


def _with_edges(image: Image.Image) -> Image.Image:
    side = max(image.size)
    left, top = _corner(image)
    around = [(top, side - image.height - top), (left, side - image.width - left)]
    pixels = numpy.asarray(image)
    around += [(0, 0)] * (pixels.ndim - 2)
    return Image.fromarray(numpy.pad(pixels, around, mode="edge"))


def _over_blur(image: Image.Image, size: int) -> Image.Image:
    """On the middle of itself, enlarged and blurred; blurred small, which is as good and quick."""
    side, short = max(image.size), min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    middle = image.resize(
        (size, size), Image.Resampling.BICUBIC, (left, top, left + short, top + short)
    )
    blurred = middle.filter(ImageFilter.GaussianBlur(size * _BLUR))
    canvas = blurred.resize((side, side), Image.Resampling.BICUBIC)
    canvas.paste(image, _corner(image))
    return canvas
