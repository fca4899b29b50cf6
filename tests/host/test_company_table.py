"""What dev.py company says: its table, its exit code, and of packs that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from company import flight  # noqa: F401 - enters all pilots into the list
from company.meeting import AFTER, BEFORE, REFUSED, RIGHT, SILENT
from company.pilot import PILOTS, Pilot
from company.table import Entry, markdown, plain
from conftest import HOST, ROOT

SCRIPT = ROOT / "tests" / "company" / "run.py"


def outcome(order: str, way: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {"order": order, "way": way, "verdict": verdict, "distance": None, "words": ""} | more


def entry(*outcomes: dict[str, Any]) -> Entry:
    pilot = Pilot("a-pack", "a node", lambda pack, scene: None)  # type: ignore[arg-type]
    return Entry(pilot, "1234567", "0.33.0", list(outcomes))


def test_one_row_for_each_order_with_the_worst_first() -> None:
    made = entry(
        outcome(AFTER, "cfg 4, whole", RIGHT, distance=2e-6),
        outcome(AFTER, "cfg 4, mask", SILENT, distance=0.4),
        outcome(BEFORE, "cfg 4, whole", RIGHT, distance=1e-6),
        outcome(BEFORE, "cfg 4, mask", REFUSED, words="A sentence."),
    )
    assert made.ours
    assert [row[3:] for row in made.rows()] == [
        (AFTER, "4e-01", "not heard (cfg 4, mask). right (cfg 4, whole)"),
        (BEFORE, "1e-06", "refused (cfg 4, mask): A sentence. right (cfg 4, whole)"),
    ]
    assert "a-pack" in plain([made]) and "ComfyUI 0.33.0" in plain([made])


def test_a_refusal_is_no_fault_and_a_pack_that_is_missing_neither() -> None:
    assert not entry(outcome(AFTER, "w", REFUSED, words="A sentence.")).ours
    missing = entry({"words": "cannot be imported: needs a_part"})
    assert not missing.ours
    assert missing.rows() == [
        ("a-pack", "1234567", "a node", "", "", "cannot be imported: needs a_part")
    ]
    assert len(markdown([missing]).splitlines()) == 3


def test_readme_needs_one_row_where_the_order_makes_no_difference() -> None:
    words = "a long sentence " * 20
    both = [outcome(order, "w", REFUSED, words=words) for order in (AFTER, BEFORE)]
    last = markdown([entry(*both)]).splitlines()[-1]
    assert "| either order |" in last and len(last) < 250
    both[0] = outcome(AFTER, "w", RIGHT, distance=1e-6)
    assert len(markdown([entry(*both)]).splitlines()) == 4


def test_names_of_pilots_are_their_own() -> None:
    assert len({pilot.name for pilot in PILOTS}) == len(PILOTS)


def call(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env=os.environ | {"COMFYUI_PATH": str(HOST)} | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (("--packs", "nowhere"), {}, "nowhere is no folder"),
        ((), {"COMFYUI_PATH": "nowhere"}, "set $COMFYUI_PATH"),
    ],
)
def test_wrong_places_are_named(
    arguments: tuple[str, ...], variables: dict[str, str], words: str
) -> None:
    done = call(*arguments, **variables)
    assert done.returncode == 2
    assert words in done.stdout


def test_packs_that_are_not_there_are_said_to_be_missing(tmp_path: Path) -> None:
    written = tmp_path / "table.md"
    packs = tmp_path / "packs"
    packs.mkdir()
    done = call("--packs", packs, "--only", "deepcache", "--markdown", written)
    assert done.returncode == 2, done.stderr
    assert f"{packs} holds none of the packs with 'deepcache' in its name" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packs"]
    nothing = call("--only", "no such word")
    assert nothing.returncode == 2
    assert "No behaviour with 'no such word' in its name" in nothing.stdout
