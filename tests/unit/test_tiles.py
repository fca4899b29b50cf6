"""Tiles: where they lie, what they show, and how their tokens become one picture again."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pytest
import torch
from pack.ip_models.errors import BadInput
from pack.ip_models.inputs import chosen, whole, within
from pack.ip_models.pictures.fit import Fit, fit_images, square_side
from pack.ip_models.pictures.tiles import TileMerge, Tiling, cut, merge_tiles
from PIL import Image
from torch import Tensor


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.double() - theirs).norm() / theirs.norm())


def by_hand(tokens: Tensor, count: int, overlap: float, extra: int) -> Tensor:
    """Cell by cell in double precision: the mean of what covers a cell, by its area."""
    grid = math.isqrt(tokens.shape[1])
    side = 1 / (1 + (count - 1) * (1 - overlap))
    out = torch.zeros(tokens.shape[1:], dtype=torch.float64)
    out[:extra] = tokens[:, :extra].double().mean(0)
    for cell in range(grid * grid):
        top, left = cell // grid / grid, cell % grid / grid
        total = 0.0
        for tile in range(count * count):
            y0, x0 = (side * (1 - overlap) * place for place in divmod(tile, count))
            for token in range(grid * grid):
                y, x = y0 + side * (token // grid) / grid, x0 + side * (token % grid) / grid
                high = min(top + 1 / grid, y + side / grid) - max(top, y)
                wide = min(left + 1 / grid, x + side / grid) - max(left, x)
                area = max(0.0, high) * max(0.0, wide)
                out[extra + cell] += area * tokens[tile, extra + token].double()
                total += area
        out[extra + cell] /= total
    return out[None]


@pytest.mark.parametrize("extra", [0, 1], ids=["no class token", "class token"])
@pytest.mark.parametrize(
    ("count", "overlap"), [(2, 0.0), (2, 0.25), (2, 0.5), (3, 0.1), (3, 0.5), (4, 1 / 3)]
)
def test_merged_tokens_are_those_of_a_loop_over_all_cells(
    count: int, overlap: float, extra: int
) -> None:
    tokens = torch.randn(count * count, extra + 16, 5)
    pooled, merged = merge_tiles([(None, tokens)], Tiling(count, overlap))
    assert pooled is None and merged.shape == (1, extra + 16, 5)
    expected = by_hand(tokens, count, overlap, extra)
    assert relative(merged, expected) < 1e-6
    assert relative(merged, by_hand(tokens.flip(0), count, overlap, extra)) > 0.01
    assert relative(merged, by_hand(tokens, count, 0.45 - overlap / 2, extra)) > 0.01


@pytest.mark.parametrize("count", [2, 3, 5])
def test_without_overlap_it_is_adaptive_average_pooling(count: int) -> None:
    tokens = torch.randn(count, count, 4, 4, 6)
    picture = tokens.permute(4, 0, 2, 1, 3).reshape(1, 6, 4 * count, 4 * count)
    expected = torch.nn.functional.adaptive_avg_pool2d(picture.double(), 4)
    _, merged = merge_tiles([(None, tokens.reshape(count * count, 16, 6))], Tiling(count))
    assert relative(merged, expected.flatten(2).movedim(1, 2)) < 1e-6


def test_tiles_may_come_a_few_at_a_time_and_are_left_as_they_were() -> None:
    pooled, hidden = torch.randn(9, 7), torch.randn(9, 17, 3)
    before = pooled.clone(), hidden.clone()
    together = merge_tiles([(pooled, hidden)], Tiling(3, 0.2))
    parts = zip(pooled.split(2), hidden.split(2), strict=True)
    apart = merge_tiles(parts, Tiling(3, 0.2))
    for one, other, mean in zip(together, apart, (pooled.mean(0), None), strict=True):
        assert one is not None and other is not None and torch.equal(one, other)
        assert mean is None or relative(one[0], mean.double()) < 1e-6
    assert torch.equal(pooled, before[0]) and torch.equal(hidden, before[1])


def test_tokens_that_are_all_alike_stay_so() -> None:
    same = torch.randn(1, 1, 5).expand(16, 17, 5)
    _, merged = merge_tiles([(None, same)], Tiling(4, 0.3))
    assert torch.allclose(merged, same[:1], atol=1e-6)


def noise(side: int) -> Tensor:
    return torch.randint(0, 256, (side, side, 3), dtype=torch.uint8)


def test_tiles_without_overlap_are_the_parts_of_the_picture() -> None:
    square = noise(24)
    tiles = cut(square, Tiling(3).boxes, 8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, 3)
        part = square[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        assert torch.equal(tile, part / 255)


def test_overlapping_tiles_share_that_much_and_reach_the_edges() -> None:
    square = noise(30)
    tiles = cut(square, Tiling(2, 0.5).boxes, 20).unflatten(0, (2, 2))
    assert torch.equal(tiles[0, 0], square[:20, :20] / 255)
    assert torch.equal(tiles[1, 1], square[10:, 10:] / 255)
    assert torch.equal(tiles[0, 0][:, 10:], tiles[0, 1][:, :10])
    for count in range(2, 17):
        for overlap in (0.0, 0.07, 0.25, 0.5):
            spans = Tiling(count, overlap).spans
            assert spans[0][0] == 0 and spans[-1][1] == pytest.approx(1, abs=1e-12)
            for (start, end), (later, _) in zip(spans, spans[1:], strict=False):
                assert (end - later) / (end - start) == pytest.approx(overlap, abs=1e-9)


def test_tiles_are_resized_with_the_filter_of_whole_pictures() -> None:
    square = noise(30)
    tile = cut(square, Tiling(2).boxes, 56)[3]
    opened = Image.fromarray(square.numpy())
    box = (15, 15, 30, 30)
    expected = numpy.asarray(opened.resize((56, 56), Image.Resampling.BICUBIC, box=box))
    assert torch.equal(tile, torch.from_numpy(expected.copy()).float() / 255)


@pytest.mark.parametrize(
    ("size", "needed", "side"),
    [
        ((3000, 4000), 448, 4000),
        ((4096, 300), 448, 4096),
        ((9000, 6000), 448, 9000),  # no more than the picture takes already
        ((8000, 8), 448, 4096),
        ((30, 30000), 7168, 7168),
        ((5000, 50), 7168, 5000),
    ],
)
def test_the_square_of_a_long_picture_is_not_many_times_the_picture(
    size: tuple[int, int], needed: int, side: int
) -> None:
    for fit in (Fit.PAD, Fit.SQUASH):
        assert square_side(size, fit, needed) == side
    for fit in set(Fit) - {Fit.PAD, Fit.SQUASH}:
        assert square_side(size, fit, needed) == min(size)


@pytest.mark.parametrize("size", [(20, 5000), (5000, 40)])
def test_a_long_picture_is_shrunk_before_it_is_padded(size: tuple[int, int]) -> None:
    picture, colour = torch.rand(*size, 3).round(), (0.2, 0.4, 0.6)
    canvas = torch.tensor(colour).expand(5000, 5000, 3).clone()
    top, left = ((5000 - one) // 2 for one in size)
    canvas[top : top + size[0], left : left + size[1]] = picture
    expected = fit_images(canvas[None], 224, Fit.SQUASH, colour)
    squares = fit_images(picture[None], 224, Fit.PAD, colour)
    assert (squares - expected).abs().max() < 8 / 255
    assert (squares - torch.tensor(colour)).abs().max() > 0.1


@pytest.mark.parametrize("side", [1, 2, 5, 37])
def test_the_smallest_pictures_have_tiles_too(side: int) -> None:
    tiles = cut(noise(side), Tiling(16, 0.5).boxes, 14)
    assert tiles.shape == (256, 14, 14, 3) and bool(torch.isfinite(tiles).all())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 0}, "tiles is 0; a number from 1 to 16 is needed"),
        ({"count": 17}, "tiles is 17"),
        ({"count": 2.5}, "tiles is 2.5; a whole number is needed"),
        ({"count": None}, "tiles is nothing"),
        ({"count": True}, "tiles is true"),
        ({"count": "2"}, 'tiles is "2"'),
        ({"count": 2, "overlap": 0.6}, "tile_overlap is 0.6; a number from 0 to 0.5"),
        ({"count": 2, "overlap": math.nan}, "tile_overlap is nan"),
        ({"count": 2, "ratio": -0.1}, "tile_ratio is -0.1; a number from 0 to 1"),
        ({"count": 2, "ratio": "half"}, 'tile_ratio is "half"'),
    ],
)
def test_numbers_outside_their_range_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as refused:
        Tiling(**change)
    assert words in str(refused.value)


def test_numbers_and_choices_in_range_are_taken() -> None:
    assert whole("n", 2.0, 0, 3) == 2 and within("x", 1, 0, 1) == 1.0
    assert Tiling(2.0).spans == Tiling(2).spans  # pyright: ignore[reportArgumentType]
    assert chosen("tile_merge", "blend", TileMerge) is TileMerge.BLEND
    for value in ("mix", None, 3):
        with pytest.raises(BadInput, match="concat, blend are known"):
            chosen("tile_merge", value, TileMerge)
