"""The sheet of a mask: each tile is the mask on a grid of layers; the text says what is lost."""

from __future__ import annotations

import pytest
import torch
from kit.unet import OUTLINES
from pack.ip_models.attention.mask_sheet import MaskView
from pack.ip_models.attention.masks import MaskRule
from pack.ip_models.weights.outline import LayerGrid, layer_grids
from PIL import ImageFont
from torch import Tensor

GAP, LABEL, PAPER = 8, 20, 64


def tiles(sheet: Tensor, height: int, width: int, count: int) -> list[Tensor]:
    """The grey tiles of a sheet, (height, width) in bytes, found by where they have to be."""
    columns = (sheet.shape[1] - GAP) // (width + GAP)
    found: list[Tensor] = []
    for number in range(count):
        row, column = divmod(number, columns)
        y, x = GAP + row * (height + LABEL + GAP) + LABEL, GAP + column * (width + GAP)
        tile = (sheet[y : y + height, x : x + width] * 255).round()
        assert tile.shape == (height, width, 3)
        assert torch.equal(tile[..., 0], tile[..., 1]) and torch.equal(tile[..., 0], tile[..., 2])
        found.append(tile[..., 0])
    return found


def depths(family: str) -> list[int]:
    return [layer.depth for layer in OUTLINES[family].layers]


def test_the_grids_of_both_families_are_those_that_are_known() -> None:
    sd1, sdxl = (depths(family) for family in ("SD1.5", "SDXL"))
    assert layer_grids((64, 64), sd1) == [(64, 64, 5), (32, 32, 5), (16, 16, 5), (8, 8, 1)]
    assert layer_grids((128, 128), sdxl) == [(64, 64, 10), (32, 32, 60)]
    # 520 x 392 pixels: each level rounds up.
    assert layer_grids((49, 65), sd1) == [(49, 65, 5), (25, 33, 5), (13, 17, 5), (7, 9, 1)]
    assert layer_grids((2, 1), sd1) == [(2, 1, 5), (1, 1, 11)]


def test_a_tile_shows_each_cell_as_a_square_of_its_grey() -> None:
    mask = torch.zeros(64, 64)
    mask[:24, 8:40] = 1
    mask[40:] = 0.5
    grids = [LayerGrid(8, 8, 5), LayerGrid(4, 4, 1)]
    (sheet,) = MaskView(mask, MaskRule.AREA, grids).sheets()
    own, fine, coarse = tiles(sheet, 256, 256, 3)
    for tile, cells in ((own, 64), (fine, 8), (coarse, 4)):
        side, part = 256 // cells, 64 // cells
        means = mask.view(cells, part, cells, part).mean(dim=(1, 3))
        grown = means.repeat_interleave(side, 0).repeat_interleave(side, 1)
        assert torch.equal(tile, (grown * 255).round())
    assert len({tuple(tile.unique().tolist()) for tile in (own, fine, coarse)}) == 2
    label = (sheet[GAP : GAP + LABEL, GAP : GAP + 256] * 255).round()
    assert (label == PAPER).any() and (label > 150).sum() > 30


@pytest.mark.parametrize(
    ("grid", "sides"),
    [
        (LayerGrid(49, 65, 1), (196, 260)),
        (LayerGrid(1, 3, 1), (86, 258)),
        (LayerGrid(300, 100, 1), (300, 100)),
        (LayerGrid(2048, 1024, 1), (512, 256)),
        (LayerGrid(2048, 1, 1), (512, 1)),
    ],
)
def test_tiles_have_the_shape_of_the_picture_and_a_size_to_look_at(
    grid: LayerGrid, sides: tuple[int, int]
) -> None:
    view = MaskView(torch.ones(5, 9), MaskRule.AREA, [grid])
    (sheet,) = view.sheets()
    assert all(torch.equal(tile, torch.full(sides, 255.0)) for tile in tiles(sheet, *sides, 2))


