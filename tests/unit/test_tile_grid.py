"""Pictures of any shape cut into tiles in rows and columns."""

from __future__ import annotations

import pytest
import torch
from pack.ip_models import limits
from pack.ip_models.pictures.tile_grid import tile_grid

# height, width, tiles along the short side, overlap -> rows, columns
SHAPES = {
    (512, 512, 0, 0.0): (2, 2),
    (512, 660, 0, 0.0): (2, 3),
    (512, 1024, 0, 0.0): (1, 2),
    (1024, 512, 0, 0.0): (2, 1),
    (512, 1024, 2, 0.0): (2, 4),
    (512, 1000, 1, 0.0): (1, 2),
    (512, 540, 1, 0.0): (1, 1),
    (1300, 1000, 2, 0.25): (3, 2),
    (100, 10_000, 1, 0.0): (1, limits.TILES_IN_A_ROW),
    (3, 2, 8, 0.5): (3, 2),
    (1, 1, 0, 0.0): (1, 1),
}


@pytest.mark.parametrize(("shape", "expected"), SHAPES.items(), ids=str)
def test_tiles_cover_the_picture_and_their_masks_too(
    shape: tuple[int, int, int, float], expected: tuple[int, int]
) -> None:
    height, width, _, overlap = shape
    grid = tile_grid(*shape)
    assert (len(grid.rows), len(grid.columns)) == expected
    picture = torch.arange(height * width).view(1, height, width, 1)
    tiles = grid.cut(picture)
    assert torch.cat([tile.flatten() for tile in tiles]).unique().numel() == height * width
    assert len({tuple(tile.shape) for tile in tiles}) == 1
    sides = tiles[0].shape[1:3]
    # Nothing is stretched much but what is longer than any reference.
    assert max(sides) <= 1.11 * min(sides) + 1 or max(expected) == limits.TILES_IN_A_ROW
    for spans in (grid.rows, grid.columns):
        for one, other in zip(spans, spans[1:], strict=False):
            assert one.end - other.start >= overlap * (one.end - one.start) - 2
    masks = grid.masks()
    assert len(masks) == len(tiles)
    assert torch.allclose(masks.sum(0), torch.ones(masks.shape[1:]), atol=1e-6)
    assert max(masks.shape[1:]) == min(max(height, width), limits.TILE_MASK_SIDE)


def test_a_mask_is_white_where_only_its_tile_was_and_fades_where_two_were() -> None:
    grid = tile_grid(100, 175, 1, 0.25)
    assert grid.columns == ((0, 100), (75, 175))
    left, right = grid.masks()[:, 50]
    assert left[:75].eq(1).all() and left[100:].eq(0).all()
    assert (left[75:100].diff() < 0).all() and (right[75:100].diff() > 0).all()
    assert float(left[87]) == pytest.approx(0.5)
