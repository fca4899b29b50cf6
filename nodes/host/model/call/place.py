"""Which part of the picture, and which pictures of the batch, each row of a model call is for.

A step has the latent of the run, or a window of it. Between it and the model stands what cuts it:
areas of conditionings, context windows, packs that sample a large latent tile by tile. Most of them
say nothing, but what they hand on is a copy of a part of the step's latent, and noise is nowhere
twice the same: the part is looked for and found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy
from torch import Tensor

from .....ip_models.attention.call import CondChunk
from .....ip_models.attention.masks import Crop
from .....ip_models.attention.stack import PromptStack
from .....ip_models.errors import UnknownPlace
from ...protocols import TransformerOptions
from .run_part import RunPart

Plane = numpy.ndarray
_MOST_CANDIDATES = 8  # compared in full; where more are alike the place is not certain


@dataclass(frozen=True, eq=False)
class StepLatent:
    """The latent that a step hands to the host, before anybody cuts it.

    Attributes:
        latent: (pictures, channels, height, width).
    """

    latent: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.latent.shape[-2]), int(self.latent.shape[-1])

    @cached_property
    def planes(self) -> Plane:
        """The first channel of each picture, in main memory; read only where there are tiles."""
        return first_channel(self.latent)


@dataclass(frozen=True, eq=False)
class Latents:
    """The latents of a call, and what they were cut from.

    Attributes:
        x: of the call, None where the model is called around the host's wrappers.
        step: None where the host has not described the call.
        run: what the whole run is a part of.
    """

    x: Tensor | None = None
    step: StepLatent | None = None
    run: RunPart = RunPart()


def place(
    stack: PromptStack,
    chunks: tuple[CondChunk, ...],
    frames: tuple[int, ...],
    latents: Latents,
    options: TransformerOptions,
) -> tuple[CondChunk, ...]:
    """The chunks of a call with the part of the picture that each is about.

    Args:
        chunks: in the order of the batch, for one tile after the other.
        frames: place in the run of each picture of a chunk.
        options: the host's transformer options.

    Raises:
        UnknownPlace: the image prompts depend on it and it cannot be known.
    """
    step = latents.step
    if stack.needs_pictures and not known_pictures(frames, step, options):
        raise UnknownPlace(
            f"the model was called with {len(frames)} of the {len(step.latent) if step else 0} "
            "pictures of the batch, and which they are is not known",
            "a reference, mask or weight for each picture needs to know that",
            "Take out the node that divides the batch, or set batch_mode to all references in "
            "every picture, with one mask and without a Schedule over frames",
        )
    return with_crops(chunks, frames, latents, options) if stack.needs_place else chunks


def known_pictures(
    frames: tuple[int, ...], step: StepLatent | None, options: TransformerOptions
) -> bool:
    """Whether it is known which pictures of the step a call is for."""
    return step is None or len(frames) == len(step.latent) or _windowed(options)


def _windowed(options: TransformerOptions) -> bool:
    """Whether a context window announces its frames, the host's or AnimateDiff-Evolved's."""
    motion = options.get("ad_params") or {}
    return options.get("context_window") is not None or bool(motion.get("sub_idxs"))


def with_crops(
    chunks: tuple[CondChunk, ...],
    frames: tuple[int, ...],
    latents: Latents,
    options: TransformerOptions,
) -> tuple[CondChunk, ...]:
    """See `place`, whatever the image prompts depend on."""
    step, size = latents.step, _size(latents, options)
    if step is None or size is None or step.latent.ndim != 4:
        return chunks
    crops = [chunk.crop for chunk in chunks]
    if any(_cut_size(crop, step.size) != size for crop in crops):
        whole = len(frames) == len(step.latent)
        crops = _search(latents.x, step, range(len(frames)) if whole else frames)
        if len(crops) != len(chunks):
            raise unknown_tile(size, step.size)
    around = _around(latents.run, step.size, options)
    return tuple(
        dataclasses.replace(chunk, crop=_within(around, crop))
        for chunk, crop in zip(chunks, crops, strict=True)
    )


def unknown_tile(size: tuple[int, int], full: tuple[int, int]) -> UnknownPlace:
    """The error of a tile whose place cannot be known."""
    return UnknownPlace(
        f"the model was called for a part of {size[1]} x {size[0]} latent pixels, where the "
        f"picture has {full[1]} x {full[0]}, and it is no part of it that could be found",
        "a mask needs to know which part of the picture this is",
        "Use Tiled Diffusion, Tiled KSampler or Ultimate SD Upscale for tiles, areas of prompts "
        "for regions, or disconnect the mask",
    )


def _size(latents: Latents, options: TransformerOptions) -> tuple[int, int] | None:
    """Height and width of the latents of a call."""
    shape = options.get("original_shape") if latents.x is None else latents.x.shape
    return None if not shape or len(shape) != 4 else (int(shape[-2]), int(shape[-1]))


def _cut_size(crop: Crop | None, full: tuple[int, int]) -> tuple[int, int]:
    """Height and width of an area as the host cuts it, at the border of the latent."""
    if crop is None:
        return full
    return min(crop.height, full[0] - crop.top), min(crop.width, full[1] - crop.left)


def _search(x: Tensor | None, step: StepLatent, pictures: Sequence[int]) -> list[Crop | None]:
    """For each chunk the part of the step's latent that it is a copy of; short if one is none."""
    if x is None or max(pictures) >= len(step.latent) or len(x) % len(pictures):
        return []
    tiles, planes = first_channel(x), step.planes
    crops: list[Crop | None] = []
    corner: tuple[int, int] | None = None
    for start in range(0, len(tiles), len(pictures)):
        rows = list(zip(tiles[start : start + len(pictures)], pictures, strict=True))
        # Conditionings of one tile come one after the other.
        if corner is None or not _is_at(rows, planes, corner):
            corner = _find(rows[0][0], planes[rows[0][1]])
        if corner is None or not _is_at(rows, planes, corner):
            return []
        crops.append(_crop(corner, tiles.shape[1:], planes.shape[1:]))
    return crops