def test_every_mask_has_a_sheet_up_to_a_bound_and_the_text_counts_all() -> None:
    stack = torch.linspace(0, 0.75, 40)[:, None, None].expand(40, 4, 4)
    view = MaskView(stack, MaskRule.AREA, [LayerGrid(2, 2, 3)])
    sheets = view.sheets()
    assert len(sheets) == 16
    shown = [float(tiles(sheet, 256, 256, 2)[1].unique()) for sheet in sheets]
    assert shown == (stack[:16, 0, 0] * 255).round().tolist()
    assert view.lines() == [
        "2 x 2, 3 layers: 0 % to 75 % open",
        "mask 1 is black: nowhere in the picture it is heard",
        "the pictures show the first 16 of 40 masks",
    ]


def spot(side: int, at: int = 20) -> Tensor:
    mask = torch.zeros(512, 512)
    mask[at : at + side, at : at + side] = 1
    return mask


def test_a_small_mask_is_said_to_be_lost_where_it_is() -> None:
    grids = layer_grids((64, 64), depths("SD1.5"))
    lines = MaskView(spot(24, at=8), MaskRule.AREA, grids).lines()
    # A cell of the third grid is 32 pixels wide: 576 of 1024 of them are more than half.
    assert not any("lost" in line for line in lines[:3])
    assert lines[3] == (
        "8 x 8, 1 layer: less than 1 % open; the mask is almost lost here, no cell hears more than "
        "14 %"
    )
    assert not any("lost" in line for line in MaskView(spot(300), MaskRule.AREA, grids).lines())
    # Bicubic without a mean steps over what lies between its points.
    (*_, last) = MaskView(spot(20, at=2), MaskRule.DIFFUSERS, grids).lines()
    assert last.endswith("almost lost here, no cell hears more than 0 %")


@pytest.mark.parametrize(
    ("side", "share"),
    [(4, "less than 1 %"), (512, "100 %"), (0, "0 %")],
)
def test_almost_nothing_and_almost_all_are_not_rounded_away(side: int, share: str) -> None:
    grid = [LayerGrid(8, 8, 1)]
    first = MaskView(spot(side, at=0), MaskRule.AREA, grid).lines()[0]
    assert first.startswith(f"8 x 8, 1 layer: {share} open")
    opposite = {"less than 1 %": "more than 99 %", "100 %": "0 %", "0 %": "100 %"}[share]
    first = MaskView(1 - spot(side, at=0), MaskRule.AREA, grid).lines()[0]
    assert first.startswith(f"8 x 8, 1 layer: {opposite} open")


def test_masks_that_are_lost_are_named() -> None:
    stack = torch.stack([spot(8), spot(400), torch.zeros(512, 512), spot(9), 0.3 * spot(400)])
    (line, black) = MaskView(stack, MaskRule.AREA, [LayerGrid(8, 8, 1)]).lines()
    assert "; masks 1, 4 are almost lost here, no cell hears more than 2 %" in line
    assert black.startswith("mask 3 is black")
    many = torch.stack([spot(8)] * 12 + [spot(400)])
    (line,) = MaskView(many, MaskRule.AREA, [LayerGrid(8, 8, 1)]).lines()
    assert "; masks 1, 2, 3, 4, 5, 6, 7, 8 and others are almost lost" in line
    (line,) = MaskView(many[:12], MaskRule.AREA, [LayerGrid(8, 8, 1)]).lines()
    assert "; every mask is almost lost" in line


def test_a_sheet_is_drawn_by_any_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ImageFont.load_default

    def old(*size: int) -> object:
        if size:
            raise TypeError("load_default() takes 0 positional arguments but 1 was given")
        return plain()

    monkeypatch.setattr(ImageFont, "load_default", old)
    (sheet,) = MaskView(torch.ones(4, 4), MaskRule.AREA, [LayerGrid(2, 2, 1)]).sheets()
    assert (sheet[GAP : GAP + LABEL, GAP : GAP + 256] > 0.7).sum() > 30
