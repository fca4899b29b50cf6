"""Noise is what its name says, by statistics; and the same for a seed, everywhere."""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Any

import pytest
import torch
from pack.ip_models.errors import BadInput
from pack.ip_models.pictures.noise import MOST_BLUR, Noise, Recipe, _moved, noisy
from torch import Tensor

SIGMAS = 4


def picture(height: int = 40, width: int = 60, count: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), generator=generator).float() / 255


def plain(value: int, side: int = 224) -> Tensor:
    return torch.full((1, side, side, 3), value / 255)


def made(images: Tensor, noise: Noise, strength: float, **options: Any) -> Tensor:
    """(batch, height, width, 3) of bytes as whole numbers."""
    return torch.stack(list(noisy(images, Recipe(noise, strength, **options)))).int()


def as_bytes(images: Tensor) -> Tensor:
    return (images * 255).round().int()


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9])
def test_dissolve_replaces_the_share_it_is_told(strength: float) -> None:
    base = 77
    out = made(plain(base), Noise.DISSOLVE, strength)
    changed = out != base
    expected = strength * 254 / 255  # noise may hit upon the same byte
    deviation = math.sqrt(expected * (1 - expected) / out.numel())
    assert abs(float(changed.double().mean()) - expected) < SIGMAS * deviation
    others = out[changed].double() / 255
    assert abs(float(others.mean()) - 0.5) < SIGMAS / math.sqrt(12 * len(others)) + 1 / 255
    assert abs(float(others.std()) - 1 / math.sqrt(12)) < 0.01
    # Each value by itself, not whole pixels.
    whole = changed.all(dim=-1).double().mean()
    assert abs(float(whole) - expected**3) < 0.02


@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
def test_fade_mixes_with_even_noise(strength: float) -> None:
    base = 100
    out = made(plain(base), Noise.FADE, strength).double() / 255
    low = base / 255 * (1 - strength)
    assert out.min() >= low - 0.5 / 255 and out.max() <= low + strength + 0.5 / 255
    assert abs(float(out.mean()) - low - strength / 2) < SIGMAS * strength / math.sqrt(
        12 * out.numel()
    )
    assert abs(float(out.std()) - strength / math.sqrt(12)) < 0.002


@pytest.mark.parametrize("strength", [0.05, 0.1])
def test_gaussian_adds_normal_noise(strength: float) -> None:
    base = 128
    out = made(plain(base), Noise.GAUSSIAN, strength).double() / 255 - base / 255
    assert abs(float(out.mean())) < SIGMAS * strength / math.sqrt(out.numel())
    assert abs(float(out.std()) / strength - 1) < 0.01
    # Bytes are 1 / 255 apart, so the bound of a share is off by half of that at most.
    for deviations, share in ((1, 0.6827), (2, 0.9545)):
        inside = (out.abs() <= deviations * strength).double().mean()
        assert abs(float(inside) - share) < 0.4 / 255 / strength
    assert abs(float((out**4).mean()) / strength**4 - 3) < 0.15


def test_gaussian_noise_in_black_is_half_black() -> None:
    out = made(plain(0), Noise.GAUSSIAN, 1.0)
    assert abs(float((out == 0).double().mean()) - 0.5) < 0.01
    assert abs(float((out == 255).double().mean()) - 0.1587) < 0.01


@pytest.mark.parametrize("noise", [Noise.FADE, Noise.DISSOLVE, Noise.GAUSSIAN])
def test_strength_0_leaves_the_picture_as_it_is(noise: Noise) -> None:
    images = picture()
    assert torch.equal(made(images, noise, 0.0), as_bytes(images))


@pytest.mark.parametrize("noise", [Noise.FADE, Noise.DISSOLVE])
def test_strength_1_leaves_nothing_of_it(noise: Noise) -> None:
    assert torch.equal(made(picture(), noise, 1.0), made(picture(seed=1), noise, 1.0))
    assert not torch.equal(made(picture(), noise, 0.9), made(picture(seed=1), noise, 0.9))


def test_shuffle_turns_the_picture_upside_down_and_mirrors_it() -> None:
    images = torch.zeros(1, 100, 160, 3)
    images[:, :50, :80, 0] = 1
    out = made(images, Noise.SHUFFLE, 0.0)
    assert (out[0, 60:, 90:, 0] == 255).all()
    assert not out[0, :40].any() and not out[0, :, :70].any() and not out[..., 1:].any()


