"""The order of the tests names files that there are, and keeps together what shares a browser."""

from __future__ import annotations

from pathlib import Path

from conftest import ROOT
from kit.order import LAST_IN_A_TAB, SLOW, place, unit


def test_all_that_is_called_slow_exists() -> None:
    there = {path.name for path in (ROOT / "tests").glob("**/test_*.py")} | {"tests/browser"}
    assert set(SLOW) <= there and len(set(SLOW)) == len(SLOW)
    assert all((ROOT / name).is_file() for name in LAST_IN_A_TAB)


def test_the_slow_come_first_and_the_others_stay_as_they_are() -> None:
    files = ["tests/unit/test_a.py", "tests/host/test_parity.py", "tests/host/test_b.py"]
    files += ["tests/browser/test_c.py", "tests/host/test_toy_models.py"]
    assert [Path(file).stem for file in sorted(files, key=lambda file: place(f"{file}::t[x]"))] == [
        *("test_c", "test_toy_models", "test_parity", "test_a", "test_b")
    ]


def test_the_editor_is_one_piece_and_every_other_file_is_its_own() -> None:
    assert {unit(f"tests/browser/test_{name}.py::A::test") for name in "ab"} == {"tests/browser"}
    assert len({unit(f"tests/host/test_{name}.py::test[tests/browser/x]") for name in "ab"}) == 2
