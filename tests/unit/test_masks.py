"""A mask on the grid of a layer: area means, exact where it is plain, refused where it is odd."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.ip_models.errors import BadInput
from pack.ip_models.masks import RegionMask
from torch import Tensor

LIKE = torch.zeros(1)


def area_mean(mask: Tensor, height: int, width: int) -> Tensor:
    """Mean over every pixel that a cell touches, as adaptive pooling is defined."""
    rows, columns = mask.shape
    cells = torch.empty(height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            top, bottom = y * rows // height, -(-(y + 1) * rows // height)
            left, right = x * columns // width, -(-(x + 1) * columns // width)
            cells[y, x] = mask[top:bottom, left:right].double().mean()
    return cells


@settings(max_examples=40, deadline=None, database=None)
@given(
    mask=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    grid=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_each_cell_is_the_mean_of_its_area(mask: tuple[int, int], grid: tuple[int, int]) -> None:
    plane = torch.rand(mask, generator=torch.Generator().manual_seed(5))
    cells = RegionMask(plane).on(*grid, like=LIKE)
    assert cells.shape == (1, grid[0] * grid[1], 1)
    assert torch.allclose(cells.double().view(grid), area_mean(plane, *grid), atol=1e-6)


def test_cells_are_listed_row_by_row() -> None:
    mask = torch.zeros(4, 6)
    mask[:2, 3:] = 1
    assert RegionMask(mask).on(2, 2, LIKE).flatten().tolist() == [0, 1, 0, 0]


@settings(max_examples=40, deadline=None, database=None)
@given(
    mask=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    grid=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    value=st.sampled_from([0.0, 1.0]),
)
def test_a_plain_mask_stays_exactly_what_it_is(
    mask: tuple[int, int], grid: tuple[int, int], value: float
) -> None:
    cells = RegionMask(torch.full(mask, value)).on(*grid, like=LIKE)
    assert torch.equal(cells, torch.full_like(cells, value))


def test_mask_and_complement_add_up_to_one() -> None:
    mask = torch.rand(37, 41)
    together = RegionMask(mask).on(8, 6, LIKE) + RegionMask(1 - mask).on(8, 6, LIKE)
    assert torch.allclose(together, torch.ones_like(together), atol=1e-6)


def test_a_mask_may_have_one_plane_or_none() -> None:
    mask = torch.rand(9, 7)
    assert torch.equal(RegionMask(mask).on(3, 4, LIKE), RegionMask(mask[None]).on(3, 4, LIKE))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.bool])
def test_masks_of_every_type_become_the_type_of_the_query(dtype: torch.dtype) -> None:
    mask = torch.ones(4, 4, dtype=dtype)
    for like in (torch.zeros(1, dtype=torch.float16), torch.zeros(1, dtype=torch.float64)):
        cells = RegionMask(mask).on(2, 2, like)
        assert cells.dtype is like.dtype
        assert torch.equal(cells, torch.ones_like(cells))


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


@pytest.mark.parametrize(
    "shape", [(), (4,), (2, 4, 4), (0, 4, 4), (1, 1, 4, 4), (1, 0, 4), (1, 4, 0), (0, 4)], ids=str
)
def test_masks_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput) as refused:
        RegionMask(torch.zeros(shape))
    assert str(refused.value).startswith("attn_mask ")
    assert str(shape) in refused.value.found


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_masks_with_a_value_that_is_not_finite_are_refused(value: float) -> None:
    mask = torch.zeros(1, 8, 8)
    mask[0, 3, 3] = value
    with pytest.raises(BadInput, match="not finite"):
        RegionMask(mask)
