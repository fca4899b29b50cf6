"""What every function here asks of a picture or a mask before it counts on its shape."""

from __future__ import annotations

import torch
from torch import Tensor

from ....ip_models.errors import BadInput
from ....ip_models.inputs import shown, sides

_MOST_PIXELS = 2**28
_ACTION = "Check the node that makes it"


def require_picture(images: object) -> Tensor:
    """The value, if it is a batch of pictures with 1 to 4 channels.

    Values outside 0..1 are let through: old nodes make them, and those after them cut them.

    Raises:
        BadInput: it has another shape, no pixels, or values that are not finite.
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[-1] not in (1, 2, 3, 4):
        raise BadInput(
            f"the image is {shown(images)}",
            "pictures of batch x height x width x 1 to 4 channels are needed",
            "Connect an IMAGE",
        )
    _require_values("the image", images)
    # Neither PIL nor the filters for processors know bfloat16.
    return images.float() if images.dtype is torch.bfloat16 else images


def require_mask(mask: object) -> Tensor:
    """The value as (batch, height, width), if it is a mask or a batch of masks.

    Raises:
        BadInput: it has another shape, no pixels, or values that are not finite.
    """
    if not isinstance(mask, Tensor) or mask.ndim not in (2, 3):
        raise BadInput(
            f"the mask is {shown(mask)}",
            "masks of batch x height x width are needed",
            "Connect a MASK",
        )
    _require_values("the mask", mask)
    return mask if mask.ndim == 3 else mask[None]


def require_room(height: int, width: int) -> None:
    """Refuse a picture on the way that takes gigabytes, as a line of pixels makes.

    Raises:
        BadInput: it would.
    """
    if height * width > _MOST_PIXELS:
        raise BadInput(
            f"the image is so long that {width} x {height} pixels would be made of it",
            f"no more than {_MOST_PIXELS:,} pixels are made",
            "Crop the picture first",
        )


def _require_values(name: str, values: Tensor) -> None:
    if values.numel() == 0:
        raise BadInput(
            f"{name} has shape {sides(values.shape)} and so no pixels",
            "one pixel or more is needed",
            _ACTION,
        )
    if not values.is_floating_point() or not torch.isfinite(values).all():
        raise BadInput(
            f"{name} holds values of {str(values.dtype).removeprefix('torch.')} that are not "
            "finite or not fractions",
            "finite numbers from 0 to 1 are needed",
            _ACTION,
        )
