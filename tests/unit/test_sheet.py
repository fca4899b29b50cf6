"""Many pictures on one sheet."""

from __future__ import annotations

import pytest
import torch
from pack.ip_models import limits
from pack.ip_models.errors import BadInput
from pack.ip_models.pictures.sheet import Layout, headings, lay_out
from torch import Tensor

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def plain(height: int, width: int, colour: tuple[float, ...] = RED) -> Tensor:
    return torch.tensor(colour).expand(height, width, len(colour))


def box(sheet: Tensor, colour: tuple[float, ...]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of what has a colour."""
    rows, columns = sheet[0].eq(torch.tensor(colour)).all(-1).nonzero().unbind(1)
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1


def test_pictures_stand_in_rows_and_columns() -> None:
    pictures = [plain(60, 60)] * 4 + [plain(60, 60, BLUE)]
    sheet = lay_out(pictures, Layout(columns=3))
    top, left, bottom, right = box(sheet, RED)
    second = box(sheet, BLUE)
    assert (second[1] - left, second[0] > top) == ((right - left - 60) // 2, True)
    assert bottom - second[0] == 60 == second[3] - second[1]
    assert sheet.eq(1).all(-1).any() and sheet.shape[-1] == 3
    assert lay_out(pictures, Layout()).shape == sheet.shape  # three columns by itself


def test_pictures_of_other_sizes_stand_in_the_middle_and_alpha_is_dropped() -> None:
    sheet = lay_out([plain(100, 80), plain(50, 20, (*BLUE, 0.5))], Layout(columns=2))
    one, other = box(sheet, RED), box(sheet, BLUE)
    assert (one[2] - one[0], one[3] - one[1]) == (100, 80)
    assert other[0] - one[0] == one[2] - other[2] == 25


def test_a_side_is_as_long_as_wanted_and_a_sheet_no_larger_than_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    top, left, bottom, right = box(lay_out([plain(100, 50)], Layout(side=40)), RED)
    assert (bottom - top, right - left) == (40, 20)
    monkeypatch.setattr(limits, "SHEET_PIXELS", 4 * 100)
    top, left, bottom, right = box(lay_out([plain(100, 100)] * 4, Layout(columns=4)), RED)
    assert bottom - top == 10


def test_labels_make_room_and_stand_at_their_row_and_column() -> None:
    four = [plain(90, 90)] * 4
    bare = lay_out(four, Layout(columns=2))
    labels = ["linear | scale 0", "linear | scale 1", "style | scale 0", "style | scale 1"]
    headed = lay_out(four, Layout(labels, columns=2))
    assert headed.shape[2] > bare.shape[2] + 30  # names of rows at the left
    below = lay_out(four, Layout(["one", "two", "three", "four"], columns=2))
    assert below.shape[1] > bare.shape[1] + 20 and below.shape[2] == bare.shape[2]
    ink = torch.tensor([34, 34, 34]) / 255
    top, left, bottom, right = box(headed, RED)
    dark = headed[0].eq(ink).all(-1)
    assert dark[:top].any() and dark[:, :left].any() and not dark[bottom:].any()
    titled = lay_out(four, Layout(columns=2, title="A title"))
    assert titled[0, : box(titled, RED)[0]].eq(ink).all(-1).any()


@pytest.mark.parametrize("label", ["x" * 5000, "a word " * 900, "强度 0.5 测试", "шкала", "\n"])
def test_any_label_stays_on_the_sheet(label: str) -> None:
    sheet = lay_out([plain(64, 64)] * 2, Layout([label, label], columns=2))
    assert max(sheet.shape[1:3]) < 400


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        (["a | 1", "a | 2", "b | 1", "b | 3"], 2),
        (["a | 1", "b | 2", "a | 1", "b | 2"], 2),
        (["a | 1", "a | 2", "b | 1"], 2),
        (["a | 1", "a | 2"], 2),
        (["1", "2", "1", "2"], 2),
        (["a | 1", "a | 1"], 1),
    ],
)
def test_labels_that_differ_in_a_row_or_column_stand_under_their_pictures(
    labels: list[str], columns: int
) -> None:
    assert headings(labels, columns) is None


@pytest.mark.parametrize("count", [0, limits.SHEET_PICTURES + 1])
def test_none_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(BadInput, match=f"{count} images are connected"):
        lay_out([plain(1, 1)] * count, Layout())
