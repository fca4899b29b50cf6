"""Factors over steps and frames, by the formulae of the specification."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from pack.ip_models.errors import BadInput
from pack.ip_models.inputs import parse_numbers
from pack.ip_models.weights.schedule import Curve, Ramp, SigmaWindow
from pack.ip_models.weights.timing import Repeat, Timing

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


LINE = {"start": 1.0, "end": 0.0}
WHEN: dict[str, tuple[dict[str, Any], Timing, list[float]]] = {
    "begins at": (LINE, Timing(first=2), [1, 1, 1, 0.75, 0.5, 0.25, 0]),
    "ends at": (LINE, Timing(last=2), [1, 0.5, 0, 0, 0, 0, 0]),
    "between": (LINE, Timing(1, 5), [1, 1, 0.75, 0.5, 0.25, 0, 0]),
    "jumps": (LINE, Timing(3, 3), [1, 1, 1, 1, 0, 0, 0]),
    "never begins": (LINE, Timing(first=9), [1] * 7),
    "leads": (LINE, Timing(lead_in=2, lead_out=2), [1, 1, 1, 0.5, 0, 0, 0]),
    "leads of all": (LINE, Timing(lead_in=9, lead_out=9), [1] * 7),
    "lead and begin": (LINE, Timing(1, 3, lead_in=2), [1, 1, 1, 1, 0.5, 0, 0]),
    "loops": (LINE, Timing(repeat=Repeat.LOOP, length=3), [1, 0.5, 0, 1, 0.5, 0, 1]),
    "there and back": (LINE, Timing(repeat=Repeat.ALTERNATE, length=3), [1, 0.5, 0, 0, 0.5, 1, 1]),
    "each other": (LINE, Timing(repeat=Repeat.ALTERNATE, length=2), [1, 0, 0, 1, 1, 0, 0]),
    "of all": (
        LINE,
        Timing(repeat=Repeat.ALTERNATE),
        [6 / 6, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0],
    ),
    "list begins": ({"values": (3, 2, 1)}, Timing(first=2), [3, 3, 3, 2, 1, 1, 1]),
    "list ends": ({"values": (3, 2, 1)}, Timing(last=1), [3, 2, 2, 2, 2, 2, 2]),
    "list leads": ({"values": (3, 2, 1)}, Timing(lead_in=1, lead_out=4), [3, 3, 2, 2, 2, 2, 2]),
    "list loops": ({"values": (3, 2, 1)}, Timing(repeat=Repeat.LOOP), [3, 2, 1, 3, 2, 1, 3]),
    "list back": ({"values": (3, 2, 1)}, Timing(repeat=Repeat.ALTERNATE), [3, 2, 1, 1, 2, 3, 3]),
}


@pytest.mark.parametrize("name", WHEN)
def test_a_factor_changes_when_it_is_to(name: str) -> None:
    what, timing, expected = WHEN[name]
    ramp = Ramp(**what, timing=timing)
    assert [ramp.at(i, 7) for i in range(7)] == pytest.approx(expected)
    other = Ramp(**what, timing=timing, mirrored=True)
    together = 1 if what is LINE else 4
    assert [ramp.at(i, 7) + other.at(i, 7) for i in range(7)] == pytest.approx([together] * 7)


def test_random_factors_are_those_of_their_seed_and_place() -> None:
    def drawn(seed: int, count: int) -> list[float]:
        return [Ramp(0.2, 0.8, seed=seed).at(i, count) for i in range(count)]

    many = drawn(5, 2000)
    assert all(0.2 <= one <= 0.8 for one in many)
    assert sum(many) / 2000 == pytest.approx(0.5, abs=0.02)
    assert len(set(many)) == 2000
    assert drawn(5, 10) == many[:10]
    assert drawn(6, 10) != many[:10]
    held = Ramp(0.2, 0.8, seed=5, timing=Timing(first=3, last=5))
    assert [held.at(i, 9) for i in range(9)] == [*[many[0]] * 3, *many[:2], *[many[2]] * 4]


def test_a_change_does_not_end_before_it_begins() -> None:
    with pytest.raises(BadInput, match="first_frame is 5 and last_frame is 3"):
        Timing(5, 3)


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
