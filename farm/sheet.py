"""A contact sheet of a result table: HTML pages with small pictures, to look a night through.

Pages are plain files that need no server: `index.html` and, where some rows failed, `failed.html`;
a table that is longer than a page goes on in `index-2.html` and so on.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image

from .keeper import write_whole
from .table.columns import as_meant
from .work import counted

PAGE_ROWS = 1000
SMALL = 256
SMALL_FOLDER = "small"
# What a browser shows by itself; of anything else only a link is shown.
SHOWN = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif")
# The farm's own columns; all others are the job's, and say what was asked for.
OWN = ("row", "file", "seconds", "worker", "message", "problem", "key")
PROMPT = "prompt"
CAPTION = 2000
HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif }}
body {{ margin: 0 }}
header {{ position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 4px 16px;
  align-items: center; padding: 8px 16px; background: Canvas; border-bottom: 1px solid #8886 }}
h1 {{ margin: 0; font-size: 16px }}
nav {{ display: flex; flex-wrap: wrap; gap: 4px 12px }}
nav [aria-current] {{ font-weight: bold; color: inherit; text-decoration: none }}
input {{ font: inherit; padding: 2px 6px; width: 12em }}
main {{ display: grid; gap: 16px 12px; padding: 16px;
  grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)) }}
figure {{ margin: 0; min-width: 0; content-visibility: auto; contain-intrinsic-size: 180px 260px }}
figure[hidden] {{ display: none }}
.picture {{ display: grid; place-items: center; aspect-ratio: 1; position: relative;
  background: #8882 }}
.picture img {{ position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain }}
.more {{ display: flex; flex-wrap: wrap; gap: 2px; margin-top: 2px }}
.more img {{ width: 44px; height: 44px; object-fit: contain; background: #8882 }}
.failed .picture {{ box-shadow: inset 4px 0 #c33; place-items: start; overflow: auto }}
.failed .picture p {{ margin: 8px 8px 8px 12px; overflow-wrap: anywhere }}
figcaption {{ overflow-wrap: anywhere }}
.prompt {{ display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3;
  overflow: hidden; margin: 4px 0 0 }}
.facts {{ margin: 2px 0 0; font-size: 12px; opacity: .75 }}
</style>
"""
# Hides what holds not all of the words; without scripts all rows are simply shown.
SCRIPT = """<script>
const field = document.querySelector("input"), said = document.querySelector("output")
const rows = [...document.querySelectorAll("figure")]
const texts = rows.map((row) => row.textContent.toLowerCase())
field.hidden = false
field.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/ +/)
  rows.forEach((row, place) => {
    row.hidden = !words.every((word) => texts[place].includes(word))
  })
  said.value = field.value && `${rows.filter((row) => !row.hidden).length} of this page`
})
</script>
"""


@dataclass(frozen=True)
class Counts:
    """How many rows came to which end."""

    rows: int
    failed: int
    waiting: int

    @property
    def text(self) -> str:
        """In words, without what there is none of."""
        ends = {"made": self.rows - self.failed - self.waiting, "failed": self.failed}
        ends["not made yet"] = self.waiting
        parts = [f"{number:,} {name}" for name, number in ends.items() if number]
        return f"{counted(self.rows, 'row')}: {', '.join(parts)}" if parts else "no rows"


def write_sheet(table: Path, title: str = "") -> Path:
    """Write the pages of a result table beside it.

    Args:
        table: a Parquet file; the files in it are named from its folder.

    Returns:
        The first page.
    """
    folder = table.parent
    counts = count(table)
    make_small(folder, (name for row in read(table) for name in files(row)))
    title = title or f"Pictures of {folder.resolve().name}"
    for page in [*folder.glob("index*.html"), *folder.glob("failed*.html")]:
        page.unlink()  # a longer table was here before
    write_pages(folder, "index", Pages(title, counts), read(table))
    if counts.failed:
        failed = (row for row in read(table) if row.get("message"))
        write_pages(folder, "failed", Pages(title, counts), failed)
    return folder / "index.html"


def read(table: Path) -> Iterator[Mapping[str, Any]]:
    """The rows, of which a page at a time is in memory."""
    with parquet.ParquetFile(table) as file:
        for batch in file.iter_batches(batch_size=PAGE_ROWS):
            made = pa.Table.from_batches([batch])
            # The job's own columns as texts and numbers: Python has no word for some of the others.
            asked = as_meant(made.drop_columns([name for name in OWN if name in made.column_names]))
            made = made.drop_columns(asked.meant.column_names)
            for own, cells in zip(made.to_pylist(), asked.meant.to_pylist(), strict=True):
                yield {**own, **cells}


def count(table: Path) -> Counts:
    rows = failed = waiting = 0
    with parquet.ParquetFile(table) as file:
        for batch in file.iter_batches(columns=["file", "message"]):
            for row in batch.to_pylist():
                rows += 1
                failed += bool(row["message"])
                waiting += not row["message"] and not files(row)
    return Counts(rows, failed, waiting)


def files(row: Mapping[str, Any]) -> Sequence[str]:
    """The pictures of a row, named from the table's folder."""
    found = row.get("file")
    return [found] if isinstance(found, str) and found else found or []


