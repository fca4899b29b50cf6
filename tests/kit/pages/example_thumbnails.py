"""The pictures by which the editor's template list shows the example workflows.

`python -m kit.pages.example_thumbnails` draws them: what goes in, by which way, and what of it is
heard. They are diagrams on purpose, because a result can only be shown by real models.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from kit.pages.example_graphs import (
    BALL,
    CAT,
    HOUSE,
    MASK_LEFT,
    MASK_RIGHT,
    PANORAMA,
    PERSON_A,
    PERSON_B,
    ROOM,
    STEMS,
    WAVES,
)
from kit.pages.example_inputs import INPUTS, frame, half
from PIL import Image, ImageDraw, ImageFont

EXAMPLES = Path(__file__).resolve().parents[3] / "example_workflows"
WIDTH, HEIGHT, TIMES = 400, 300, 2
PAPER, PANEL, INK, GREY, WIRE = "#202225", "#2e3136", "#f1f1f1", "#a9adb5", "#e0a13a"
SIDE = 96
LIMIT = 39_000

Pen = ImageDraw.ImageDraw


class Card:
    """A thumbnail in the making, in units of its finished pixels."""

    def __init__(self, title: str) -> None:
        self.image = Image.new("RGB", (WIDTH * TIMES, HEIGHT * TIMES), PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self.words(WIDTH / 2, 34, title, 25)

    def words(self, x: float, y: float, text: str, size: int = 15, fill: str = INK) -> None:
        font = ImageFont.load_default(size * TIMES)
        self.pen.text((x * TIMES, y * TIMES), text, fill, font, "mm", align="center")

    def panel(self, x: float, y: float, w: float, h: float, fill: str, edge: str = GREY) -> None:
        box = (x * TIMES, y * TIMES, (x + w) * TIMES, (y + h) * TIMES)
        self.pen.rounded_rectangle(box, 8 * TIMES, fill, edge, 2 * TIMES)

    def wire(self, x1: float, y1: float, x2: float, y2: float) -> None:
        ends = [(x1 * TIMES, y1 * TIMES), (x2 * TIMES, y2 * TIMES)]
        self.pen.line(ends, WIRE, 4 * TIMES)
        x, y = ends[1]
        tip = 8 * TIMES
        self.pen.polygon([(x + tip, y), (x - tip / 2, y - tip), (x - tip / 2, y + tip)], WIRE)

    def paste(self, picture: Image.Image, x: float, y: float, side: float) -> None:
        size = round(side * TIMES)
        small = picture.convert("RGBA").resize((size, size), Image.Resampling.LANCZOS)
        self.image.paste(small, (round(x * TIMES), round(y * TIMES)), small)

    def picture(self, name: str, x: float, y: float, side: float, word: str = "") -> None:
        drawn = {BALL: lambda: frame(6), MASK_RIGHT: lambda: half(False)}
        shown = drawn[name]() if name in drawn else Image.open(INPUTS / name)
        self.panel(x - 3, y - 3, side + 6, side + 6, "#55585f")
        self.paste(shown, x, y, side)
        if word:
            self.words(x + side / 2, y + side + 16, word, 14, GREY)

    def finished(self) -> Image.Image:
        return self.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _card(
    title: str, pictures: tuple[tuple[str, str], ...], way: tuple[str, ...], heard: str
) -> Image.Image:
    """Pictures on the left, the way in the middle, on the right in words what comes out."""
    card = Card(title)
    side = SIDE if len(pictures) < 2 else 78
    gap = side + 28
    top = 162 - (gap * len(pictures) - 6) / 2
    for number, (name, word) in enumerate(pictures):
        card.picture(name, 22, top + number * gap, side, word)
    middle = 142
    height = 34 * len(way)
    for number, word in enumerate(way):
        y = 162 - height / 2 + number * 34
        card.panel(middle, y, 122, 28, PANEL, WIRE if number == len(way) - 1 else GREY)
        card.words(middle + 61, y + 14, word, 14)
    card.wire(22 + side + 4, 162, middle - 10, 162)
    card.wire(middle + 124, 162, 286, 162)
    card.panel(296, 108, 88, 108, PANEL, WIRE)
    card.words(340, 162, heard, 15)
    return card.finished()


APPLY = "Apply"
CARDS: dict[str, Callable[[], Image.Image]] = {
    "first_picture": lambda: _card(
        "First picture", ((CAT, "photo"),), ("Encode", APPLY), "prompt\n+\nphoto"
    ),
    "single_nodes": lambda: _card(
        "In single nodes", ((CAT, "photo"),), ("Load", "Encode", APPLY), "prompt\n+\nphoto"
    ),
    "style_composition": lambda: _card(
        "Style + composition (SDXL)",
        ((WAVES, "style"), (HOUSE, "composition")),
        ("Style +", "Composition"),
        "its hand,\nits places",
    ),
    "regional": lambda: _card(
        "Regional prompts",
        ((CAT, "left"), (HOUSE, "right")),
        ("prompts", "masks", "Regional"),
        "each\nin its\nplace",
    ),
    "tiles": lambda: _card(
        "Tiles (SDXL)", ((PANORAMA, "reference"),), ("Tiles", APPLY), "details\nin their\nplace"
    ),
    "sheet": lambda: _card(
        "A sheet", ((CAT, "photo"),), ("Sweep", "Simple", "Sheet"), "all scales\nat once"
    ),
    "attention": lambda: _card(
        "Where it is heard",
        ((CAT, "photo"), (MASK_LEFT, "mask")),
        ("Simple", "View", "Map"),
        "bright\nwhere it\ncounts",
    ),
    "image_to_image": lambda: _card(
        "Image to image",
        ((HOUSE, "picture"), (WAVES, "look")),
        ("Encode", APPLY, "denoise 0.65"),
        "this house,\nthat look",
    ),
    "inpainting": lambda: _card(
        "Inpainting",
        ((ROOM, "hole"), (CAT, "what goes in")),
        ("mask", "Encode", APPLY),
        "the cat,\nonly in\nthe frame",
    ),
    "several_images": lambda: _card(
        "Several images",
        ((CAT, "1"), (WAVES, "0.6")),
        ("Encode", "Merge", APPLY),
        "both,\none\nlouder",
    ),
    "style_only": lambda: _card(
        "Style only (SDXL)",
        ((WAVES, "style"),),
        ("Encode", "Block Weights", APPLY),
        "its hand,\nyour\nsubject",
    ),
    "layout_only": lambda: _card(
        "Layout only",
        ((HOUSE, "layout"),),
        ("Encode", "composition", APPLY),
        "its places,\nyour\nthings",
    ),
    "two_faces_with_masks": lambda: _two_faces(),
    "faceid": lambda: _card(
        "FaceID", ((PERSON_A, "your photo"),), ("Face Models", "Encode Face", APPLY), "who\nit is"
    ),
    "instantid": lambda: _card(
        "InstantID",
        ((PERSON_A, "your photo"), (PERSON_B, "pose")),
        ("Encode Face", APPLY, "ControlNet"),
        "who it is,\nwhere\nit looks",
    ),
    "plus_face": lambda: _card(
        "Plus Face",
        ((PERSON_B, "your photo"),),
        ("Prepare", "Encode", APPLY),
        "the face\nas it\nlooks",
    ),
    "controlnet": lambda: _card(
        "ControlNet",
        ((HOUSE, "lines"), (WAVES, "look")),
        ("Canny", "Encode", APPLY),
        "its lines,\nthat look",
    ),
    "flux_style": lambda: _card(
        "Flux: the look",
        ((WAVES, "look"),),
        ("Encode", "Block Weights", APPLY),
        "its look,\nyour\nplace",
    ),
    "flux_two_references": lambda: _card(
        "Flux: two references",
        ((CAT, "left"), (HOUSE, "right")),
        ("Encode", "Regions", APPLY),
        "each\nin its\nplace",
    ),
    "flux_controlnet": lambda: _card(
        "Flux: ControlNet",
        ((HOUSE, "lines"), (WAVES, "look")),
        ("Canny", "Encode", APPLY),
        "its lines,\nthat look",
    ),
    "sd35": lambda: _card("SD3.5 Large", ((CAT, "photo"),), ("Encode", APPLY), "prompt\n+\nphoto"),
    "lcm": lambda: _card("LCM", ((CAT, "photo"),), ("LCM LoRA", "Encode", APPLY), "6 steps"),
    "video": lambda: _card(
        "Video",
        ((BALL, "frames"), (WAVES, "look")),
        ("Encode", "Schedule", APPLY),
        "frame\nby\nframe",
    ),
    "save_embeds": lambda: _card(
        "Save embeds", ((CAT, ""), (WAVES, "")), ("Encode", "Merge", "Save"), "a file\nto keep"
    ),
    "load_embeds": lambda: _load_embeds(),
}


def _two_faces() -> Image.Image:
    card = Card("Two faces, two masks")
    for row, (person, mask) in enumerate(((PERSON_A, MASK_LEFT), (PERSON_B, MASK_RIGHT))):
        y = 72 + row * 104
        card.picture(person, 16, y, 84)
        card.picture(mask, 112, y, 84)
    card.wire(204, 162, 220, 162)
    for number, word in enumerate(("Regions", APPLY)):
        card.panel(232, 132 + number * 34, 72, 28, PANEL, WIRE)
        card.words(268, 146 + number * 34, word, 14)
    card.wire(306, 162, 318, 162)
    card.panel(328, 108, 58, 108, PANEL, WIRE)
    card.words(357, 162, "each\nin its\nplace", 15)
    return card.finished()


def _load_embeds() -> Image.Image:
    card = Card("Load embeds")
    card.panel(22, 108, 96, 108, PANEL)
    card.words(70, 150, "my_reference", 13)
    card.words(70, 170, ".safetensors", 13)
    card.words(70, 232, "no encoder needed", 13, GREY)
    for number, word in enumerate(("Load Embeds", APPLY)):
        card.panel(148, 128 + number * 34, 116, 28, PANEL, WIRE if number else GREY)
        card.words(206, 142 + number * 34, word, 14)
    card.wire(122, 162, 136, 162)
    card.wire(268, 162, 286, 162)
    card.panel(296, 108, 88, 108, PANEL, WIRE)
    card.words(340, 162, "as loud\nas before", 15)
    return card.finished()


def small(image: Image.Image) -> bytes:
    """A JPEG as good as the limit of its size allows."""
    for quality in range(90, 30, -5):
        made = BytesIO()
        image.save(made, "JPEG", quality=quality, optimize=True)
        if made.tell() < LIMIT:
            return made.getvalue()
    raise ValueError(f"the picture does not fit into {LIMIT} bytes")


def main() -> None:
    for name, draw in CARDS.items():
        (EXAMPLES / f"{STEMS[name]}.jpg").write_bytes(small(draw()))


if __name__ == "__main__":
    main()
