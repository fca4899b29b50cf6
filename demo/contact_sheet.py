"""Lays the demo's pictures out on one sheet, with a line under each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from sheet_prompt import Cell

EDGE, GAP, MARGIN = 144, 10, 18
HEAD, LINE = 46, 22
INK, PALE, PAPER = "#222222", "#666666", "#ffffff"


def lay_out(title: str, rows: list[list[Cell]], path_of: Callable[[Cell], Path]) -> Image.Image:
    """The sheet of rows of cells.

    Args:
        title: may be empty.
        path_of: where the picture of a cell is.
    """
    columns = max(len(row) for row in rows)
    right, bottom = corner(title, len(rows), columns)
    sheet = Image.new("RGB", (right - GAP + MARGIN, bottom), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, ImageFont.load_default(16))
    small = ImageFont.load_default(12)
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            x, y = corner(title, row, column)
            with Image.open(path_of(cell)) as picture:
                whole = picture.convert("RGB")
            square = ImageOps.pad(whole, (EDGE, EDGE), Image.Resampling.BICUBIC, PAPER)
            sheet.paste(square, (x, y))
            draw.text((x, y + EDGE + 3), cell.caption, PALE, small)
    return sheet


def corner(title: str, row: int, column: int) -> tuple[int, int]:
    """Where the picture of a cell begins."""
    top = MARGIN + (HEAD if title else 0)
    return MARGIN + column * (EDGE + GAP), top + row * (EDGE + LINE + GAP)
