"""The pictures made with the toy models are still what the nodes make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import live
import numpy
import pytest
import toy_pictures
from contact_sheet import EDGE, corner
from live import Client
from PIL import Image
from sheets import toy_sheet
from toys import put_files

WANTED = bool(os.environ.get("IPADAPTER_PICTURES"))
# Of 255, on the mean: what other processors and versions of torch make of the same numbers, and
# what is lost in the file.
TOLERANCE = 6
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
    corners = [
        corner(sheet.title, row, column)
        for row, cells in enumerate(sheet.rows)
        for column in range(len(cells))
    ]
    shown = {picture.crop((x, y, x + EDGE, y + EDGE)).tobytes() for x, y in corners}
    assert len(shown) == len(corners), "two of its pictures are the same"
    compare(toy_pictures.strip_path(node), picture)


def test_the_contact_sheet_is_what_the_demo_makes(server: Client) -> None:
    picture = toy_pictures.made(server, toy_sheet())
    compare(toy_pictures.README_SHEET, picture)
    compare(toy_pictures.THUMBNAIL, toy_pictures.thumbnail(picture))


def compare(path: Path, picture: Image.Image) -> None:
    if WANTED:
        picture.save(path, quality=88, method=6)
    with Image.open(path) as kept:
        assert kept.size == picture.size, AGAIN
        apart = numpy.asarray(kept.convert("RGB"), float) - numpy.asarray(picture, float)
    assert abs(apart).mean() < TOLERANCE, AGAIN
