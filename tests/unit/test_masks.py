"""Masks on the grid of a layer: area means, exact where plain, or what diffusers makes of them."""

from __future__ import annotations

import itertools
import math
import threading
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.ip_models.attention import masks
from pack.ip_models.attention.masks import Crop, MaskRule, RegionMask
from pack.ip_models.errors import BadInput
from PIL import Image
from torch import Tensor

LIKE = torch.zeros(1)
LAWS = settings(max_examples=40, deadline=None, database=None)


def means(cells: int, pixels: int) -> Tensor:
    """(cells, pixels): means over every pixel that a cell touches, as adaptive pooling has it."""
    rows = torch.zeros(cells, pixels, dtype=torch.float64)
    for i in range(cells):
        first, last = i * pixels // cells, -(-(i + 1) * pixels // cells)
        rows[i, first:last] = 1 / (last - first)
    return rows


def area_mean(mask: Tensor, height: int, width: int) -> Tensor:
    return means(height, mask.shape[0]) @ mask.double() @ means(width, mask.shape[1]).T


def seeded(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(5))


@st.composite
def crops_inside(draw: st.DrawFn) -> Crop:
    full_height, full_width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    top = draw(st.integers(0, full_height - 1))
    left = draw(st.integers(0, full_width - 1))
    height = draw(st.integers(1, full_height - top))
    width = draw(st.integers(1, full_width - left))
    return Crop(top, left, height, width, full_height, full_width)


SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))
GRIDS = st.tuples(st.integers(1, 40), st.integers(1, 40))


@LAWS
@given(size=SIZES, grid=GRIDS)
def test_each_cell_is_the_mean_of_its_area(size: tuple[int, int], grid: tuple[int, int]) -> None:
    plane = seeded(*size)
    cells = RegionMask(plane).on(*grid, like=LIKE)
    assert cells.shape == (1, grid[0] * grid[1], 1)
    assert torch.allclose(cells.double().view(grid), area_mean(plane, *grid), atol=1e-6)


def test_cells_are_listed_row_by_row() -> None:
    mask = torch.zeros(4, 6)
    mask[:2, 3:] = 1
    assert RegionMask(mask).on(2, 2, LIKE).flatten().tolist() == [0, 1, 0, 0]


@LAWS
@given(
    size=SIZES,
    grid=GRIDS,
    value=st.sampled_from([0.0, 1.0]),
    crop=st.none() | crops_inside(),
    rule=st.sampled_from(MaskRule),
)
def test_a_plain_mask_stays_exactly_what_it_is(
    size: tuple[int, int], grid: tuple[int, int], value: float, crop: Crop | None, rule: MaskRule
) -> None:
    cells = RegionMask(torch.full(size, value), rule).on(*grid, LIKE, (crop,))
    if rule is MaskRule.AREA:
        assert torch.equal(cells, torch.full_like(cells, value))
    else:  # the bicubic weights add up to one but for rounding; what is padded is 0
        covered = cells[cells != 0]
        assert torch.allclose(covered, torch.full_like(covered, value), atol=1e-6)
        assert value == 0 or len(covered) > 0


@LAWS
@given(size=SIZES, grid=GRIDS, crop=st.none() | crops_inside())
def test_mask_and_complement_add_up_to_one(
    size: tuple[int, int], grid: tuple[int, int], crop: Crop | None
) -> None:
    mask = seeded(*size)
    one, other = (RegionMask(m).on(*grid, LIKE, (crop,)) for m in (mask, 1 - mask))
    assert torch.allclose(one + other, torch.ones_like(one), atol=1e-5)


def test_every_rank_means_the_same_masks() -> None:
    stack = seeded(3, 9, 7)
    expected = RegionMask(stack).on(3, 4, LIKE, planes=(0, 1, 2))
    for same in (stack[:, None], stack[None], stack[..., None]):
        region = RegionMask(same)
        assert region.count == 3
        assert torch.equal(region.on(3, 4, LIKE, planes=(0, 1, 2)), expected)
    first = stack[0]
    for same in (first, first[None], first[None, None], first[None, ..., None]):
        region = RegionMask(same)
        assert region.count == 1
        assert torch.equal(region.on(3, 4, LIKE), expected[:1])


