"""The contact sheet shows every row once, says why one failed, and takes texts as texts."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from pack.farm.sheet import PAGE_ROWS, write_sheet
from PIL import Image

HOSTILE = '</figure><script>alert("x")</script> & "quoted" 😀'


class Page(HTMLParser):
    """What a page holds, as a browser reads it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, tag: str, name: str) -> list[str]:
        return [one[name] or "" for found, one in self.tags if found == tag and name in one]

    def number(self, tag: str) -> int:
        return [found for found, _ in self.tags].count(tag)


def line(row: int, **others: Any) -> dict[str, Any]:
    made = {"row": row, "file": "", "seconds": 1.5, "worker": "a:1", "message": "", "problem": ""}
    return {**made, "key": f"{row:04}", "prompt": f"a star {row}", **others}


def table(folder: Path, rows: list[dict[str, Any]]) -> Path:
    parquet.write_table(pa.Table.from_pylist(rows), folder / "results.parquet")
    return folder / "results.parquet"


def picture(folder: Path, name: str, size: tuple[int, int] = (600, 300)) -> str:
    (folder / "pictures").mkdir(exist_ok=True)
    Image.new("RGB", size, "red").save(folder / "pictures" / name)
    return f"pictures/{name}"


def test_equal_rows_share_a_small_picture(tmp_path: Path) -> None:
    name = picture(tmp_path, "a.png")
    rows = [line(row, file=name) for row in range(40)]
    for _ in range(5):
        sheet = write_sheet(table(tmp_path, rows))
        (small,) = sheet.parent.rglob("*.webp")
        small.unlink()


def test_rows_with_pictures_failed_ones_and_those_to_come(tmp_path: Path) -> None:
    message = "The adapter is for <SDXL>, the MODEL is SD1.5. Choose another"
    rows = [
        line(0, file=picture(tmp_path, "a 1#.png"), prompt=HOSTILE, scale=0.5),
        line(1, message=message, problem="ipadapter.WrongBase", scale=0.7),
        line(2, scale=None),
    ]
    page = Page(write_sheet(table(tmp_path, rows)))
    assert page.number("figure") == 3 and page.number("script") == 1
    assert "3 rows: 1 made, 1 failed, 1 not made yet" in page.text
    assert page.values("img", "alt") == [f"Row 0: {HOSTILE}"]
    assert message in page.text and "ipadapter.WrongBase" in page.text
    assert "scale 0.5" in page.text and "1.5 s" in page.text and "a:1" in page.text
    assert page.values("img", "loading") == ["lazy"]
    # What it shows is there, and small; what it leads to as well.
    (small,) = page.values("img", "src")
    with Image.open(tmp_path / unquote(small)) as image:
        assert image.size == (256, 128)
    for target in page.values("a", "href"):
        assert (tmp_path / unquote(target)).is_file(), target
    failed = Page(tmp_path / "failed.html")
    assert failed.number("figure") == 1 and message in failed.text


def test_a_long_table_has_pages_and_each_row_once(tmp_path: Path) -> None:
    many = 2 * PAGE_ROWS + 7
    rows = [line(row, message="It failed" if row % 500 == 3 else "") for row in range(many)]
    write_sheet(table(tmp_path, rows))
    names = ["index.html", "index-2.html", "index-3.html"]
    pages = [Page(tmp_path / name) for name in names]
    assert [page.number("figure") for page in pages] == [PAGE_ROWS, PAGE_ROWS, 7]
    assert all(set(names) <= set(page.values("a", "href")) for page in pages)
    every = "".join(page.text for page in pages)
    assert all(every.count(f"a star {row}Row {row} ") == 1 for row in range(0, many, 100))
    assert Page(tmp_path / "failed.html").number("figure") == 5
    # Made again after all went well it is shorter, and nothing old is left to be found.
    write_sheet(table(tmp_path, rows[:2]))
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["index.html"]


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nno picture", b"GIF89a"])
def test_a_broken_picture_is_linked_and_stops_nothing(tmp_path: Path, content: bytes) -> None:
    good = picture(tmp_path, "good.png")
    broken = tmp_path / "pictures" / "broken.png"
    broken.write_bytes(content)
    rows = [line(0, file="pictures/broken.png"), line(1, file=good), line(2, file="a/film.mp4")]
    page = Page(write_sheet(table(tmp_path, rows)))
    assert page.values("img", "src") == ["pictures/broken.png", "small/pictures/good.png.webp"]
    assert "film.mp4" in page.text
