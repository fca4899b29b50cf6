"""Many pictures on one, in rows and columns, with labels."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .. import limits
from ..errors import BadInput
from ..weights.sweep import SEPARATOR
from .fit import to_bytes

_PAPER, _INK = (255, 255, 255), (34, 34, 34)
_GAP_SHARE, _TEXT_SHARE, _TITLE_SHARE = 1 / 24, 1 / 14, 1 / 10  # of the side of a picture
_LEAST_TEXT, _MOST_TEXT = 12, 64
_LABEL, _LINES = 200, 4  # characters and lines that are shown
# Pillow's own has Latin letters alone; these come with systems and have the others.
_FONTS = ("NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc", "DejaVuSans.ttf", "arial.ttf")
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


@dataclass(frozen=True)
class Layout:
    """How pictures are laid out.

    Attributes:
        labels: one for each picture, or fewer; one that says what its whole row and its whole
            column are stands at their beginning instead.
        columns: 0 for about as many as rows.
        title: over all of them.
        side: long side of each picture in pixels, 0 for what it has.
    """

    labels: Sequence[str] = ()
    columns: int = 0
    title: str = ""
    side: int = 0


@dataclass(frozen=True)
class Headings:
    """What is written where, instead of under each picture."""

    rows: list[str]
    columns: list[str]


def lay_out(images: Sequence[Tensor], layout: Layout) -> Tensor:
    """(height, width, channels) each, of any sizes, on one sheet (1, height, width, 3).

    Raises:
        BadInput: there are none, or too many.
    """
    if not 0 < len(images) <= limits.SHEET_PICTURES:
        raise BadInput(
            f"{len(images)} images are connected",
            f"1 to {limits.SHEET_PICTURES} fit on a sheet",
            "Connect fewer of them, or one at all",
        )
    columns = min(layout.columns or math.ceil(math.sqrt(len(images))), len(images))
    rows = math.ceil(len(images) / columns)
    pictures = _sized([_picture(image) for image in images], layout.side, rows * columns)
    labels = [" ".join(label.split())[:_LABEL] for label in layout.labels][: len(pictures)]
    plan = Plan([one.size for one in pictures], labels, columns, layout.title)
    return torch.from_numpy(numpy.array(plan.drawn(pictures))).float()[None] / 255


def headings(labels: Sequence[str], columns: int) -> Headings | None:
    """Labels of rows and of columns, if each says both and no two of a row or column differ."""
    if columns < 2 or len(labels) <= columns or len(labels) % columns:
        return None
    parts = [label.rpartition(SEPARATOR) for label in labels]
    of_rows, of_columns = ([part[i] for part in parts] for i in (0, 2))
    rows, across = of_rows[::columns], of_columns[:columns]
    regular = of_rows == [row for row in rows for _ in across] and of_columns == across * len(rows)
    return Headings(rows, across) if regular and all(rows) and all(across) else None


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(to_bytes(image[None])[0].numpy())


def _sized(pictures: list[Image.Image], side: int, cells: int) -> list[Image.Image]:
    """All with a long side as wanted, and small enough for the whole sheet."""
    factors = [side / max(one.size) if side else 1.0 for one in pictures]
    shown = [(one.width * f, one.height * f) for one, f in zip(pictures, factors, strict=True)]
    whole = max(width for width, _ in shown) * max(height for _, height in shown) * cells
    shrink = min(1.0, math.sqrt(limits.SHEET_PIXELS / whole))
    return [_scaled(one, f * shrink) for one, f in zip(pictures, factors, strict=True)]


def _scaled(picture: Image.Image, factor: float) -> Image.Image:
    size = (max(round(picture.width * factor), 1), max(round(picture.height * factor), 1))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


class Plan:
    """Where everything stands, in pixels.

    Attributes:
        size: of the sheet.
        places: upper left corner of each place; a smaller picture stands in its middle.
        width, height: of a place.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], labels: Sequence[str], columns: int, title: str
    ) -> None:
        self.width, self.height = (max(size[side] for size in sizes) for side in (0, 1))
        self.columns, rows = columns, math.ceil(len(sizes) / columns)
        short = min(self.width, self.height)
        self.gap = max(round(short * _GAP_SHARE), 4)
        self.text = min(max(round(short * _TEXT_SHARE), _LEAST_TEXT), _MOST_TEXT)
        heads = headings(labels, columns)
        self.heads = self._blocks(heads.columns if heads else ())
        self.sides = self._blocks(heads.rows if heads else ())
        self.labels = self._blocks(() if heads else labels)
        step = self.width + self.gap
        self.title = _Block(title[:_LABEL], round(self.text * 1.4), columns * step - self.gap)
        self.left = self.gap + max((one.width + self.gap for one in self.sides), default=0)
        self.top = self.gap + (self.title.height + self.gap if title else 0)
        down = self.top + max((one.height + self.gap // 2 for one in self.heads), default=0)
        self.places: list[tuple[int, int]] = []
        for row in range(rows):
            self.places += [(self.left + column * step, down) for column in range(columns)]
            below = self.labels[row * columns :][:columns]
            down += self.height + max((one.height for one in below), default=0) + self.gap
        self.size = (self.left + columns * step, down)

    def _blocks(self, texts: Sequence[str]) -> list[_Block]:
        return [_Block(text, self.text, self.width) for text in texts]

    def drawn(self, pictures: Sequence[Image.Image]) -> Image.Image:
        """The sheet."""
        sheet = Image.new("RGB", self.size, _PAPER)
        pen = ImageDraw.Draw(sheet)
        self.title.draw(pen, self.left, self.gap)
        for block, (x, _) in zip(self.heads, self.places, strict=False):
            block.draw(pen, x + (self.width - block.width) // 2, self.top)
        for block, (_, y) in zip(self.sides, self.places[:: self.columns], strict=False):
            block.draw(pen, self.gap, y + (self.height - block.height) // 2)
        for block, (x, y) in zip(self.labels, self.places, strict=False):
            block.draw(pen, x, y + self.height)
        for picture, (x, y) in zip(pictures, self.places, strict=False):
            middle = (self.width - picture.width) // 2, (self.height - picture.height) // 2
            sheet.paste(picture, (x + middle[0], y + middle[1]))
        return sheet


class _Block:
    """Lines of a text that are no wider than they may be."""

    def __init__(self, text: str, size: int, most: int) -> None:
        self.font = font(text, size)
        letter = max(self.font.getlength("x"), self.font.getlength(text) / max(len(text), 1))
        wide = max(int(most / max(letter, 1)), 1)
        lines = textwrap.wrap(text, wide, max_lines=_LINES, placeholder="…") if wide > 1 else [text]
        self.text = "\n".join(lines)
        self.width = math.ceil(max((self.font.getlength(line) for line in lines), default=0))
        self.line = round(size * 1.25)
        self.height = self.line * len(lines)

    def draw(self, pen: ImageDraw.ImageDraw, x: int, y: int) -> None:
        for number, line in enumerate(self.text.split("\n")):
            pen.text((x, y + number * self.line), line, fill=_INK, font=self.font)


def font(text: str, size: int) -> Font:
    """One that has the letters of a text, where there is one."""
    for name in () if text.isascii() else _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except (OSError, ImportError):  # not here, or a Pillow without FreeType
            continue
    try:
        return ImageFont.load_default(size)
    except (TypeError, ImportError, OSError):  # Pillow before 10.1, or one without FreeType
        return ImageFont.load_default()
