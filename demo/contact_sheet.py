"""Lays the demo's pictures out on one sheet, with a line under each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from sheet_prompt import Cell

EDGE, GAP, MARGIN = 144, 10, 18
HEAD, LINE = 46, 22
INK, PALE, PAPER = "#222222", "#666666", "#ffffff"


def lay_out(title: str, rows: list[list[Cell]], path_of: Callable[[Cell], Path]) -> Image.Image:
    """The sheet of rows of cells.

    Args:
        path_of: where the picture of a cell is.
    """
    columns = max(len(row) for row in rows)
    width = 2 * MARGIN + columns * EDGE + (columns - 1) * GAP
    height = MARGIN + HEAD + len(rows) * (EDGE + LINE + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, ImageFont.load_default(16))
    small = ImageFont.load_default(12)
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            x = MARGIN + column * (EDGE + GAP)
            y = MARGIN + HEAD + row * (EDGE + LINE + GAP)
            with Image.open(path_of(cell)) as picture:
                whole = picture.convert("RGB")
            whole.thumbnail((EDGE, EDGE))
            if max(whole.size) < EDGE:
                factor = EDGE / max(whole.size)
                whole = whole.resize([round(edge * factor) for edge in whole.size], Image.BICUBIC)
            sheet.paste(whole, (x + (EDGE - whole.width) // 2, y + (EDGE - whole.height) // 2))
            draw.text((x, y + EDGE + 3), cell.caption, PALE, small)
    return sheet
