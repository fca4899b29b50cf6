"""CONTRIBUTING.md names files and functions that are there, and every room once."""

from __future__ import annotations

import ast
import re

import pytest
from conftest import ROOT
from test_architecture import FLOORS

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
STATIONS = re.findall(r"^\|[^|]+\| `([\w/]+\.py)` `([\w.]+)` \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("file", "name"), STATIONS, ids=[name for _, name in STATIONS])
def test_every_station_is_there(file: str, name: str) -> None:
    body = ast.parse((ROOT / file).read_text("utf-8")).body
    for part in name.split("."):
        found = [node for node in body if getattr(node, "name", None) == part]
        assert found, f"{file} has no {name}"
        body = getattr(found[0], "body", [])


def test_the_way_has_as_many_stations_as_rows() -> None:
    life = TEXT.split("## The life of one reference picture")[1].split("\n## ")[0]
    rows = [line for line in life.splitlines() if line.startswith("| ")]
    assert len(STATIONS) == len(rows) - 1 > 10


def test_files_that_are_named_exist() -> None:
    named = set(re.findall(r"`((?:nodes|ip_models|tests|demo|locales)/[\w/.]+)`", TEXT))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_drawing_has_every_room() -> None:
    drawing = TEXT.split("## The floors")[1].split("\n## ")[0]
    rooms = [place.removesuffix(".py").split("/")[-1] for floor in FLOORS for place in floor]
    assert [name for name in rooms if name not in drawing] == ["sockets"]
