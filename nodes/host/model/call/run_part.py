"""Which part of a picture or of a batch a run of the sampler is, where several runs make a whole.

Some packs sample a large picture as one run for each tile, and the host samples a part of a batch
as a run of its own; the run itself is told nothing of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor

from .....ip_models.attention.call import BatchMode
from .....ip_models.attention.masks import Crop
from .....ip_models.attention.stack import PromptStack
from .....ip_models.errors import Action, Mend, UnknownPlace

Values = Mapping[str, Any]
_MOST_NUMBERS = 2**24  # of noise, drawn to find a picture's: about a sixth of a second
_CHUNK = 16  # torch draws its last numbers in chunks of this size another time


@dataclass(frozen=True, eq=False)
class RunPart:
    """What the latents of a run are of the pictures a user sees.

    Attributes:
        size: height and width of the latents, None if they are no pictures.
        crop: the part of the picture, None for all of it.
        pictures: the picture of each latent where they are tiles, or its place in the batch that
            the run is a part of; empty where each is its own.
    """

    size: tuple[int, int] | None = None
    crop: Crop | None = None
    pictures: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Tiles:
    """Tiles that another pack's node samples in one run.

    Attributes:
        crops: of each latent, or one for all; empty if they could not be read.
        size: height and width of each latent, None if the pack does not hold them ready.
        pictures: see `RunPart`.
    """

    crops: tuple[Crop, ...] = ()
    size: tuple[int, int] | None = None
    pictures: tuple[int, ...] = ()


def run_part(stack: PromptStack, noise: object, seed: object) -> RunPart:
    """What a run is a part of; looked for only where an image prompt depends on it.

    Args:
        noise: of the whole run.
        seed: that the noise was made of.

    Raises:
        UnknownPlace: an image prompt depends on what cannot be known.
    """
    if not isinstance(noise, Tensor) or noise.ndim != 4:
        return RunPart()
    size = (int(noise.shape[2]), int(noise.shape[3]))
    part = RunPart(size)
    if stack.needs_place or stack.needs_pictures:
        name, tiles = _announced()
        crop = _crop_of_run(name, tiles, size, stack) if name else None
        pictures = tiles.pictures if len(tiles.pictures) == len(noise) else ()
        part = RunPart(size, crop, pictures)
    places = tuple(range(len(noise)))
    if stack.needs_pictures and not part.pictures:
        places = places_in_batch(noise, seed) or places
        part = RunPart(size, part.crop, () if places == tuple(range(len(noise))) else places)
    for prompt in stack.prompts:
        first = prompt.first or places[0]
        if prompt.needs_total and (first or len(places) <= max(places)):
            raise _unknown_total(first, len(noise))
    return part


def _unknown_total(first: int, count: int) -> UnknownPlace:
    return UnknownPlace(
        f"this run has {count} pictures of a larger batch, from number {first + 1} on",
        "one per picture, spread, and a Schedule over frames need to know how many the batch has",
        Action(
            "Set batch_mode to last repeats or loop, or sample the whole batch in one run",
            Mend("batch_mode", BatchMode.REPEAT_LAST.value),
            Mend("batch_mode", BatchMode.LOOP.value),
        ),
    )


def places_in_batch(noise: Tensor, seed: object) -> tuple[int, ...]:
    """Which pictures of a batch a run has: those whose noise it has; empty if that says nothing.

    The host gives a part of a batch the noise that its pictures have in the whole batch, and keeps
    for itself which they are.

    Raises:
        UnknownPlace: some have noise of this seed and others have not.
    """
    if not isinstance(seed, int) or not bool(noise.any()):
        return ()
    wanted = noise.detach().cpu()
    count = len(wanted)
    if all(torch.equal(one, wanted[0]) for one in wanted[1:]):  # one noise for all of them
        wanted = wanted[:1]
    whole = torch.randn(noise.shape, generator=torch.Generator().manual_seed(seed))
    if torch.equal(whole.to(noise.dtype), noise.detach().cpu()):
        return tuple(range(count))
    places = _found(wanted, seed)
    if not places:
        return ()
    if None in places:
        raise UnknownPlace(
            f"{places.count(None)} of the {count} pictures of this run have no noise of its seed",
            "a reference, mask or weight for each picture needs to know which pictures these are",
            Action(
                "Use noise of one origin, or set batch_mode to all references in every picture",
                Mend("batch_mode", BatchMode.ALL.value),
            ),
        )
    known = [place for place in places if place is not None]
    return tuple(known) if len(known) == count else tuple(range(known[0], known[0] + count))


def _found(wanted: Tensor, seed: int) -> list[int | None]:
    """The place of each noise in the order in which the host draws it; empty if none is there."""
    places: list[int | None] = [None] * len(wanted)
    begins: dict[float, list[int]] = {}
    for i, one in enumerate(wanted):
        begins.setdefault(float(one.flatten()[0]), []).append(i)
    left = len(wanted)
    for place, drawn in _draws(wanted, torch.Generator().manual_seed(seed)):
        for i in begins.get(float(drawn.flatten()[0]), ()):
            if places[i] is None and _same(drawn, wanted[i]):
                places[i], left = place, left - 1
        if not left:
            break
    return places if left < len(wanted) else []


def _draws(noise: Tensor, generator: torch.Generator) -> Iterator[tuple[int, Tensor]]:
    """The noise of one picture after the other, as the host draws it for a part of a batch."""
    shape = (1, *noise.shape[1:])
    for place in range(len(noise) + _MOST_NUMBERS // max(1, noise[0].numel())):
        yield place, torch.randn(shape, generator=generator)[0].to(noise.dtype)


def _same(drawn: Tensor, noise: Tensor) -> bool:
    """Whether it is the same noise, but for the end, which a whole batch has drawn otherwise."""
    most = max(1, drawn.numel() - _CHUNK)
    return torch.equal(drawn.flatten()[:most], noise.flatten()[:most])


def _crop_of_run(
    name: str, tiles: _Tiles, size: tuple[int, int], stack: PromptStack
) -> Crop | None:
    """The part of the picture that a run samples; None also where no mask asks for it."""
    if not stack.needs_place:
        return None
    fits = tiles.size is None or tiles.size == size
    if len(set(tiles.crops)) != 1 or not fits:
        several = len(set(tiles.crops)) > 1
        raise UnknownPlace(
            f"{name} samples {'several parts' if several else 'a part'} of a picture in this run, "
            f"of {size[1]} x {size[0]} latent pixels",
            "a mask needs one part in each run, and to know which",
            f"{'Set batch_size there to 1' if several else 'Use Tiled Diffusion'}, or disconnect "
            "the mask",
        )
    return tiles.crops[0]


def _announced() -> tuple[str, _Tiles]:
    """The pack whose node samples tiles just now, and which, read from the node at work.

    These packs run the sampler for each tile and tell it nothing, so that a run of theirs looks
    like one of a small picture. What they know stands in the variables of their functions; what
    does not look as expected there is not used.
    """
    frame, found = inspect.currentframe(), list[tuple[str, _Tiles]]()
    while frame is not None:
        reader = _READERS.get(frame.f_code.co_name)
        if reader is not None and reader.names <= frame.f_locals.keys():
            found.append((reader.pack, _read(reader, frame)))
        frame = frame.f_back
    if len(found) > 1:  # tiles of a part that is cut out itself
        return found[0][0], _Tiles()
    return found[0] if found else ("", _Tiles())


@dataclass(frozen=True)
class _Reader:
    """How the variables of a function of another pack are read.

    Attributes:
        names: variables by which the function is recognised.
    """

    pack: str
    names: frozenset[str]
    read: Callable[[Values], _Tiles]


def _read(reader: _Reader, frame: FrameType) -> _Tiles:
    try:
        return reader.read(frame.f_locals)
    except Exception:  # noqa: BLE001 - another version of the pack may hold anything
        return _Tiles()


def _tiled_ksampler(values: Values) -> _Tiles:
    top, left, height, width = (
        int(values[name]) for name in ("tile_h", "tile_w", "tile_h_len", "tile_w_len")
    )
    *_, full_height, full_width = cast("Tensor", values["samples"]).shape
    crop = Crop(top, left, height, width, full_height, full_width)
    return _Tiles((crop,), (height, width))


def _ultimate_upscale(values: Values) -> _Tiles:
    crop = _pixels(values["crop_region"], values["init_image"].size)
    return _Tiles((crop,), _latent_size(values["tile_size"]))


def _ultimate_upscale_batch(values: Values) -> _Tiles:
    images, regions = values["images"], values["batch_crop_regions"]
    crops = tuple(_pixels(region, images[0].size) for region in regions)
    each = len(regions) // len(images)
    pictures = tuple(number // each for number in range(len(regions)))
    return _Tiles(crops, _latent_size(values["batch_tile_sizes"][0]), pictures)


def _detailer(values: Values) -> _Tiles:
    height, width = values["image"].shape[1:3]
    return _Tiles((_pixels(values["seg"].crop_region, (width, height)),))


def _pixels(region: Sequence[int], size: tuple[int, int]) -> Crop:
    """A crop from left, top, right, bottom in a picture of (width, height)."""
    left, top, right, bottom = (int(side) for side in region)
    return Crop(top, left, bottom - top, right - left, int(size[1]), int(size[0]), unit=1)


def _latent_size(size: tuple[int, int]) -> tuple[int, int]:
    return int(size[1]) // 8, int(size[0]) // 8


_READERS = {
    "sample_common": _Reader(
        "Tiled KSampler",
        frozenset({"tile_h", "tile_w", "tile_h_len", "tile_w_len", "tiled_latent", "samples"}),
        _tiled_ksampler,
    ),
    "process_images": _Reader(
        "Ultimate SD Upscale",
        frozenset({"crop_region", "tile_size", "init_image", "positive_cropped"}),
        _ultimate_upscale,
    ),
    "_process_batch_tiles": _Reader(
        "Ultimate SD Upscale",
        frozenset({"batch_crop_regions", "batch_tile_sizes", "images"}),
        _ultimate_upscale_batch,
    ),
    "do_detail": _Reader(
        "a Detailer of Impact Pack", frozenset({"seg", "image", "segs"}), _detailer
    ),
}
