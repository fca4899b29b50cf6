"""The shares of a run put together: a map over the picture for each reference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..attention.masks import Crop
from ..attention.record import LayerKey, Seen, SeenChunk, Sums
from ..errors import UnknownPlace

Size = tuple[int, int]


def maps_of(seen: Seen, references: int, pictures: int, size: Size) -> Tensor:
    """(references, pictures, height, width): the mean share at each place, from 0 to 1.

    The mean goes over the layers that were looked at, over all calls, and over the conditionings
    as much as each counts at that place.

    Args:
        references: how many the MODEL has.
        size: height and width of the latent.

    Raises:
        UnknownPlace: a call was for a part of another picture.
    """
    made = torch.zeros(references, pictures, *size)
    counted = torch.zeros(pictures, *size)
    for sums in seen.sums.values():
        if max(sums.pictures) >= pictures:
            raise _not_whole(f"of {max(sums.pictures) + 1} pictures, of which {pictures} came out")
        layers = sums.calls * len(seen.slots)
        for at, chunk in enumerate(sums.chunks):
            if not chunk.cond:
                continue
            lines, columns = place = _places(chunk.crop, size)
            shares = _of_chunk(sums, at, place, references)
            for number, picture in enumerate(sums.pictures):
                weight = _weight(chunk, place, number, size)
                part = shares[:, number] * (weight * sums.times)
                made[:, picture, lines[:, None], columns] += part
                counted[picture, lines[:, None], columns] += layers * weight
    return (made / counted.clamp_min(1e-12)).nan_to_num(0.0).clamp_(0, 1)


def _of_chunk(sums: Sums, at: int, place: tuple[Tensor, Tensor], references: int) -> Tensor:
    """Shares of one chunk added up on the pixels of its part, (references, pictures, h, w)."""
    count, (lines, columns) = len(sums.pictures), place
    found = torch.zeros(references, count, len(lines), len(columns))
    for key, shares in sums.layers.items():
        rows = shares[:, at * count : (at + 1) * count].float().cpu()
        found[list(key.references)] += _enlarged(rows, key, (len(lines), len(columns)))
    return found


def _enlarged(rows: Tensor, key: LayerKey, size: Size) -> Tensor:
    """(references, pictures, queries) on a finer grid, (references, pictures, height, width)."""
    cells = rows.unflatten(-1, (key.height, key.width))
    mode = "area" if key.height > size[0] or key.width > size[1] else "bilinear"
    return interpolate(cells, size=size, mode=mode)


def _places(crop: Crop | None, size: Size) -> tuple[Tensor, Tensor]:
    """The lines and columns of the latent that a part covers.

    Raises:
        UnknownPlace: it is a part of a picture of another size.
    """
    if crop is None:
        return torch.arange(size[0]), torch.arange(size[1])
    if (crop.full_height, crop.full_width) != size:
        raise _not_whole(
            f"of {crop.full_width} x {crop.full_height}, of which {size[1]} x {size[0]} came out"
        )
    lines = _along(crop.top, crop.height, size[0], crop.wraps)
    return lines, _along(crop.left, crop.width, size[1], crop.wraps)


def _not_whole(what: str) -> UnknownPlace:
    return UnknownPlace(
        f"this run was a part of a whole {what}",
        "an attention map shows pictures that are sampled in one run",
        "Sample them in one run, or take out Attention View",
    )


def _along(first: int, length: int, full: int, wraps: bool) -> Tensor:
    if wraps:
        return torch.arange(first, first + length) % full
    return torch.arange(max(0, first), min(full, first + length))


def _weight(chunk: SeenChunk, place: tuple[Tensor, Tensor], number: int, size: Size) -> Tensor:
    """How much a chunk counts on the pixels of its part, (height, width) or one number."""
    if chunk.mask is None:
        return torch.tensor(chunk.strength)
    mask = chunk.mask[number % len(chunk.mask)].float().cpu()
    if tuple(mask.shape) != size:
        mask = interpolate(mask[None, None], size=size, mode="area")[0, 0]
    lines, columns = place
    return mask[lines[:, None], columns] * chunk.strength


def fingerprint(latent: Tensor, numbers: int) -> Tensor:
    """Some of the numbers of a latent, by which it is known again."""
    flat = latent.detach().flatten()
    return flat[:: max(1, len(flat) // numbers)].float().cpu()


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two fingerprints are of one latent; its last step may have been worked out anew."""
    if one.shape != other.shape:
        return False
    return bool((one - other).norm() <= 0.01 * one.norm())


def means(maps: Tensor) -> Sequence[tuple[float, float]]:
    """Mean and greatest share of each map."""
    flat = maps.flatten(-2).reshape(-1, maps[0, 0].numel())
    return list(zip(flat.mean(dim=1).tolist(), flat.amax(dim=1).tolist(), strict=True))
