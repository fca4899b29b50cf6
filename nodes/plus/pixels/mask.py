"""The mask of the encoder: laid on pixels that are normalised already."""

from __future__ import annotations

from torch import Tensor
from torchvision.transforms.v2.functional import InterpolationMode, center_crop, resize

from ....ip_models.errors import BadInput
from .checks import require_mask


def masked_square(mask: Tensor, size: int) -> Tensor:
    """The centre squares of masks at (masks, size, size); filters may leave 0..1."""
    masks = require_mask(mask)
    if masks.shape[1:] == (size, size):
        return masks
    square = center_crop(masks[:, None], [min(masks.shape[1:])] * 2)
    return resize(square, [size, size], InterpolationMode.BICUBIC, antialias=True)[:, 0]


def masked_pixels(pixels: Tensor, mask: Tensor | None) -> Tensor:
    """What the encoder gets of normalised pixels, (n, 3, size, size).

    Hidden parts become the mean colour the encoder knows, as that is 0 there. A batch of three
    masks is taken for one per colour.

    Raises:
        BadInput: two masks, or more than three.
    """
    if mask is None:
        return pixels
    masks = masked_square(mask, pixels.shape[-1])
    if len(masks) not in (1, 3):
        raise BadInput(
            f"{len(masks)} masks are connected",
            "this encoder takes one mask for all pictures",
            "Connect one",
        )
    return pixels * masks.to(pixels.device)
