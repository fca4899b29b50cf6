"""Pictures as an image encoder wants them: square, RGB, on the 8-bit grid.

Follows the Hugging Face CLIP image processor bit for bit: PIL's bicubic filter on 8-bit values, the
long side rounded down, the crop's corner rounded down. One fit follows ComfyUI's own encoding of
pictures instead. Transparency is dropped; transformers 5 lays
such pictures over white, earlier versions and ComfyUI drop it too.
"""

from __future__ import annotations

from enum import Enum

import numpy
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import BadInput
from ..inputs import require_pixels, require_plain, sides

Picture = NDArray[numpy.uint8]


class Fit(str, Enum):
    """How a picture of any shape becomes a square."""

    CROP_CENTRE = "crop centre"
    CROP_TOP = "crop top"
    CROP_BOTTOM = "crop bottom"
    CROP_LEFT = "crop left"
    CROP_RIGHT = "crop right"
    PAD = "pad"
    SQUASH = "squash"
    COMFYUI = "crop centre (ComfyUI)"  # as the host's CLIP Vision Encode does it


# Where the crop sits along an axis, in thousandths of the slack; the middle if not listed.
_ACROSS = {Fit.CROP_LEFT: 0, Fit.CROP_RIGHT: 1000}
_LONGEST = 1000  # beyond that the resized picture would take gigabytes
_LARGE = 4096  # side up to which a square is made whatever is in it
UNSEEN = 0.5 / 255  # of a mask, below which no byte of the picture shows it
_NAMED = 8  # pictures by their number
_DOWN = {Fit.CROP_TOP: 0, Fit.CROP_BOTTOM: 1000}


def require_images(images: Tensor, what: str) -> None:
    """Refuse what cannot be a batch of pictures, (batch, height, width, channels) in 0..1.

    Raises:
        BadInput: wrong rank, empty batch, no pixels, or values that are not finite or far from
            0 to 1.
    """
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[-1] not in (1, 2, 3, 4):
        raise BadInput(
            f"{what} has shape {sides(shape)}",
            "pictures of batch x height x width x 1 to 4 channels are needed",
            "Connect an IMAGE",
        )
    if images.numel() == 0:
        raise BadInput(
            f"{what} has shape {sides(shape)} and so no pixels",
            "one picture or more with at least one pixel is needed",
            "Check the node that makes the images",
        )
    if max(shape[1:3]) > _LONGEST * min(shape[1:3]):
        raise BadInput(
            f"{what} is {shape[2]} x {shape[1]} pixels",
            f"one side may be at most {_LONGEST} times the other",
            "Crop the picture first",
        )
    needed, action = "pixels need values from 0 to 1", "Check the node that makes the images"
    require_plain(what, images, needed, action)  # of another kind there may be no single one
    for i, image in enumerate(images, 1):
        require_pixels(f"{what} {i} of {len(images)}", image, needed, action)


def fit_images(images: Tensor, size: int, fit: Fit, pad_colour: tuple[float, ...]) -> Tensor:
    """(batch, height, width, channels) in 0..1 -> (batch, size, size, 3) on the 8-bit grid.

    Alpha is dropped, grey becomes RGB, as PIL's `convert("RGB")` does. `pad_colour` is in 0..1.
    """
    return fit_bytes(images, size, fit, pad_colour).float() / 255


def fit_bytes(images: Tensor, size: int, fit: Fit, pad_colour: tuple[float, ...]) -> Tensor:
    """The same in 8 bits."""
    colour = tuple(round(channel * 255) for channel in pad_colour)
    if fit is Fit.COMFYUI:
        return _as_comfyui(_rgb(images.detach().cpu()).float(), size)
    rgb = to_bytes(images)
    squares = [fit_one(Image.fromarray(one.numpy()), size, fit, colour) for one in rgb]
    return torch.from_numpy(numpy.stack([numpy.asarray(square) for square in squares]))


def square_side(size: tuple[int, int], fit: Fit, needed: int) -> int:
    """Side of the square that shows a picture pixel for pixel, but for long and large ones.

    Those would take many times their own memory; there it is 4096, or as large as is needed.
    """
    if fit not in (Fit.PAD, Fit.SQUASH):
        return min(size)
    side = max(size)
    return side if side <= 4 * min(size) else min(side, max(_LARGE, needed))


def to_bytes(images: Tensor) -> Tensor:
    """(batch, height, width, channels) in 0..1 -> (batch, height, width, 3) of 8 bits."""
    rgb = _rgb(images.detach().cpu())
    return rgb.float().clamp(0, 1).mul(255).round().to(torch.uint8)


