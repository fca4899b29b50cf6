"""Lists of settings to compare."""

from __future__ import annotations

import pytest
from pack.ip_models.errors import BadInput
from pack.nodes.compare.sweep import SweepSettings


def made(
    scales: str = "", presets: str = "", starts: str = "", ends: str = "", **more: str
) -> list:
    return list(SweepSettings.execute(scales, presets, starts, ends, **more).args)


def test_one_list_is_one_row() -> None:
    scales, presets, starts, ends, labels, columns = made("0, 0.5,1")
    assert (scales, columns) == ([0, 0.5, 1], 3)
    assert (presets, starts, ends) == (["linear"] * 3, [0] * 3, [1] * 3)
    assert labels == ["scale 0", "scale 0.5", "scale 1"]


def test_two_lists_are_rows_and_columns() -> None:
    scales, presets, _, _, labels, columns = made("0.5, 1", "linear\nstyle transfer, composition\n")
    assert (scales, columns) == ([0.5, 1] * 3, 2)
    assert presets == ["linear"] * 2 + ["style transfer"] * 2 + ["composition"] * 2
    assert labels[3] == "style transfer | scale 1"


def test_lists_can_go_side_by_side() -> None:
    order = {"order": "one after the other"}
    scales, _, starts, ends, labels, columns = made("1", "", "0, 0.3, 0.6", "0.3, 0.6", **order)
    assert (starts, ends) == ([0, 0.3, 0.6], [0.3, 0.6, 0.6])
    assert (scales, columns, labels[1]) == ([1] * 3, 3, "start 0.3 | end 0.6 | scale 1")


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ((), "no values are entered"),
        (("0, loud",), "numbers separated by commas"),
        (("0, 9",), "number 2 of scales is 9"),
        (("1", "linear, wild"), '"wild" in presets is not known'),
        (("1", "", "1.5"), "number 1 of start_percents is 1.5"),
        (("1", "", "0, 0.8", "0.5"), "start 0.8 with end 0.5 would be one of the runs"),
        ((", ".join(["1"] * 21), "", ", ".join(["0"] * 20)), "make 420 pictures"),
    ],
)
def test_what_is_no_setting_is_refused(lists: tuple[str, ...], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        made(*lists)
