"""Pictures on their way to an encoder: the numbers of Hugging Face, and refusals people can read.

Transformers' processor that works with PIL is the reference. Its alpha channel is the one thing
that is not taken over: version 5 lays transparent pictures over white, all versions before it and
the host drop alpha, and so do we.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pack.ip_models.errors import BadInput
from pack.ip_models.pictures.fit import Fit, blend_with, fit_images, require_images
from PIL import Image
from torch import Tensor

try:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
except ImportError:  # before transformers 5 the class of this name was the one with PIL
    from transformers import CLIPImageProcessor as CLIPImageProcessorPil

CLIP = 224
MODES = {"RGB": 3, "RGBA": 4, "LA": 2, "L": 1}
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
RED, BLUE, GREY = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.2, 0.4, 0.6)
COMMON = [(1, 1), (223, 225), (224, 224), (480, 640), (640, 480), (37, 101)]
EXTREME = [(1, 500), (500, 1), (2048, 8), (8, 2048)]


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    """(height, width, channels) of random bytes, the hardest picture for a filter."""
    generator = torch.Generator().manual_seed(seed)
    shape = (height, width, channels)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def as_input(*pictures: Tensor) -> Tensor:
    """What the host's loader makes of bytes."""
    return torch.stack(pictures).float() / 255


def crop(images: Tensor, fit: Fit = Fit.CROP_CENTRE, size: int = CLIP) -> Tensor:
    return fit_images(images, size, fit, MEAN)


def as_bytes(squares: Tensor) -> Tensor:
    """(batch, size, size, 3) on the 8-bit grid as (batch, 3, size, size) of bytes."""
    scaled = squares * 255
    assert (scaled - scaled.round()).abs().max() < 1e-4
    return scaled.round().to(torch.uint8).movedim(-1, 1)


def host_normalised(squares: Tensor) -> Tensor:
    """What ComfyUI's `clip_preprocess` does to squares of the right size."""
    x = torch.clip(255.0 * squares.movedim(-1, 1), 0, 255).round() / 255.0
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


@cache
def processor(size: int) -> Any:
    return CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )


def reference(picture: Image.Image, size: int = CLIP, whole: bool = True) -> Tensor:
    """Transformers' pixel_values, or only its resized and cropped bytes."""
    out = processor(size)(picture, do_rescale=whole, do_normalize=whole)["pixel_values"]
    return torch.from_numpy(numpy.asarray(out[0]))


def opened(picture: Tensor, mode: str) -> Image.Image:
    array = picture.numpy()
    return Image.fromarray(array[..., 0] if mode == "L" else array, mode)


def refusal(error: BadInput) -> str:
    """The message, which has to be one line with all three of its parts."""
    text = str(error)
    assert error.found and error.needed and error.action
    assert "\n" not in text and text.endswith(".") and ".." not in text
    assert 30 < len(text) < 300
    return text


# No tolerance is needed: dividing a byte by 255 in single precision gives the single nearest to
# the quotient, as does transformers' product in double precision, rounded afterwards.
@pytest.mark.parametrize(
    ("mode", "size"),
    [*((mode, size) for mode in MODES for size in COMMON), *(("RGB", size) for size in EXTREME)],
    ids=str,
)
def test_a_centre_crop_is_that_of_transformers_bit_for_bit(
    mode: str, size: tuple[int, int]
) -> None:
    picture = noise(*size, MODES[mode])
    source = opened(picture, mode).convert("RGB")
    squares = crop(as_input(picture))
    bytes_of_theirs, pixels_of_theirs = reference(source, whole=False), reference(source)
    assert bytes_of_theirs.dtype is torch.uint8
    assert torch.equal(as_bytes(squares)[0], bytes_of_theirs)
    assert pixels_of_theirs.dtype is torch.float32
    assert torch.equal(host_normalised(squares)[0], pixels_of_theirs)