def first_channel(latents: Tensor) -> Plane:
    """(latents, height, width) in main memory; single precision holds every type of a latent."""
    return latents[:, 0].detach().float().cpu().numpy()


def _crop(corner: tuple[int, int], size: Sequence[int], full: Sequence[int]) -> Crop | None:
    if tuple(size) == tuple(full) and corner == (0, 0):
        return None
    wraps = corner[0] + size[0] > full[0] or corner[1] + size[1] > full[1]
    return Crop(*corner, size[0], size[1], full[0], full[1], wraps=wraps)


def _part(plane: Plane, corner: tuple[int, int], size: Sequence[int]) -> Plane:
    """A part of a picture, which goes on at its other side."""
    top, left = corner
    lines = numpy.arange(top, top + size[0]) % plane.shape[0]
    columns = numpy.arange(left, left + size[1]) % plane.shape[1]
    return plane[lines[:, None], columns]


def _is_at(rows: Sequence[tuple[Plane, int]], planes: Plane, corner: tuple[int, int]) -> bool:
    """Whether every picture of a chunk has its tile at the same place."""
    return all(
        numpy.array_equal(_part(planes[picture], corner, tile.shape), tile)
        for tile, picture in rows
    )


def _find(tile: Plane, plane: Plane) -> tuple[int, int] | None:
    """The only place in a picture that holds a tile, None if there is none or more than one.

    Packs that shift the picture between steps (SpotDiffusion) let tiles go on at the other side.
    """
    height, width = tile.shape
    if height > plane.shape[0] or width > plane.shape[1]:
        return None
    tops, lefts = numpy.nonzero(plane == tile[0, 0])
    for line, column in ((height - 1, width - 1), (height // 2, width // 3), (0, width - 1)):
        seen = plane[(tops + line) % plane.shape[0], (lefts + column) % plane.shape[1]]
        same = seen == tile[line, column]
        tops, lefts = tops[same], lefts[same]
    if len(tops) > _MOST_CANDIDATES:
        return None
    corners = [(int(top), int(left)) for top, left in zip(tops, lefts, strict=True)]
    found = [corner for corner in corners if _is_at([(tile, 0)], plane[None], corner)]
    return found[0] if len(found) == 1 else None


def _around(run: RunPart, size: tuple[int, int], options: TransformerOptions) -> Crop | None:
    """The part of the picture that the whole latent of the step is."""
    if run.size is None or size == run.size:
        return run.crop
    inner = _spatial_window(options, size, run.size)
    if inner is None:
        raise unknown_tile(size, run.size)
    return _within(run.crop, inner)


def _spatial_window(
    options: TransformerOptions, size: tuple[int, int], full: tuple[int, int]
) -> Crop | None:
    """A context window over lines or columns, as the host's node for them can be set to."""
    window = options.get("context_window")
    dim = getattr(window, "dim", 0)
    if window is None or dim not in (2, 3):
        return None
    places = [int(place) for place in window.index_list]
    if places != list(range(places[0], places[0] + len(places))):
        return None
    if size != ((len(places), full[1]) if dim == 2 else (full[0], len(places))):
        return None
    corner = (places[0], 0) if dim == 2 else (0, places[0])
    return Crop(*corner, *size, *full)


def _within(outer: Crop | None, inner: Crop | None) -> Crop | None:
    """A part of a part, in the numbers of the whole.

    Raises:
        UnknownPlace: the inner one goes on at the other side of the outer one.
    """
    if outer is None or inner is None:
        return inner if outer is None else outer
    height, width = _cut_size(inner, inner[4:6])
    if inner.wraps:
        raise unknown_tile((height, width), inner[4:6])
    down, across = outer.height / inner.full_height, outer.width / inner.full_width
    return outer._replace(
        top=outer.top + round(inner.top * down),
        left=outer.left + round(inner.left * across),
        height=max(1, round(height * down)),
        width=max(1, round(width * across)),
    )
