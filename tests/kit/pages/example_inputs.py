"""The input files of the example workflows: drawings, so that anybody may use them for anything.

`python -m kit.pages.example_inputs` writes them into example_workflows/inputs. Only the cat is a
photograph, that of the demo.
"""

from __future__ import annotations

import shutil
from fractions import Fraction
from math import pi, sin
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[3]
INPUTS = ROOT / "example_workflows" / "inputs"
SIDE = 512
# Drawn larger, then made smaller, which smooths the edges.
TIMES = 2
SKIES, HILL, SUN = ("#9fd3e8", "#cfeaf0"), "#6fa85b", "#f6c945"
FRAMES, FRAMES_PER_SECOND = 16, 8

Colour = str
Box = tuple[float, float, float, float]


class Sheet:
    """A drawing whose units are pixels of the finished picture."""

    def __init__(self, paper: Colour, width: int = SIDE, height: int = SIDE) -> None:
        self.image = Image.new("RGB", (width * TIMES, height * TIMES), paper)
        self.pen = ImageDraw.Draw(self.image)

    def ellipse(self, box: Box, fill: Colour) -> None:
        self.pen.ellipse(_scaled(box), fill)

    def rectangle(self, box: Box, fill: Colour, edge: Colour | None = None, width: int = 0) -> None:
        self.pen.rectangle(_scaled(box), fill, edge, width * TIMES)

    def polygon(self, points: list[tuple[float, float]], fill: Colour) -> None:
        self.pen.polygon([(x * TIMES, y * TIMES) for x, y in points], fill)

    def line(self, points: list[tuple[float, float]], fill: Colour, width: int) -> None:
        scaled = [(x * TIMES, y * TIMES) for x, y in points]
        self.pen.line(scaled, fill, width * TIMES, joint="curve")

    def arc(self, box: Box, start: float, end: float, fill: Colour, width: int) -> None:
        self.pen.arc(_scaled(box), start, end, fill, width * TIMES)

    def finished(self) -> Image.Image:
        width, height = self.image.size
        return self.image.resize((width // TIMES, height // TIMES), Image.Resampling.LANCZOS)


def _scaled(box: Box) -> Box:
    left, top, right, bottom = (side * TIMES for side in box)
    return left, top, right, bottom


def house() -> Image.Image:
    """A scene with clear places: a house, a tree and the sun over a hill."""
    sheet = Sheet(SKIES[0])
    sheet.rectangle((0, 200, 512, 512), SKIES[1])
    sheet.ellipse((380, 40, 470, 130), SUN)
    sheet.ellipse((-200, 330, 760, 900), HILL)
    sheet.polygon([(200, 512), (240, 372), (280, 372), (360, 512)], "#d9c08c")
    sheet.rectangle((170, 230, 350, 375), "#e9dcc3")
    sheet.polygon([(150, 235), (260, 140), (370, 235)], "#b5523b")
    sheet.rectangle((238, 300, 282, 375), "#7a4a2e")
    for left in (188, 298):
        sheet.rectangle((left, 265, left + 36, 305), "#7fb4cf", "#5b4636", 4)
    sheet.rectangle((86, 260, 106, 400), "#7a4a2e")
    for x, y, radius in ((96, 200, 62), (62, 240, 44), (132, 240, 44)):
        sheet.ellipse((x - radius, y - radius, x + radius, y + radius), "#3f7f4f")
    return sheet.finished()


def waves() -> Image.Image:
    """A look that cannot be missed: bands of waves in few strong colours."""
    sheet = Sheet("#f3e3c3")
    sheet.ellipse((300, 40, 440, 180), "#d8502f")
    bands = ("#1d3557", "#2a6f97", "#f3e3c3", "#1d3557", "#61a5c2", "#f3e3c3", "#1d3557")
    for row, colour in enumerate(bands):
        top, phase = 190 + row * 48, row * 1.3
        edge = [(x, top + 22 * sin(x / 256 * 2 * pi + phase)) for x in range(-4, 520, 4)]
        sheet.polygon([*edge, (520, 512), (-4, 512)], colour)
        sheet.line([(x, y + 9) for x, y in edge], "#f3e3c3" if row % 3 != 2 else "#d8502f", 4)
    return sheet.finished()


def panorama() -> Image.Image:
    """Twice as wide as high, with something else in each part: to be cut into tiles."""
    sheet = Sheet(SKIES[0], 768, 384)
    sheet.ellipse((590, 30, 680, 120), SUN)
    sheet.ellipse((-160, 230, 480, 700), HILL)
    sheet.rectangle((400, 260, 768, 384), "#2a6f97")
    for row in range(4):
        y = 276 + row * 28
        edge = [(x, y + 6 * sin(x / 64 * 2 * pi + row)) for x in range(400, 772, 4)]
        sheet.line(edge, "#61a5c2", 5)
    for left, roof in ((60, "#b5523b"), (180, "#3c6e71"), (290, "#8c3b4a")):
        sheet.rectangle((left, 180, left + 80, 270), "#e9dcc3")
        sheet.polygon([(left - 12, 184), (left + 40, 120), (left + 92, 184)], roof)
        sheet.rectangle((left + 28, 216, left + 52, 270), "#7a4a2e")
    sheet.polygon([(600, 250), (600, 150), (680, 250)], "#f4efe6")
    sheet.polygon([(560, 262), (700, 262), (670, 292), (590, 292)], "#7a4a2e")
    return sheet.finished()


def room() -> Image.Image:
    """A wall with a picture frame, whose inside is transparent: the part to paint anew."""
    sheet = Sheet("#c9b79c")
    for x in range(0, 512, 64):
        sheet.rectangle((x, 0, x + 30, 400), "#c2ae90")
    sheet.rectangle((0, 400, 512, 512), "#8a5f3c")
    sheet.rectangle((0, 392, 512, 404), "#efe6d6")
    sheet.rectangle((136, 46, 376, 346), "#5a3a22")
    sheet.rectangle((152, 62, 360, 330), "#b98d4f")
    sheet.rectangle((168, 78, 344, 314), "#f4efe6")
    sheet.rectangle((40, 330, 110, 430), "#3c6e71")
    for x, y in ((52, 250), (75, 225), (98, 255)):
        sheet.line([(75, 332), (x, y)], "#3f7f4f", 6)
        sheet.ellipse((x - 18, y - 18, x + 18, y + 18), "#d8502f")
    picture = sheet.finished().convert("RGBA")
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (168, 78, 344, 314))
    picture.putalpha(alpha)
    return picture


def face(paper: Colour, skin: Colour, hair: Colour, shirt: Colour, long: bool) -> Image.Image:
    """A drawn person; real face models were made for photographs and may not see a face in it."""
    sheet = Sheet(paper)
    if long:
        sheet.ellipse((108, 60, 404, 360), hair)
        sheet.rectangle((108, 210, 404, 430), hair)
    sheet.ellipse((66, 410, 446, 700), shirt)
    sheet.rectangle((212, 350, 300, 450), skin)
    sheet.ellipse((140, 92, 372, 402), skin)
    sheet.polygon([(136, 220), (150, 110), (256, 62), (366, 112), (376, 220), (330, 150)], hair)
    for x in (206, 306):
        sheet.ellipse((x - 24, 216, x + 24, 250), "#ffffff")
        sheet.ellipse((x - 13, 219, x + 13, 247), "#3b2a1e")
        sheet.arc((x - 32, 184, x + 32, 226), 205, 335, "#3b2a1e", 8)
    sheet.line([(256, 240), (246, 296), (266, 300)], "#8a5a44", 5)
    sheet.arc((206, 286, 306, 352), 25, 155, "#a03c3c", 10)
    return sheet.finished()


def half(left: bool) -> Image.Image:
    """White where a reference is to be heard."""
    mask = Image.new("RGB", (SIDE, SIDE), "black")
    mask.paste("white", (0, 0, SIDE // 2, SIDE) if left else (SIDE // 2, 0, SIDE, SIDE))
    return mask


def frame(number: int) -> Image.Image:
    """A ball that jumps once over a hill while the sun goes down."""
    sheet = Sheet(SKIES[0])
    part = number / (FRAMES - 1)
    sheet.ellipse((380, 40 + 120 * part, 470, 130 + 120 * part), SUN)
    sheet.ellipse((-200, 330, 760, 900), HILL)
    x, y = 60 + 390 * part, 330 - 200 * sin(pi * part)
    sheet.ellipse((x - 45, y - 45, x + 45, y + 45), "#d8502f")
    sheet.arc((x - 45, y - 45, x + 45, y + 45), 360 * part, 360 * part + 180, "#f4efe6", 12)
    return sheet.finished()


def write_film(path: Path) -> None:
    """One thread, so that the same version of the coder writes the same bytes."""
    import av

    with av.open(str(path), "w", options={"movflags": "+faststart"}) as file:
        stream = file.add_stream("libx264", Fraction(FRAMES_PER_SECOND))
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "23", "threads": "1"}
        for number in range(FRAMES):
            file.mux(stream.encode(av.VideoFrame.from_image(frame(number))))
        file.mux(stream.encode(None))


DRAWINGS = {
    "ipadapter_example_house.jpg": house,
    "ipadapter_example_waves.jpg": waves,
    "ipadapter_example_panorama.jpg": panorama,
    "ipadapter_example_room.png": room,
    "ipadapter_example_person_a.jpg": lambda: face(
        "#9db9d6", "#eebd94", "#4a2c1a", "#2f6f6a", True
    ),
    "ipadapter_example_person_b.jpg": lambda: face(
        "#b9cfd9", "#b97a50", "#1c1a1a", "#8c3b4a", False
    ),
    "ipadapter_example_mask_left.png": lambda: half(True),
}


def main() -> None:
    INPUTS.mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "demo" / "reference.jpg", INPUTS / "ipadapter_reference.jpg")
    for name, draw in DRAWINGS.items():
        options = {"quality": 88} if name.endswith(".jpg") else {"optimize": True}
        draw().save(INPUTS / name, **options)
    write_film(INPUTS / "ipadapter_example_ball.mp4")


if __name__ == "__main__":
    main()