@settings(max_examples=50, deadline=None, database=None)
@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    size=st.sampled_from([14, 27, 64]),
    channels=st.sampled_from([1, 3]),
)
@example(height=1, width=400, size=64, channels=3)
@example(height=15, width=14, size=14, channels=1)
def test_pictures_of_every_shape_are_those_of_transformers(
    height: int, width: int, size: int, channels: int
) -> None:
    picture = noise(height, width, channels, seed=height * width)
    source = opened(picture, "L" if channels == 1 else "RGB")
    squares = crop(as_input(picture), size=size)
    assert torch.equal(as_bytes(squares)[0], reference(source, size, whole=False))
    assert torch.equal(host_normalised(squares)[0], reference(source, size))


def test_every_byte_survives() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(16, 16, 1).expand(16, 16, 3)
    assert torch.equal(as_bytes(crop(as_input(ramp), size=16))[0], ramp.movedim(-1, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_changes_nothing(mode: str) -> None:
    picture = noise(40, 30, MODES[mode])
    opaque = picture.clone()
    opaque[..., -1] = 255
    assert not torch.equal(picture, opaque)
    assert torch.equal(crop(as_input(picture)), crop(as_input(opaque)))


def test_grey_is_three_equal_channels() -> None:
    squares = crop(as_input(noise(40, 30, 1)))
    assert squares.shape == (1, CLIP, CLIP, 3)
    assert torch.equal(squares[..., 0], squares[..., 1])
    assert torch.equal(squares[..., 0], squares[..., 2])
    assert squares.std() > 0.1


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("size", [(30, 50), (50, 30), (40, 40)], ids=str)
def test_a_batch_is_its_pictures_one_by_one(fit: Fit, size: tuple[int, int]) -> None:
    images = as_input(*(noise(*size, seed=seed) for seed in range(5)))
    together = crop(images, fit, 32)
    alone = torch.cat([crop(image[None], fit, 32) for image in images])
    assert together.shape == (5, 32, 32, 3)
    assert torch.equal(together, alone)
    assert len({square.sum().item() for square in together}) == 5


@pytest.mark.parametrize("fit", Fit)
def test_the_result_is_single_precision_in_zero_to_one_on_the_grid(fit: Fit) -> None:
    images = torch.randn(2, 33, 20, 3)
    assert images.min() < 0 and images.max() > 1
    squares = crop(images, fit, 24)
    assert squares.dtype is torch.float32
    assert squares.min() >= 0 and squares.max() <= 1
    as_bytes(squares)


def test_values_beyond_zero_and_one_are_cut_off() -> None:
    images = torch.randn(1, 30, 50, 3)
    assert torch.equal(crop(images), crop(images.clamp(0, 1)))
    assert not torch.equal(crop(images), crop(images.clamp(0.1, 0.9)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_precision_of_the_input_does_not_matter(dtype: torch.dtype) -> None:
    images = as_input(noise(30, 50))
    assert torch.equal(crop(images.to(dtype)), crop(images))


def test_the_input_is_left_alone() -> None:
    images = as_input(noise(30, 50))
    before = images.clone()
    for fit in Fit:
        crop(images.requires_grad_(), fit)
    assert torch.equal(images, before)


def halves(tall: bool) -> Tensor:
    """One picture, 80 by 40 or 40 by 80: red above or left, blue below or right."""
    picture = torch.empty(1, 80, 40, 3)
    picture[:, :40], picture[:, 40:] = torch.tensor(RED), torch.tensor(BLUE)
    return picture if tall else picture.transpose(1, 2)


def is_all(square: Tensor, colour: tuple[float, ...]) -> bool:
    return bool((square - torch.tensor(colour)).abs().max() < 0.5 / 255)


@pytest.mark.parametrize(
    ("fit", "tall", "colour"),
    [
        (Fit.CROP_TOP, True, RED),
        (Fit.CROP_BOTTOM, True, BLUE),
        (Fit.CROP_LEFT, False, RED),
        (Fit.CROP_RIGHT, False, BLUE),
    ],
    ids=lambda value: value.value if isinstance(value, Fit) else "",
)
def test_a_crop_keeps_the_side_it_is_named_after(
    fit: Fit, tall: bool, colour: tuple[float, ...]
) -> None:
    assert is_all(crop(halves(tall), fit, 40), colour)


@pytest.mark.parametrize("tall", [True, False])
def test_a_centre_crop_keeps_both_halves(tall: bool) -> None:
    square = crop(halves(tall), Fit.CROP_CENTRE, 40)[0]
    first, second = square.chunk(2, dim=0 if tall else 1)
    assert is_all(first, RED) and is_all(second, BLUE)


@pytest.mark.parametrize(
    ("fit", "tall"),
    [
        (Fit.CROP_TOP, False),
        (Fit.CROP_BOTTOM, False),
        (Fit.CROP_LEFT, True),
        (Fit.CROP_RIGHT, True),
    ],
    ids=lambda value: value.value if isinstance(value, Fit) else "",
)
def test_a_side_with_nothing_to_cut_leaves_the_crop_in_the_middle(fit: Fit, tall: bool) -> None:
    assert torch.equal(crop(halves(tall), fit, 40), crop(halves(tall), Fit.CROP_CENTRE, 40))


@pytest.mark.parametrize("tall", [True, False])
def test_squashing_keeps_the_whole_picture(tall: bool) -> None:
    square = crop(halves(tall), Fit.SQUASH, 40)[0]
    first, second = square.split([18, 22], dim=0 if tall else 1)
    assert is_all(first, RED)
    assert is_all(second[4:] if tall else second[:, 4:], BLUE)


@pytest.mark.parametrize("tall", [True, False])
def test_padding_keeps_the_whole_picture_between_two_bars(tall: bool) -> None:
    square = fit_images(halves(tall), 80, Fit.PAD, GREY)[0]
    before, picture, after = square.split([20, 40, 20], dim=1 if tall else 0)
    assert is_all(before, GREY) and is_all(after, GREY)
    first, second = picture.chunk(2, dim=0 if tall else 1)
    assert is_all(first, RED) and is_all(second, BLUE)


@pytest.mark.parametrize("fit", [fit for fit in Fit if fit is not Fit.COMFYUI])
def test_a_square_picture_looks_the_same_however_it_is_fitted(fit: Fit) -> None:
    images = as_input(noise(50, 50))
    assert torch.equal(crop(images, fit, 32), crop(images, Fit.CROP_CENTRE, 32))


@pytest.mark.parametrize(
    ("images", "part"),
    [
        (torch.zeros(4, 4, 3), "shape 4 x 4 x 3"),
        (torch.zeros(1, 1, 4, 4, 3), "shape 1 x 1 x 4 x 4 x 3"),
        (torch.zeros(1, 4, 4, 5), "shape 1 x 4 x 4 x 5"),
        (torch.zeros(1, 4, 4, 0), "shape 1 x 4 x 4 x 0"),
        (torch.zeros(0, 4, 4, 3), "shape 0 x 4 x 4 x 3"),
        (torch.zeros(1, 0, 4, 3), "shape 1 x 0 x 4 x 3"),
        (torch.zeros(1, 4, 0, 3), "shape 1 x 4 x 0 x 3"),
        (torch.full((1, 4, 4, 3), math.nan), "not finite"),
        (torch.full((1, 4, 4, 3), math.inf), "not finite"),
        (torch.full((1, 4, 4, 3), -math.inf), "not finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusable_images_are_refused_in_one_sentence(images: Tensor, part: str) -> None:
    with pytest.raises(BadInput) as refused:
        require_images(images, "negative_image")
    assert refusal(refused.value).startswith("negative_image ")
    assert part in refused.value.found


def test_a_single_bad_pixel_is_found_and_its_picture_named() -> None:
    images = torch.zeros(3, 8, 8, 3)
    images[2, 5, 6, 1] = math.nan
    with pytest.raises(BadInput, match="image 3 of 3 "):
        require_images(images, "image")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (7, 300)], ids=str)
def test_usable_images_pass(channels: int, size: tuple[int, int]) -> None:
    require_images(torch.rand(2, *size, channels) * 3 - 1, "image")


@pytest.mark.parametrize(
    ("mask", "part"),
    [
        (torch.zeros(4), "shape 4"),
        (torch.zeros(1, 1, 4, 4), "shape 1 x 1 x 4 x 4"),
        (torch.zeros(3, 4, 4), "shape 3 x 4 x 4"),
        (torch.zeros(0, 4, 4), "shape 0 x 4 x 4"),
        (torch.zeros(1, 0, 4), "shape 1 x 0 x 4"),
        (torch.full((4, 4), math.nan), "not finite"),
        (torch.full((2, 4, 4), math.inf), "not finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusable_masks_are_refused_in_one_sentence(mask: Tensor, part: str) -> None:
    with pytest.raises(BadInput) as refused:
        blend_with(torch.rand(2, 8, 8, 3), mask, GREY)
    assert refusal(refused.value).startswith("mask ")
    assert part in refused.value.found


@settings(max_examples=40, deadline=None, database=None)
@given(
    picture=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    mask=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    count=st.sampled_from([1, 3]),
)
def test_a_white_mask_of_any_size_changes_no_byte(
    picture: tuple[int, int], mask: tuple[int, int], count: int
) -> None:
    images = as_input(*(noise(*picture, seed=seed) for seed in range(3)))
    masked = blend_with(images, torch.ones(count, *mask), MEAN)
    assert torch.equal(crop(masked, Fit.SQUASH, 16), crop(images, Fit.SQUASH, 16))


@pytest.mark.parametrize(
    "shape",
    [(20, 50), (1, 20, 50), (2, 20, 50), (40, 100), (1, 1), (7, 3), (2, 19, 49)],
    ids=str,
)
def test_a_white_mask_changes_nothing_bit_for_bit(shape: tuple[int, ...]) -> None:
    images = as_input(noise(20, 50), noise(20, 50, seed=1))
    assert torch.equal(blend_with(images, torch.ones(shape), MEAN), images)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(5, 5), (1, 300, 7), (2, 30, 20)], ids=str)
def test_a_black_mask_leaves_nothing_but_the_colour(channels: int, shape: tuple[int, ...]) -> None:
    images = as_input(noise(30, 20, channels), noise(30, 20, channels, seed=1))
    blended = blend_with(images, torch.zeros(shape), MEAN)
    assert torch.equal(blended, torch.tensor(MEAN).expand(2, 30, 20, 3))


def test_a_mask_keeps_the_part_that_is_white() -> None:
    images = as_input(noise(20, 40))
    mask = torch.zeros(20, 40)
    mask[:, :10] = 1
    blended = blend_with(images, mask, GREY)
    assert torch.equal(blended[:, :, :10], images[:, :, :10])
    assert torch.equal(blended[:, :, 10:], torch.tensor(GREY).expand(1, 20, 30, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_pictures_of_any_precision_can_be_masked(dtype: torch.dtype) -> None:
    images = as_input(noise(9, 8)).to(dtype)
    white, black = torch.ones(3, 4), torch.zeros(3, 4)
    assert torch.equal(blend_with(images, white, GREY), images)
    grey = torch.tensor(GREY).to(dtype).expand(1, 9, 8, 3)
    assert torch.equal(blend_with(images, black, GREY), grey)
    assert bool(torch.isfinite(blend_with(images, torch.rand(3, 4), GREY)).all())


def test_a_grey_mask_mixes() -> None:
    images = torch.tensor(RED).expand(1, 4, 4, 3)
    mixed = blend_with(images, torch.full((1, 2, 2), 0.25), BLUE)
    assert torch.allclose(mixed, torch.tensor([0.25, 0.0, 0.75]).expand(1, 4, 4, 3))


def test_each_picture_of_a_batch_has_its_own_mask() -> None:
    images = as_input(noise(9, 8), noise(9, 8, seed=1))
    masks = torch.stack([torch.zeros(9, 8), torch.ones(9, 8)])
    blended = blend_with(images, masks, GREY)
    assert is_all(blended[0], GREY)
    assert torch.equal(blended[1], images[1])


def test_a_batch_that_is_sparse_is_refused_in_inference_too() -> None:
    with torch.inference_mode(), pytest.raises(BadInput, match="numbers of another kind .sparse"):
        require_images(torch.zeros(1, 8, 8, 3).to_sparse(), "image")