@pytest.mark.parametrize("short", [112, 224, 448])
@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_shuffle_moves_points_as_far_as_its_definition_says(short: int, strength: float) -> None:
    # Even noise of 37.5 pixels of 224 either way; a blur divides by 2 sigma sqrt(pi).
    ramp = torch.arange(short, dtype=torch.float64)[None, :, None].expand(short, -1, 1) / short
    generator = seeded(3)
    moved = torch.stack([_moved(ramp, 1 - strength, generator) - ramp for _ in range(8)]) * short
    inner = moved[:, :, short // 4 : -(short // 4)]
    sigma = 3.5 * (1 - strength)
    expected = 37.5 * short / 224 / math.sqrt(3) / (2 * sigma * math.sqrt(math.pi))
    assert float(inner.std()) == pytest.approx(expected, rel=0.1)
    assert abs(float(inner.mean())) < expected / 10


def test_shuffle_at_full_strength_moves_each_point_by_itself() -> None:
    ramp = torch.arange(224, dtype=torch.float64)[None, :, None].expand(224, -1, 3) / 224
    moved = (_moved(ramp, 0.0, torch.Generator().manual_seed(3)) - ramp)[60:-60, 60:-60, 0] * 224
    assert moved.abs().max() <= 37.5
    assert float(moved.std()) == pytest.approx(37.5 / math.sqrt(3), rel=0.05)
    beside = torch.stack([moved[:, 1:].flatten(), moved[:, :-1].flatten()])
    assert abs(float(torch.corrcoef(beside)[0, 1])) < 0.05


@pytest.mark.parametrize("together", [0.0, 1.0])
def test_points_are_fetched_as_torchvision_fetches_them(together: float) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    source = picture(224, 224)[0].double()
    field = torch.rand(1, 2, 224, 224, dtype=torch.float64, generator=seeded(5)) * 2 - 1
    if together:
        field = functional.gaussian_blur(field, [29, 29], [3.5, 3.5])
    displacement = field.permute(0, 2, 3, 1) * 75 / 224
    theirs = functional.elastic(source.movedim(-1, 0), displacement).movedim(0, -1)
    ours = _moved(source, together, seeded(5))
    inner = slice(60, -60)  # beyond the edge they find black
    assert (ours - theirs)[inner, inner].abs().max() < 1e-6
    assert (ours - source)[inner, inner].abs().mean() > 0.01


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_grain_of_shuffle_pulls_towards_white_or_away_from_it() -> None:
    out = made(plain(128), Noise.SHUFFLE, 0.2).double() / 255
    # moved (1 - n) + n = moved + n (1 - moved), n of deviation 0.75 * 0.2
    assert float(out.std()) == pytest.approx(0.15 * (1 - 128 / 255), rel=0.02)
    assert abs(float(out.mean()) - 128 / 255) < 0.001


@pytest.mark.parametrize("noise", Noise)
def test_a_seed_is_a_noise_and_another_seed_another(noise: Noise) -> None:
    images = picture(count=3)
    before = torch.get_rng_state()
    first = made(images, noise, 0.5, seed=2**64 - 1)
    torch.manual_seed(99)
    assert torch.equal(made(images, noise, 0.5, seed=2**64 - 1), first)
    assert not torch.equal(made(images, noise, 0.5, seed=0), first)
    torch.set_rng_state(before)
    made(images, noise, 0.5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("noise", Noise)
def test_each_picture_of_a_batch_has_its_own_noise(noise: Noise) -> None:
    images = picture().expand(3, -1, -1, -1)
    out = made(images, noise, 0.5)
    assert len({bytes(one.byte().numpy().tobytes()) for one in out}) == 3
    assert torch.equal(made(images[:2], noise, 0.5), out[:2])


# Made once, with torch 2.11; other bytes would mean that an old workflow gives another picture.
BYTES = {
    Noise.FADE: "823548d0e218a60b",
    Noise.DISSOLVE: "388f229e1e2a1256",
    Noise.GAUSSIAN: "10b7e7b5afa29a7d",
    Noise.SHUFFLE: "cd1e10d94b2be85f",
}


@pytest.mark.parametrize("noise", Noise)
def test_the_bytes_of_a_seed_do_not_change(noise: Noise) -> None:
    ramp = torch.arange(300 * 240 * 3).view(1, 300, 240, 3) * 7 % 256 / 255
    out = made(ramp, noise, 0.5, seed=7, blur=2)
    assert sha256(out.byte().numpy().tobytes()).hexdigest()[:16] == BYTES[noise]


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_bytes(threads: int) -> None:
    known = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        out = made(picture(300, 240), Noise.SHUFFLE, 0.5, seed=7, blur=2)
    finally:
        torch.set_num_threads(known)
    assert torch.equal(out, made(picture(300, 240), Noise.SHUFFLE, 0.5, seed=7, blur=2))


@pytest.mark.parametrize("reach", [1, 4, 12])
def test_blur_is_that_of_torchvision_and_edges_are_continued(reach: int) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    images = picture(80, 90)
    out = made(images, Noise.FADE, 0.0, blur=reach)[0]
    planes = images[0].double().movedim(-1, 0)
    framed = torch.nn.functional.pad(planes[None], (reach,) * 4, mode="replicate")[0]
    expected = functional.gaussian_blur(framed, 2 * reach + 1)[:, reach:-reach, reach:-reach]
    expected = (expected * 255).round().int().movedim(0, -1)
    apart = (out - expected).abs()
    assert apart.max() <= 1 and (apart > 0).double().mean() < 1e-4  # halves, rounded either way
    assert (out - as_bytes(images)[0]).abs().double().mean() > 20


@pytest.mark.parametrize("noise", Noise)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (17, 230)], ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pictures_of_every_shape_keep_their_size(
    noise: Noise, shape: tuple[int, int], channels: int
) -> None:
    images = torch.rand(2, *shape, channels)
    for strength in (0.0, 0.5, 1.0):
        out = made(images, noise, strength, blur=MOST_BLUR)
        assert out.shape == (2, *shape, 3) and out.min() >= 0 and out.max() <= 255


def test_the_input_is_left_alone() -> None:
    images = picture()
    before = images.clone()
    for noise in Noise:
        made(images, noise, 0.5, blur=3)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"strength": 1.5}, "strength is 1.5"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"strength": "half"}, 'strength is "half"'),
        ({"strength": None}, "strength is nothing"),
        ({"blur": 33}, "blur is 33"),
        ({"blur": -1}, "blur is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"seed": "x"}, 'seed is "x"'),
    ],
)
def test_numbers_out_of_range_are_told(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as refused:
        Recipe(**{"noise": Noise.FADE, "strength": 1.0, **wrong})
    assert words in str(refused.value)
