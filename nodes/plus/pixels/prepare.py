"""Pictures made ready by hand for an encoder or a face detector."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.functional import to_pil_image, to_tensor

from ....ip_models.inputs import listed, switch, within
from .checks import require_picture, require_room

INTERPOLATIONS = ("LANCZOS", "BICUBIC", "HAMMING", "BILINEAR", "BOX", "NEAREST")
CROPS = ("top", "bottom", "left", "right", "center")
# What workflows of September 2023 have in their place.
OLD_INTERPOLATIONS = {
    **{name.lower(): name for name in INTERPOLATIONS},
    "area": "BOX",
    "nearest-exact": "NEAREST",
}
_SIDE = 224
_FACE, _FACE_INSIDE, _WHITE = 640, 580, 1.0
# Where the square lies in what is left over of (height, width): at the start, in the middle, at
# the end.
_CORNERS = {"top": (0, 1), "bottom": (2, 1), "left": (1, 0), "right": (1, 2), "center": (1, 1)}


def prepare(image: Tensor, interpolation: str, crop_position: str, sharpening: float) -> Tensor:
    """A square of 224 pixels of each picture.

    Args:
        interpolation: a filter of PIL in capitals.
        crop_position: which part stays, or "pad" for black bars. An odd difference of the sides
            leaves the padded picture a pixel short of a square.
        sharpening: 0..1.

    Raises:
        BadInput: no pictures, or a word that is not known.
    """
    listed("interpolation", interpolation, INTERPOLATIONS)
    listed("crop_position", crop_position, (*CROPS, "pad"))
    planes = require_picture(image).movedim(-1, 1)
    planes = _barred(planes) if crop_position == "pad" else _square(planes, crop_position)
    planes = resized(planes, (_SIDE, _SIDE), interpolation)
    return sharpened(planes, sharpening).movedim(1, -1)


def prepare_face(image: Tensor, crop_position: str, sharpening: float, pad_around: bool) -> Tensor:
    """A square of 640 pixels of each picture.

    With `pad_around` there is a white border of 30 pixels in it. (Version 1 filled it with 255
    where white is 1, which comes to the same for whoever cuts to 0..1.)

    Raises:
        BadInput: no pictures, or a word that is not known.
    """
    listed("crop_position", crop_position, CROPS)
    switch("pad_around", pad_around)
    planes = _square(require_picture(image).movedim(-1, 1), crop_position)
    side = _FACE_INSIDE if pad_around else _FACE
    planes = sharpened(resized(planes, (side, side), "LANCZOS"), sharpening)
    border = (_FACE - side) // 2
    return pad(planes, (border,) * 4, value=_WHITE).movedim(1, -1)


def resized(planes: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """(batch, channels, height, width) scaled to (width, height) by PIL, so through 8 bits.

    Fractions of a grey level are cut off on the way.
    """
    method = Image.Resampling[interpolation]
    return torch.stack([to_tensor(to_pil_image(one).resize(size, method)) for one in planes])


def sharpened(planes: Tensor, amount: float) -> Tensor:
    """Contrast adaptive sharpening of (batch, channels, height, width) in 0..1; 0 for none.

    The formula is that of AMD FidelityFX CAS (MIT), each channel by itself and with its corners.
    What lies beyond the border is black here, so the border gets brighter than it should.
    """
    if within("sharpening", amount, 0, 1) == 0:
        return planes
    height, width = planes.shape[-2:]
    padded = pad(planes, (1, 1, 1, 1))
    near = [[padded[..., y : y + height, x : x + width] for x in range(3)] for y in range(3)]
    middle, sides = near[1][1], (near[0][1], near[1][0], near[1][2], near[2][1])
    cross = torch.stack((middle, *sides))
    corners = torch.stack((near[0][0], near[0][2], near[2][0], near[2][2]))
    low = cross.amin(0) + corners.amin(0)
    high = cross.amax(0) + corners.amax(0)
    # Black all around makes 0 times infinity, which comes out black in the end.
    room = torch.minimum(low, 2 - high) * high.reciprocal()
    weight = -room.sqrt() * (amount * (1 / 5 - 1 / 8) + 1 / 8)
    sharper = (sum(sides[1:], sides[0]) * weight + middle) * (1 + 4 * weight).reciprocal()
    return sharper.nan_to_num().clamp(0, 1)


def _square(planes: Tensor, crop_position: str) -> Tensor:
    height, width = planes.shape[-2:]
    side = min(height, width)
    down, across = _CORNERS[crop_position]
    top, left = (height - side) * down // 2, (width - side) * across // 2
    return planes[..., top : top + side, left : left + side]


def _barred(planes: Tensor) -> Tensor:
    height, width = planes.shape[-2:]
    bar, across = abs(height - width) // 2, height > width
    require_room(max(height, width), max(height, width))
    return pad(planes, (bar, bar, 0, 0) if across else (0, 0, bar, bar))