def test_more_planes_than_are_resized_at_a_time_keep_their_order() -> None:
    stack = torch.arange(100.0)[:, None, None].expand(100, 4, 4) / 128
    got = RegionMask(stack).on(2, 2, LIKE, planes=tuple(range(99, -1, -1)))
    assert torch.equal(got, torch.arange(99.0, -1, -1)[:, None, None].expand(100, 4, 1) / 128)


def test_parts_come_before_pictures() -> None:
    left, right = Crop(0, 0, 4, 4, 4, 8), Crop(0, 4, 4, 4, 4, 8)
    stack = torch.zeros(3, 32, 64)
    for plane in range(3):
        stack[plane, :, :32], stack[plane, :, 32:] = 0.1 * plane, 0.1 * plane + 0.5
    got = RegionMask(stack).on(2, 3, LIKE, (right, left), (2, 0, 1))
    assert got.shape == (6, 6, 1)
    values = torch.tensor([0.7, 0.5, 0.6, 0.2, 0.0, 0.1])
    assert torch.allclose(got, values[:, None, None].expand(6, 6, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("crops", "planes", "rows"),
    [
        ((None,), (1,), 1),
        ((None, None), (1, 1, 1), 1),
        ((Crop(0, 0, 2, 2, 4, 4),) * 2, (2, 2), 1),
        ((None, Crop(0, 0, 4, 4, 4, 4)), (0,), 1),
        ((None, None), (0, 1, 2), 6),
        ((None, Crop(0, 0, 2, 2, 4, 4)), (1, 1, 1), 6),
        ((None,), (0, 0, 1), 3),
    ],
)
def test_one_row_serves_all_where_all_agree(
    crops: tuple[Crop | None, ...], planes: tuple[int, ...], rows: int
) -> None:
    region = RegionMask(seeded(3, 32, 32))
    got = region.on(4, 2, LIKE, crops, planes)
    assert got.shape == (rows, 8, 1)
    singles = [region.on(4, 2, LIKE, (crop,), (plane,)) for crop in crops for plane in planes]
    assert torch.equal(got.expand(len(singles), 8, 1), torch.cat(singles))


def test_a_crop_of_everything_is_no_crop() -> None:
    for size in ((128, 192), (100, 77), (9, 200)):
        for rule in MaskRule:
            region = RegionMask(seeded(*size), rule)
            for grid in ((16, 24), (8, 12), (5, 7)):
                whole = region.on(*grid, LIKE, (Crop(0, 0, 16, 24, 16, 24),))
                assert torch.equal(whole, region.on(*grid, LIKE))


@LAWS
@given(crop=crops_inside(), grid=GRIDS)
def test_a_cropped_cell_is_the_mean_of_its_area(crop: Crop, grid: tuple[int, int]) -> None:
    top, left, height, width, full_height, full_width = crop[:6]
    mask = seeded(full_height * 8, full_width * 8)
    cut = mask[top * 8 : (top + height) * 8, left * 8 : (left + width) * 8]
    cells = RegionMask(mask).on(*grid, LIKE, (crop,))
    assert torch.allclose(cells.double().view(grid), area_mean(cut, *grid), atol=1e-6)


@pytest.mark.parametrize("size", [(100, 77), (5, 7), (300, 200)], ids=str)
def test_a_mask_of_another_size_is_brought_to_the_picture_by_area(size: tuple[int, int]) -> None:
    mask = seeded(*size)
    cut = area_mean(mask, 128, 192)[16:104, 24:96]
    cells = RegionMask(mask).on(11, 9, LIKE, (Crop(2, 3, 11, 9, 16, 24),))
    assert torch.allclose(cells.double().view(11, 9), area_mean(cut, 11, 9), atol=1e-6)


@pytest.mark.parametrize("pixels", [8, 1, 16], ids=["raster", "small", "large"])
def test_crops_of_a_mask_in_blocks_are_parts_of_the_whole(pixels: int) -> None:
    blocks = seeded(16, 24)
    region = RegionMask(blocks.repeat_interleave(pixels, 0).repeat_interleave(pixels, 1))
    for step in (1, 2, 4):
        whole = region.on(16 // step, 24 // step, LIKE).view(16 // step, 24 // step)
        for top, left in itertools.product((0, 8), (0, 8, 16)):
            crop = Crop(top, left, 8, 8, 16, 24)
            part = region.on(8 // step, 8 // step, LIKE, (crop,)).view(8 // step, 8 // step)
            rows, columns = top // step, left // step
            same = whole[rows : rows + 8 // step, columns : columns + 8 // step]
            assert torch.allclose(part, same, atol=2e-5)  # sums of up to 64 x 64 pixels


def test_crops_keep_greys() -> None:
    mask = torch.full((64, 64), 0.25)
    mask[:, 32:] = 0.75
    region = RegionMask(mask)
    assert torch.all(region.on(4, 4, LIKE, (Crop(0, 0, 8, 4, 8, 8),)) == 0.25)
    middle = region.on(1, 3, LIKE, (Crop(2, 1, 3, 6, 8, 8),))
    assert torch.allclose(middle.flatten(), torch.tensor([0.25, 0.5, 0.75]))


@pytest.mark.parametrize("rule", MaskRule)
@pytest.mark.parametrize(
    "crop",
    [
        Crop(-3, -2, 6, 5, 8, 8),
        Crop(5, 6, 9, 9, 8, 8),
        Crop(20, 20, 4, 4, 8, 8),
        Crop(-9, 2, 4, 4, 8, 8),
        Crop(2, 2, 0, -1, 8, 8),
        Crop(0, 0, 4, 4, 0, 0),
    ],
    ids=str,
)
def test_a_crop_beyond_the_picture_still_gives_a_weight_per_query(
    crop: Crop, rule: MaskRule
) -> None:
    cells = RegionMask(seeded(64, 64), rule).on(3, 5, LIKE, (crop,))
    assert cells.shape == (1, 15, 1)
    assert bool(torch.isfinite(cells).all())


def levels(side: int) -> list[int]:
    """A latent's side on the levels of the UNet: each halves and rounds up."""
    sides = [side]
    for _ in range(3):
        sides.append((sides[-1] + 1) // 2)
    return sides


def test_every_picture_size_gets_a_weight_for_each_query_in_its_own_order() -> None:
    across = torch.tensor([0.0, 0.0625, 0.125])
    region = RegionMask(across[None] + 4 * across[:, None])  # of sixteenths: every sum is exact
    sides = list(zip(*map(levels, range(32, 193)), strict=True))
    grids = {grid for level in sides for grid in itertools.product(set(level), repeat=2)}
    assert len(grids) > 161**2
    for i, (height, width) in enumerate(grids):
        if i % 100 == 0:
            region.release()
        cells = region.on(height, width, LIKE)
        assert cells.shape == (1, height * width, 1)
        cells = cells.view(height, width)
        steps = cells[0] - cells[0, 0]
        assert steps[-1] > 0 and cells[-1, 0] > cells[0, 0]
        assert torch.equal(cells, cells[:, :1] + steps)  # rows alike: nothing is sheared


def test_no_size_is_sheared() -> None:
    mask = seeded(61, 83)
    mask[:, :41] *= 0.1
    sizes = [(33, 11), (11, 33), (33, 32), (17, 16), (5, 3), (1, 7), (192, 32), (191, 193)]
    sizes += [(32 + i * 37 % 161, 32 + i * 101 % 161) for i in range(100)]
    for height, width in sizes:
        for grid in zip(levels(height), levels(width), strict=True):
            cells = RegionMask(mask).on(*grid, LIKE).double().view(grid)
            assert torch.allclose(cells, area_mean(mask, *grid), atol=1e-6)


def picture(mask: Tensor) -> Image.Image:
    return Image.fromarray(mask.mul(255).round().to(torch.uint8).numpy())


def by_diffusers(prepared: Tensor, queries: int) -> Tensor:
    """Of (1, height, width), 0 or 1."""
    processor = pytest.importorskip("diffusers.image_processor").IPAdapterMaskProcessor
    return processor.downsample(prepared, 1, queries, 1)


def prepared_by_diffusers(mask: Tensor) -> Tensor:
    processor = pytest.importorskip("diffusers.image_processor").IPAdapterMaskProcessor()
    return processor.preprocess(picture(mask))[0]


def grey(height: int, width: int) -> Tensor:
    """Soft blobs over all greys, with noise around the threshold."""
    coarse = seeded(1, 1, 5, 6)
    soft = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0, 0]
    return (soft + 0.2 * (seeded(height, width) - 0.5)).clamp(0, 1)


@pytest.mark.filterwarnings("ignore:The aspect ratio of the mask")
@pytest.mark.parametrize(
    "size",
    [(128, 128), (512, 512), (96, 144), (768, 512), (100, 77), (513, 300), (9, 15), (64, 640)],
    ids=str,
)
def test_the_rule_of_diffusers_is_that_of_diffusers(size: tuple[int, int]) -> None:
    soft = grey(*size)
    for mask in (soft, (soft > 0.55).float()):
        region, prepared = RegionMask(mask, MaskRule.DIFFUSERS), prepared_by_diffusers(mask)
        assert 0.05 < prepared.mean() < 0.95
        for grid in ((64, 64), (32, 32), (64, 96), (48, 32), (33, 11), (33, 32), (17, 16), (13, 7)):
            expected = by_diffusers(prepared, grid[0] * grid[1])
            got = region.on(*grid, LIKE)
            assert got.shape == expected.shape
            assert (got - expected).abs().max() < 5e-6
            assert expected.std() > 0.05


@pytest.mark.filterwarnings("ignore:The aspect ratio of the mask")
def test_the_rule_of_diffusers_pads_and_overshoots_as_diffusers_does() -> None:
    mask = grey(100, 77)
    expected = by_diffusers(prepared_by_diffusers(mask), 33 * 11)
    got = RegionMask(torch.ones(100, 77), MaskRule.DIFFUSERS).on(33, 11, LIKE).flatten()
    assert got[-1] == expected.flatten()[-1] == 0  # a grid of 23 x 15 guessed for 33 x 11
    assert int((got == 0).sum()) == 363 - 23 * 15
    sharp = RegionMask((grey(128, 128) > 0.5).float(), MaskRule.DIFFUSERS).on(64, 64, LIKE)
    assert sharp.min() < -0.02 and sharp.max() > 1.02


@pytest.mark.filterwarnings("ignore:The aspect ratio of the mask")
def test_the_rule_of_diffusers_holds_for_each_plane_and_crop() -> None:
    stack = torch.stack([grey(128, 192), 1 - grey(128, 192)])
    crops = (Crop(2, 3, 11, 9, 16, 24), None)
    got = RegionMask(stack, MaskRule.DIFFUSERS).on(11, 9, LIKE, crops, (1, 0))
    prepared = [prepared_by_diffusers(mask) for mask in (stack[1], stack[0])]
    expected = [by_diffusers(one[:, 16:104, 24:96], 99) for one in prepared]
    expected += [by_diffusers(one, 99) for one in prepared]
    assert (got - torch.cat(expected)).abs().max() < 5e-6


@pytest.mark.filterwarnings("ignore:The aspect ratio of the mask")
def test_a_crop_by_the_rule_of_diffusers_takes_its_share_of_any_mask() -> None:
    mask = grey(80, 56)
    prepared = prepared_by_diffusers(mask)
    down = [(2 * i + 1) * 80 // (2 * 128) for i in range(128)]  # the pixel under each middle
    across = [(2 * i + 1) * 56 // (2 * 192) for i in range(192)]
    raster = prepared[:, down][:, :, across]
    got = RegionMask(mask, MaskRule.DIFFUSERS).on(11, 9, LIKE, (Crop(2, 3, 11, 9, 16, 24),))
    assert (got - by_diffusers(raster[:, 16:104, 24:96], 99)).abs().max() < 5e-6


@pytest.mark.parametrize("rule", list(MaskRule))
def test_values_a_little_beyond_are_clamped_or_kept_and_those_of_another_range_are_refused(
    rule: MaskRule,
) -> None:
    mask = grey(16, 16) * 1.5 - 0.2
    beyond, within = (RegionMask(m, rule).on(4, 4, LIKE) for m in (mask, mask.clamp(0, 1)))
    as_it_comes = rule in (MaskRule.BILINEAR, MaskRule.BICUBIC)
    assert mask.min() < 0 and mask.max() > 1 and torch.equal(beyond, within) is not as_it_comes
    for wrong in (grey(16, 16) * 255, grey(16, 16) * 1e29, -255 * grey(16, 16)):
        with pytest.raises(BadInput, match="holds values from .* to .*; .* from 0 to 1"):
            RegionMask(wrong, rule)
    with pytest.raises(BadInput, match="^mask7 has shape"):
        RegionMask(torch.zeros(3), rule, "mask7")


def test_the_rule_of_diffusers_takes_values_beyond_black_and_white_for_these() -> None:
    mask = 3 * grey(64, 64) - 1
    beyond, within = (RegionMask(m, MaskRule.DIFFUSERS) for m in (mask, mask.clamp(0, 1)))
    assert mask.min() < 0 and mask.max() > 1
    assert torch.equal(beyond.on(8, 8, LIKE), within.on(8, 8, LIKE))


def test_the_rule_of_diffusers_takes_masks_and_grids_too_small_for_diffusers() -> None:
    for size in ((1, 1), (3, 200), (7, 7), (8, 512), (512, 8)):
        for grid in ((1, 1), (1, 2), (2, 1), (5, 3)):
            cells = RegionMask(torch.ones(size), MaskRule.DIFFUSERS).on(*grid, LIKE)
            assert cells.shape == (1, grid[0] * grid[1], 1)
            assert cells[0, 0, 0] == pytest.approx(1, abs=1e-6)


def test_every_size_has_a_weight_for_each_query_by_the_rule_of_diffusers_too() -> None:
    region = RegionMask(grey(24, 40), MaskRule.DIFFUSERS)
    for height in range(32, 193, 5):
        for width in range(32, 193, 3):
            for grid in zip(levels(height), levels(width), strict=True):
                assert region.on(*grid, LIKE).shape == (1, grid[0] * grid[1], 1)
        region.release()


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.uint8]
)
def test_masks_of_every_type_become_the_type_of_the_query(dtype: torch.dtype) -> None:
    mask = torch.ones(16, 16, dtype=dtype)
    for like in (torch.zeros(1, dtype=torch.float16), torch.zeros(1, dtype=torch.float64)):
        for rule in MaskRule:
            cells = RegionMask(mask, rule).on(2, 2, like)
            assert cells.dtype is like.dtype
            assert torch.equal(cells, torch.ones_like(cells))


def test_only_the_planes_asked_for_go_to_the_device() -> None:
    region = RegionMask(seeded(50, 8, 8))
    window = region.on(4, 4, LIKE, planes=(3, 4, 5))
    assert window.untyped_storage().nbytes() == 3 * 16 * 4
    nowhere = torch.zeros(1, device="meta", dtype=torch.float16)  # fails where its values are read
    moved = region.on(4, 4, nowhere, (None, Crop(0, 0, 2, 2, 4, 4)), (3, 4, 5))
    assert moved.device == nowhere.device and moved.dtype is torch.float16
    assert moved.shape == (6, 16, 1)


def test_a_grid_is_prepared_once_until_it_is_released() -> None:
    region = RegionMask(torch.rand(8, 8))
    first = region.on(4, 2, LIKE)
    assert region.on(4, 2, LIKE) is first
    assert region.on(2, 4, LIKE) is not first
    assert region.on(4, 2, LIKE.double()) is not first
    region.release()
    again = region.on(4, 2, LIKE)
    assert again is not first
    assert torch.equal(again, first)


@pytest.mark.parametrize("rule", MaskRule)
def test_masks_are_resized_once_for_each_grid_and_crop(
    rule: MaskRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    resized: list[object] = []
    interpolate = masks.interpolate

    def counted(*args: object, **options: object) -> Tensor:
        resized.append(options["size"])
        return interpolate(*args, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]

    monkeypatch.setattr(masks, "interpolate", counted)
    region = RegionMask(seeded(9, 32, 32), rule)
    assert resized == []
    crop = Crop(0, 0, 2, 2, 4, 4)
    for step in range(3):
        for like in (LIKE, LIKE.half()):
            for start in range(6):
                region.on(4, 4, like, (None, crop), tuple(range(start, start + step + 1)))
                region.on(2, 2, like, (None,), (start,))
    assert len(resized) == 3
    region.release()
    region.on(2, 2, LIKE)
    assert len(resized) == 4


def test_copies_for_many_windows_do_not_pile_up() -> None:
    region = RegionMask(seeded(2, 16, 16))
    made: list[weakref.ref[Tensor]] = []
    for planes in itertools.product((0, 1), repeat=5):
        made.append(weakref.ref(region.on(512, 512, LIKE, planes=planes)))
    kept = [ref() is not None for ref in made]
    bytes_each = 5 * 512 * 512 * 4
    assert not kept[0] and kept[-1]
    assert 32 * 2**20 < sum(kept) * bytes_each <= 64 * 2**20 + bytes_each
    assert kept == sorted(kept)  # the oldest went first
    assert region.on(512, 512, LIKE, planes=(1, 1, 1, 1, 0)) is made[-2]()
    region.release()
    assert all(ref() is None for ref in made)


def test_a_mask_larger_than_the_bound_is_still_kept() -> None:
    region = RegionMask(torch.ones(1, 1))
    first = region.on(4200, 4200, LIKE)
    assert first.nbytes > 64 * 2**20
    assert region.on(4200, 4200, LIKE) is first


def test_threads_of_several_devices_get_whole_answers() -> None:
    stack = seeded(6, 64, 64)
    jobs = [(h, w, (p, (p + 1) % 6)) for h in (3, 8, 16) for w in (4, 9) for p in range(6)]
    crops = (None, Crop(1, 2, 5, 3, 8, 8))
    alone = RegionMask(stack)
    expected = [alone.on(h, w, LIKE, crops, planes) for h, w, planes in jobs]
    region, wrong = RegionMask(stack), list[object]()

    def ask(offset: int) -> None:
        try:
            for i in range(len(jobs)):
                h, w, planes = jobs[(i + offset) % len(jobs)]
                got = region.on(h, w, LIKE, crops, planes)
                if not torch.equal(got, expected[(i + offset) % len(jobs)]):
                    wrong.append((h, w, planes))
                if i % 7 == offset % 7:
                    region.release()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall see it
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=(5 * i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "shape",
    [(), (4,), (2, 3, 4, 4), (1, 1, 1, 4, 4), (0, 4, 4), (0, 1, 4, 4), (1, 0, 4), (1, 4, 0), (0, 4)]
    + [(1, 0, 4, 4), (3, 4, 0, 1), (2, 4, 4, 3)],
    ids=str,
)
def test_masks_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput) as refused:
        RegionMask(torch.zeros(shape))
    assert str(refused.value).startswith("attn_mask ")
    assert (" x ".join(map(str, shape)) or "1") in refused.value.found


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rule", MaskRule)
def test_masks_with_a_value_that_is_not_finite_are_refused(value: float, rule: MaskRule) -> None:
    mask = torch.zeros(2, 8, 8)
    mask[1, 3, 3] = value
    with pytest.raises(BadInput, match="not finite"):
        RegionMask(mask, rule)


def at_points(mask: Tensor, queries: int, latent: tuple[int, int], mode: str) -> Tensor:
    """One mask as ComfyUI_IPAdapter_plus lays it on a layer, from the published description."""
    rows = int(latent[0] / math.sqrt(latent[0] * latent[1] / queries))
    rows += int(queries % rows != 0)
    columns = queries // rows
    cells = torch.nn.functional.interpolate(mask[None, None], size=(rows, columns), mode=mode)
    flat = cells.flatten()
    if len(flat) < queries:
        missing = queries - len(flat)
        zeros = torch.zeros(missing)
        return torch.cat([zeros[: missing // 2], flat, zeros[missing // 2 :]])
    first = (len(flat) - queries) // 2
    return flat[first : first + queries]


@pytest.mark.parametrize("rule", [MaskRule.BILINEAR, MaskRule.BICUBIC], ids=lambda rule: rule.value)
@pytest.mark.parametrize("latent", [(64, 64), (65, 64), (48, 100), (13, 95), (96, 8)], ids=str)
def test_points_of_a_mask_lie_on_the_grid_that_the_picture_suggests(
    rule: MaskRule, latent: tuple[int, int]
) -> None:
    mask = seeded(61, 83) * 1.5 - 0.25
    grid = tuple(-(-side // 2) for side in latent)
    laid = RegionMask(mask, rule).on(*grid, LIKE, latent=latent).flatten()
    assert torch.allclose(laid, at_points(mask, len(laid), latent, rule.value), atol=1e-6)
    assert laid.min() < 0  # nothing is clamped