def fit_one(image: Image.Image, size: int, fit: Fit, colour: tuple[int, ...]) -> Image.Image:
    """One picture as a square of `size`; `colour` in 0..255 is for bars."""
    if fit is Fit.PAD:
        image = _padded(image, colour, size)
    if fit in (Fit.PAD, Fit.SQUASH):
        return image.resize((size, size), Image.Resampling.BICUBIC)
    image = cover(image, size)
    left = (image.width - size) * _ACROSS.get(fit, 500) // 1000
    top = (image.height - size) * _DOWN.get(fit, 500) // 1000
    return image.crop((left, top, left + size, top + size))


def cover(image: Image.Image, size: int) -> Image.Image:
    """The picture with a short side of `size`, the long one rounded down."""
    short = min(image.size)
    width, height = (size * side // short for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def with_long_side(image: Image.Image, size: int) -> Image.Image:
    """The picture with a long side of `size`."""
    width, height = (max(round(side * size / max(image.size)), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _as_comfyui(images: Tensor, size: int) -> Tensor:
    """What `clip_preprocess` of ComfyUI 0.33 gives to an encoder, before it is normalised.

    It resizes in floating point, rounds the long side to the nearest pixel, and makes 8 bits of
    the result.
    """
    pixels = images.movedim(-1, 1)
    if tuple(pixels.shape[2:]) != (size, size):
        scale = size / min(pixels.shape[2:])
        grown = [round(scale * side) for side in pixels.shape[2:]]
        pixels = interpolate(pixels, size=grown, mode="bicubic", antialias=True)
        top, left = ((side - size) // 2 for side in pixels.shape[2:])
        pixels = pixels[:, :, top : top + size, left : left + size]
    return pixels.mul(255).clamp(0, 255).round().to(torch.uint8).movedim(1, -1)


def _padded(image: Image.Image, colour: tuple[int, ...], size: int) -> Image.Image:
    side = square_side(image.size, Fit.PAD, size)
    if side < max(image.size):
        image = with_long_side(image, side)
    canvas = Image.new("RGB", (side, side), colour)  # pyright: ignore[reportArgumentType]
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas


def blend_with(images: Tensor, mask: Tensor, colour: tuple[float, ...]) -> Tensor:
    """Hide what the mask leaves out behind a plain colour.

    Args:
        images: (batch, height, width, channels).
        mask: (height, width) or (1 or batch, height, width), 1 where the picture stays.

    Raises:
        BadInput: the mask is of another rank, count, empty or not finite.
    """
    images = images if images.is_floating_point() else images.float()
    planes = resize_mask(mask, images)[..., None].to(images)
    return torch.lerp(torch.tensor(colour).to(images), _rgb(images), planes)


def hidden_line(mask: Tensor, count: int) -> str:
    """Which of `count` pictures a mask leaves nothing of, empty if none."""
    planes = mask[None] if mask.ndim == 2 else mask
    black = [plane.max().item() < UNSEEN for plane in planes.expand(count, -1, -1)]
    hidden = [str(i + 1) for i, is_black in enumerate(black) if is_black]
    if not hidden:
        return ""
    noun = "image" if len(hidden) == 1 else "images"
    which = "every image" if len(hidden) == count > 1 else f"{noun} {', '.join(hidden[:_NAMED])}"
    more = " and others" if len(hidden) > _NAMED and len(hidden) < count else ""
    return f"the mask hides the whole of {which}{more}; white is the part to look at"


def resize_mask(mask: Tensor, images: Tensor) -> Tensor:
    """The mask in the size of its pictures, (1 or batch, height, width).

    Raises:
        BadInput: the mask is of another rank, count, empty or not finite.
    """
    planes = mask[None] if mask.ndim == 2 else mask
    if planes.ndim != 3 or len(planes) not in (1, len(images)) or planes.numel() == 0:
        raise BadInput(
            f"mask has shape {sides(mask.shape)} for {len(images)} image(s)",
            "one mask, or one for each image, of height x width is needed",
            "Connect a MASK that belongs to the image",
        )
    if not bool(torch.isfinite(planes).all()):
        raise BadInput(
            "mask holds values that are not finite", "0 to 1 is needed", "Connect another MASK"
        )
    resized = interpolate(planes[:, None].float(), size=images.shape[1:3], mode="bilinear")
    return resized.round(decimals=5)[:, 0]  # enlarged white stays white


def _rgb(images: Tensor) -> Tensor:
    if images.shape[-1] >= 3:
        return images[..., :3]
    return images[..., :1].expand(*images.shape[:-1], 3)
