"""Factors over steps and frames, by the formulae of the specification."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from pack.ip_models.errors import BadInput
from pack.ip_models.inputs import parse_numbers
from pack.ip_models.weights.schedule import Curve, Ramp, SigmaWindow

BY_THE_BOOK: dict[str, Callable[[float], float]] = {  # section 4.1, frame weights
    "linear": lambda x: x,
    "ease_in_out": lambda x: (1 - math.cos(math.pi * x)) / 2,
    "ease_in": lambda x: math.sin(math.pi * x / 2),
    "ease_out": lambda x: 1 - math.cos(math.pi * x / 2),
}


@pytest.mark.parametrize("curve", list(Curve))
@pytest.mark.parametrize("count", [2, 5, 16])
def test_a_curve_goes_from_its_start_to_its_end(curve: Curve, count: int) -> None:
    ramp = Ramp(0.2, 1.4, curve)
    for i in range(count):
        expected = 0.2 + 1.2 * BY_THE_BOOK[curve.value](i / (count - 1))
        assert ramp.at(i, count) == pytest.approx(expected, abs=1e-12)
    assert ramp.at(0, count) == pytest.approx(0.2)
    assert ramp.at(count - 1, count) == pytest.approx(1.4)


def test_a_single_step_or_frame_has_the_first_factor() -> None:
    assert Ramp(0.3, 0.9).at(0, 1) == 0.3


def test_a_list_is_taken_one_by_one_and_its_last_goes_on() -> None:
    ramp = Ramp(7, 7, Curve.EASE_IN, (1.0, 0.5, 0.25))
    assert [ramp.at(i, 5) for i in range(5)] == [1.0, 0.5, 0.25, 0.25, 0.25]


def test_places_beyond_the_end_stay_at_the_end() -> None:
    assert Ramp(0, 1).at(9, 5) == 1
    assert Ramp(0, 1).at(-1, 5) == 0
    listed = Ramp(values=(1.0, 0.5, 0.25))
    assert (listed.at(-1, 5), listed.at(9, 5)) == (1.0, 0.25)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(BadInput, match="finite"):
        Ramp(1.0, number)


def test_a_window_without_percents_stays_what_it_is() -> None:
    window = SigmaWindow(3.0, 1.0)
    assert window.under(lambda percent: 99.0) is window


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        ("  ", []),
        ("1", [1]),
        ("1, 0.5,-2e-1", [1, 0.5, -0.2]),
        ("1\n0.5,\n", [1, 0.5]),
        ("1,", [1]),
        ("None", []),
        ("null", []),
        ("[1, 0.5]", [1, 0.5]),
    ],
)
def test_numbers_are_separated_by_commas_or_lines(text: str, numbers: list[float]) -> None:
    assert parse_numbers(text, "values") == numbers


@pytest.mark.parametrize("text", ["a", "1,,2", "1 2", "nan", "inf", "1e9", "1; 2", ",1", ","])
def test_anything_else_is_refused_with_what_was_written(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_numbers(text, "values")
    assert f'"{text}"' in refused.value.found and refused.value.found.startswith("values")
