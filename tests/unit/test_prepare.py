"""Pictures made ready by hand: every square against one made another way."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pytest
import torch
from pack.ip_models.errors import BadInput
from pack.ip_models.pictures.fit import Fit, fit_images
from pack.ip_models.pictures.prepare import (
    CLIP_MEAN,
    Framing,
    Ground,
    Preparation,
    parse_colour,
    prepare,
    prepare_mask,
    require_room,
)
from pack.ip_models.pictures.sharpen import sharpen
from PIL import Image
from torch import Tensor

SHAPES = [(30, 50), (50, 30), (40, 40), (1, 1), (1, 97), (97, 1), (200, 31)]
RED, BLUE, GREEN = [255, 0, 0], [0, 0, 255], [0, 255, 0]
SHARED = [Framing(fit.value) for fit in Fit if fit is not Fit.COMFYUI]


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (height, width, channels)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def made(picture: Tensor, framing: Framing, size: int = 24, **options: Any) -> Tensor:
    centre = options.pop("centre", None)
    return prepare(picture, Preparation(framing, size, **options), centre)


def share_changed(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).norm() / other.double().norm())


@pytest.mark.parametrize("framing", SHARED, ids=lambda framing: framing.value)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_encode_image_can_do_comes_out_the_same(
    framing: Framing, shape: tuple[int, int]
) -> None:
    picture = noise(*shape)
    expected = fit_images(picture[None].float() / 255, 24, Fit(framing.value), CLIP_MEAN)[0]
    assert torch.equal(made(picture, framing).float() / 255, expected)


@pytest.mark.parametrize("framing", Framing, ids=lambda framing: framing.value)
@pytest.mark.parametrize("ground", Ground, ids=lambda ground: ground.value)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_shape_becomes_a_square_of_bytes_that_a_second_fit_leaves_alone(
    framing: Framing, ground: Ground, shape: tuple[int, int]
) -> None:
    square = made(noise(*shape), framing, ground=ground, sharpening=0.5)
    assert square.dtype is torch.uint8
    if framing is Framing.LONG_SIDE:
        assert max(square.shape[:2]) == 24
        return
    assert square.shape == (24, 24, 3)
    for fit in Fit:
        again = fit_images(square[None].float() / 255, 24, fit, CLIP_MEAN)[0]
        assert torch.equal(again, square.float() / 255)


@pytest.mark.parametrize(
    ("centre", "left"), [((50, 20), 30), ((5, 20), 0), ((98, 20), 60), ((20, 3), 0), ((27, 3), 7)]
)
def test_a_face_is_as_central_as_the_edges_allow(centre: tuple[int, int], left: int) -> None:
    wide = noise(40, 100)
    square = made(wide, Framing.CROP_FACE, 40, centre=centre)
    assert torch.equal(square, wide[:, left : left + 40])
    tall = made(wide.transpose(0, 1).contiguous(), Framing.CROP_FACE, 40, centre=centre[::-1])
    assert torch.equal(tall, square.transpose(0, 1))


@pytest.mark.parametrize("size", [20, 24, 80])
def test_the_crop_of_a_face_in_the_middle_is_the_centre_crop(size: int) -> None:
    wide = noise(40, 100)
    square = made(wide, Framing.CROP_FACE, size, centre=(50, 20))
    assert torch.equal(square, made(wide, Framing.CROP_CENTRE, size))
    elsewhere = made(wide, Framing.CROP_FACE, size, centre=(40, 20))
    assert share_changed(elsewhere, square) > 0.01


@pytest.mark.parametrize("tall", [True, False])
def test_edges_are_continued(tall: bool) -> None:
    wide = noise(20, 40)
    picture = wide.transpose(0, 1).contiguous() if tall else wide
    square = made(picture, Framing.PAD, 40, ground=Ground.EDGE)
    square = square.transpose(0, 1) if tall else square
    assert torch.equal(square[10:30], wide)
    assert torch.equal(square[:10], wide[:1].expand(10, -1, -1))
    assert torch.equal(square[30:], wide[-1:].expand(10, -1, -1))


def test_bars_of_an_odd_width_lie_where_those_of_a_plain_colour_do() -> None:
    picture = noise(7, 20)
    by_edge = made(picture, Framing.PAD, 20, ground=Ground.EDGE)
    by_colour = made(picture, Framing.PAD, 20, ground=Ground.COLOUR, colour=(0.0, 0.0, 0.0))
    assert torch.equal(by_edge[6:13], picture)
    assert torch.equal(by_colour[6:13], picture)
    assert not by_colour[:6].any() and not by_colour[13:].any()


def test_the_blurred_ground_is_the_picture_itself_smooth_and_behind_it() -> None:
    picture = torch.zeros(20, 60, 3, dtype=torch.uint8)
    picture[:, :30], picture[:, 30:] = torch.tensor(RED), torch.tensor(BLUE)
    square = made(picture, Framing.PAD, 60, ground=Ground.BLUR)
    assert torch.equal(square[20:40], picture)
    for bar in (square[:20].float(), square[40:].float()):
        assert bar[:, :8, 0].min() > 200 and bar[:, -8:, 2].min() > 200
        middle = bar[:, 28:32]
        assert middle[..., 0].min() > 90 and middle[..., 2].min() > 90
        assert (bar[:, 1:] - bar[:, :-1]).abs().max() < 30 and not bar[..., 1].any()


def test_the_blurred_ground_of_one_colour_is_that_colour() -> None:
    picture = torch.tensor([10, 200, 77], dtype=torch.uint8).expand(9, 30, 3).contiguous()
    square = made(picture, Framing.PAD, 24, ground=Ground.BLUR)
    assert (square.int() - picture[0, 0].int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((30, 60), (12, 24)), ((60, 30), (24, 12)), ((24, 24), (24, 24)), ((1, 500), (1, 24))],
    ids=str,
)
def test_the_long_side_keeps_the_shape(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    picture = noise(*shape)
    small = made(picture, Framing.LONG_SIDE)
    theirs = Image.fromarray(picture.numpy()).resize(expected[::-1], Image.Resampling.BICUBIC)
    assert torch.equal(small, torch.from_numpy(numpy.array(theirs)))
    assert torch.equal(made(small, Framing.LONG_SIDE), small)


@pytest.mark.parametrize("framing", Framing, ids=lambda framing: framing.value)
@pytest.mark.parametrize("shape", [(30, 50), (50, 31), (1, 1)], ids=str)
def test_a_mask_goes_the_way_of_its_picture(framing: Framing, shape: tuple[int, int]) -> None:
    plane = noise(*shape, 1)[..., 0]
    wanted = Preparation(framing, 24, Ground.EDGE)
    picture = prepare(plane[..., None].expand(-1, -1, 3).contiguous(), wanted, (8, 9))
    for ground in Ground:
        mask = prepare_mask(plane, Preparation(framing, 24, ground, sharpening=1.0), (8, 9))
        assert torch.equal(mask, picture[..., 0])


@pytest.mark.parametrize("framing", Framing, ids=lambda framing: framing.value)
@pytest.mark.parametrize("value", [0, 255])
def test_a_plain_mask_stays_plain_bars_and_all(framing: Framing, value: int) -> None:
    plane = torch.full((30, 50), value, dtype=torch.uint8)
    for ground in Ground:
        mask = prepare_mask(plane, Preparation(framing, 24, ground))
        assert mask.unique().tolist() == [value]


def sharpened_by_hand(picture: Tensor, amount: float) -> list[list[list[int]]]:
    """AMD FidelityFX CAS, ffx_cas.h, pixel by pixel in double precision."""
    height, width, channels = picture.shape
    values = (picture.double() / 255).tolist()

    def at(y: int, x: int, c: int) -> float:
        return values[min(max(y, 0), height - 1)][min(max(x, 0), width - 1)][c]

    def one(y: int, x: int, z: int) -> int:
        a, b, c = (at(y - 1, x + step, z) for step in (-1, 0, 1))
        d, e, f = (at(y, x + step, z) for step in (-1, 0, 1))
        g, h, i = (at(y + 1, x + step, z) for step in (-1, 0, 1))
        low = min(min(d, e, f), min(b, h))
        low += min(min(low, a, c), min(g, i))
        high = max(max(d, e, f), max(b, h))
        high += max(max(high, a, c), max(g, i))
        amplitude = min(low, 2 - high) / high if high else 0.0
        amplitude = math.sqrt(min(max(amplitude, 0.0), 1.0))
        peak = -1 / (8 + amount * (5 - 8))
        weight = amplitude * peak
        out = (b * weight + d * weight + f * weight + h * weight + e) / (1 + 4 * weight)
        return round(255 * min(max(out, 0.0), 1.0))

    return [[[one(y, x, c) for c in range(channels)] for x in range(width)] for y in range(height)]


@pytest.mark.parametrize("amount", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(12, 9), (1, 1), (1, 7), (2, 2)], ids=str)
def test_sharpening_is_amds_formula(shape: tuple[int, int], amount: float) -> None:
    picture = noise(*shape)
    picture[: shape[0] // 2] //= 40  # dark and nearly black, where the formula divides
    picture[-1:, : shape[1] // 2] = 255
    ours = torch.from_numpy(sharpen(picture.numpy(), amount)).int()
    assert (ours - torch.tensor(sharpened_by_hand(picture, amount)).int()).abs().max() == 0


def soft(height: int = 24, width: int = 24) -> Tensor:
    coarse = torch.rand(1, 3, 6, 6)
    grown = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0]
    return (grown.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).contiguous()


def test_sharpening_has_an_effect_that_grows_and_none_at_zero() -> None:
    picture = soft()
    plain = made(picture, Framing.CROP_CENTRE)
    assert torch.equal(made(picture, Framing.CROP_CENTRE, sharpening=0.0), plain)
    effects = [
        share_changed(made(picture, Framing.CROP_CENTRE, sharpening=amount), plain)
        for amount in (0.05, 0.5, 1.0)
    ]
    assert 0.01 < effects[0] < effects[1] < effects[2]


@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_plain_picture_has_nothing_to_sharpen_and_no_frame(value: int) -> None:
    plain = torch.full((9, 9, 3), value, dtype=torch.uint8)
    assert (sharpen(plain.numpy(), 1.0) == value).all()


def test_sharpening_comes_after_resizing() -> None:
    picture = noise(50, 50)
    small = made(picture, Framing.SQUASH)
    expected = torch.from_numpy(sharpen(small.numpy(), 0.7))
    assert torch.equal(made(picture, Framing.SQUASH, sharpening=0.7), expected)


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("#808080", (128, 128, 128)),
        (" #F00 ", (255, 0, 0)),
        ("#00ff0080", (0, 255, 0)),
        ("white", (255, 255, 255)),
        ("rgb(1, 2, 3)", (1, 2, 3)),
        ("hsl(240, 100%, 50%)", (0, 0, 255)),
    ],
)
def test_colours_are_read_and_reach_the_bars(text: str, colour: tuple[int, ...]) -> None:
    parsed = parse_colour(text, "pad_colour")
    square = made(noise(8, 24), Framing.PAD, ground=Ground.COLOUR, colour=parsed)
    assert square[0, 0].tolist() == list(colour)


@pytest.mark.parametrize(
    "text",
    ["", "808080", "#80808", "greyish", "None", "rgb(300, 0, 0)", "#" * 300, None, 5, "x\ny"],
)
def test_what_is_no_colour_is_told_in_one_sentence(text: object) -> None:
    with pytest.raises(BadInput) as refused:
        parse_colour(text, "pad_colour")
    message = str(refused.value)
    assert message.startswith("pad_colour is ") and "\n" not in message and len(message) < 200


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan"), float("inf"), "much", None, True])
def test_sharpening_is_a_number_from_0_to_1(amount: Any) -> None:
    with pytest.raises(BadInput, match="sharpening is "):
        Preparation(Framing.PAD, 24, sharpening=amount)


@pytest.mark.parametrize(
    ("shape", "framing", "size", "fine"),
    [
        ((1, 1000), Framing.CROP_LEFT, 224, True),
        ((1, 1000), Framing.CROP_LEFT, 1024, False),
        ((1, 1000), Framing.SQUASH, 1024, True),
        ((1, 1000), Framing.LONG_SIDE, 1024, True),
        ((4000, 6000), Framing.CROP_FACE, 1024, True),
        ((40, 40000), Framing.PAD, 224, False),
        ((4000, 6000), Framing.PAD, 224, True),
    ],
)
def test_no_picture_on_the_way_fills_the_memory(
    shape: tuple[int, int], framing: Framing, size: int, fine: bool
) -> None:
    if fine:
        require_room(*shape, Preparation(framing, size))
        return
    with pytest.raises(BadInput, match=f"image is {shape[1]} x {shape[0]} pixels and fit is "):
        require_room(*shape, Preparation(framing, size))