def make_small(folder: Path, names: Iterable[str]) -> None:
    """Small pictures of those that have none yet; a picture that cannot be read stays without."""
    missing = (name for name in names if shown(name) and not small(folder, name).exists())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # As many at a time as a page has: a pool takes all that it is given into memory.
        while some := list(islice(missing, PAGE_ROWS)):
            # Equal rows share a picture, which two threads must not make at once.
            list(pool.map(partial(_make_small, folder), dict.fromkeys(some)))


def _make_small(folder: Path, name: str) -> None:
    try:
        with Image.open(folder / name) as image:
            image.thumbnail((SMALL, SMALL))
            made = io.BytesIO()
            image.convert("RGB").save(made, "WEBP", quality=80)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return
    target = small(folder, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, made.getvalue())


def small(folder: Path, name: str) -> Path:
    return folder / SMALL_FOLDER / f"{name}.webp"


def shown(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SHOWN


@dataclass(frozen=True)
class Pages:
    """What stands at the top of every page."""

    title: str
    counts: Counts

    def head(self, kind: str, number: int) -> str:
        """Title, counts and ways to the other pages.

        Args:
            kind: "index" or "failed".
        """
        counts = self.counts
        kinds = {"index": ("All", counts.rows), "failed": ("Failed", counts.failed)}
        links = [
            _link(_page(name, 1), f"{word} {rows:,}", name == kind)
            for name, (word, rows) in kinds.items()
            if rows or name == "index"
        ]
        last = max(1, -(-kinds[kind][1] // PAGE_ROWS))
        near = [one for one in range(number - 3, number + 4) if 1 < one < last]
        numbers = sorted({1, *near, last}) if last > 1 else []
        pages = [_link(_page(kind, one), f"{one:,}", one == number) for one in numbers]
        return (
            f"{HEAD.format(title=escape(self.title))}<header><h1>{escape(self.title)}</h1>"
            f"<span>{escape(counts.text)}</span>"
            f'<nav aria-label="Which rows">{"".join(links)}</nav>'
            + (f'<nav aria-label="Pages">Page {"".join(pages)}</nav>' if pages else "")
            + '<input type="search" hidden placeholder="Find on this page" '
            'aria-label="Find on this page"><output></output></header>\n<main>\n'
        )


def _page(kind: str, number: int) -> str:
    return f"{kind}.html" if number == 1 else f"{kind}-{number}.html"


def _link(target: str, text: str, here: bool) -> str:
    return f'<a href="{target}"{" aria-current=page" if here else ""}>{escape(text)}</a>'


def write_pages(folder: Path, kind: str, pages: Pages, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the pages of one kind, each as soon as it is full; one at least."""
    number, figures = 1, list[str]()
    for row in rows:
        if len(figures) == PAGE_ROWS:
            _write_page(folder, pages.head(kind, number), kind, number, figures)
            number, figures = number + 1, []
        figures.append(figure(folder, row))
    _write_page(folder, pages.head(kind, number), kind, number, figures)


def _write_page(folder: Path, head: str, kind: str, number: int, figures: list[str]) -> None:
    text = "".join([head, *figures, "</main>\n", SCRIPT, "</html>\n"])
    write_whole(folder / _page(kind, number), text.encode("utf-8", "replace"))


def figure(folder: Path, row: Mapping[str, Any]) -> str:
    """A row: its pictures or why there are none, what was asked for, who made it."""
    names, message = files(row), row.get("message")
    asked = str(row.get(PROMPT) or "")[:CAPTION]
    place = f"Row {row['row']}"
    if message:
        problem = escape(row.get("problem") or "").replace(".", ".<wbr>")
        shown_part = f'<div class="picture"><p><b>{problem}</b> {escape(message)}</p></div>'
    elif names:
        shown_part = _pictures(folder, names, f"{place}: {asked}" if asked else place)
    else:
        shown_part = '<div class="picture"><p>not made yet</p></div>'
    caption = f'<p class="prompt" title="{escape(asked)}">{escape(asked)}</p>' if asked else ""
    facts = " · ".join(escape(fact) for fact in (place, *_facts(row)))
    return (
        f"<figure{' class=failed' if message else ''}>{shown_part}"
        f'<figcaption>{caption}<p class="facts">{facts}</p></figcaption></figure>\n'
    )


def _pictures(folder: Path, names: Sequence[str], words: str) -> str:
    first, *others = (
        _picture(folder, name, words if number == 1 else f"{words} ({number})")
        for number, name in enumerate(names, 1)
    )
    more = f'<div class="more">{"".join(others)}</div>' if others else ""
    return f'<div class="picture">{first}</div>{more}'


def _picture(folder: Path, name: str, words: str) -> str:
    whole = quote(name)
    if not shown(name):
        return f'<a href="{whole}">{escape(PurePosixPath(name).name)}</a>'
    source = quote(f"{SMALL_FOLDER}/{name}.webp") if small(folder, name).exists() else whole
    image = f'<img src="{source}" alt="{escape(words)}" loading="lazy" decoding="async">'
    return f'<a href="{whole}">{image}</a>'


def _facts(row: Mapping[str, Any]) -> Iterator[str]:
    """The job's own columns, short, then what it took and who did it."""
    for name, value in row.items():
        if name not in (*OWN, PROMPT) and value not in (None, ""):
            text = str(value)
            yield f"{name} {PurePosixPath(text).name if '/' in text else text}"[:CAPTION]
    if row.get("seconds"):
        yield f"{row['seconds']:.1f} s"
    if row.get("worker"):
        yield f"{row['worker']}"
