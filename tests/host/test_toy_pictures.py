"""The pictures made with the toy models are still what the nodes make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from kit.pages import toy_pictures
from kit.server import live
from kit.server.live import Client
from pack.ip_models.pictures.sheet import Plan
from PIL import Image
from sheet_prompt import EDGE
from sheets import Sheet, toy_sheet
from toys import put_files

WANTED = bool(os.environ.get("IPADAPTER_PICTURES"))
# Of 255, on the mean of a picture: what other processors and versions of torch make of the same
# numbers, and what is lost in the file.
TOLERANCE = 6
Box = tuple[int, int, int, int]
AGAIN = "make them anew with IPADAPTER_PICTURES=1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("toys")
    put_files(base / "models", base / "input")
    with live.running(base, base / "models") as client:
        yield client


@pytest.mark.parametrize("node", toy_pictures.STRIPS)
def test_a_help_page_shows_what_its_node_does(node: str, server: Client) -> None:
    sheet = toy_pictures.strip(node)
    picture = toy_pictures.made(server, sheet)
    shown = {picture.crop(box).tobytes() for box in boxes(sheet)}
    assert len(shown) == len(boxes(sheet)), "two of its pictures are the same"
    compare(toy_pictures.strip_path(node), picture, boxes(sheet))


def test_the_contact_sheet_is_what_the_demo_makes(server: Client) -> None:
    sheet = toy_sheet()
    picture = toy_pictures.made(server, sheet)
    compare(toy_pictures.README_SHEET, picture, boxes(sheet))
    small = toy_pictures.thumbnail(picture)
    compare(toy_pictures.THUMBNAIL, small, [(0, 0, *small.size)])


def boxes(sheet: Sheet) -> list[Box]:
    captions = [one for row in sheet.rows for cell in row for one in cell.captions]
    plan = Plan([(EDGE, EDGE)] * len(captions), captions, sheet.columns, sheet.title)
    return [(x, y, x + EDGE, y + EDGE) for x, y in plan.places]


def compare(path: Path, picture: Image.Image, parts: list[Box]) -> None:
    if WANTED:
        picture.save(path, quality=88, method=6)
    with Image.open(path) as kept:
        assert kept.size == picture.size, AGAIN
        whole = kept.convert("RGB")
    for box in parts:
        one, other = (numpy.asarray(each.crop(box), float) for each in (whole, picture))
        assert abs(one - other).mean() < TOLERANCE, f"{AGAIN}: {box}"
