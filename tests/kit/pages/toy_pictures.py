"""What the pictures made with the demo's toy models show: in the README, in the help, in Templates.

`python -m pytest tests/host/test_toy_pictures.py` makes them anew and compares; with
IPADAPTER_PICTURES=1 in the environment it writes them. On the help pages they are the same in every
language, so that they hold names and values of inputs only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import ROOT
from kit.server.live import Client
from PIL import Image
from sheet_prompt import Cell, SheetPrompt
from sheets import Sheet, laid_out, toy_prompt, toy_row
from stand_ins import TOY_ADAPTER
from toys import PICTURES, WORKFLOW

HELP = ROOT / "web" / "docs" / "images"
README_SHEET = ROOT / ".github" / "pictures" / "toy_models.webp"
THUMBNAIL = WORKFLOW.with_suffix(".jpg")
THUMBNAIL_SIZE = (400, 300)
A, B, C = PICTURES
STAR, HEART, MOON = "star", "heart", "moon"

Rows = list[list[Cell]]


def apply(p: SheetPrompt) -> Rows:
    row = toy_row(STAR, A)
    embeds = p.embeds(A)

    def one(caption: str, **settings: Any) -> Cell:
        return p.picture(caption, row, embeds, **settings)

    return [
        [p.reference(A), one("scale 0", scale=0.0), one("scale 0.4", scale=0.4)],
        [
            one("scale 1"),
            one("attn_mask", attn_mask=["left", 0]),
            one("end_percent 0.2", end_percent=0.2),
        ],
    ]


def regions(p: SheetPrompt) -> Rows:
    row = toy_row(MOON, A)
    return [[p.reference(A, "A"), p.reference(B, "B"), p.picture("A | B", row, p.regions(A, B))]]


def merge(p: SheetPrompt) -> Rows:
    row = toy_row(HEART, A)

    def one(caption: str, method: str, weights: str = "") -> Cell:
        return p.picture(caption, row, p.merged(A, C, method, weights))

    return [
        [p.reference(A, "A"), p.reference(C, "B"), one("concat", "concat")],
        [
            one("average", "average"),
            one("average: 1, 0.3", "average", "1, 0.3"),
            one("average: 0.3, 1", "average", "0.3, 1"),
        ],
    ]


def encode(p: SheetPrompt) -> Rows:
    shown = [p.reference(file, name) for name, file in zip("ABC", PICTURES, strict=True)]
    made = [
        p.picture(name, toy_row(STAR, file), p.embeds(file))
        for name, file in zip("ABC", PICTURES, strict=True)
    ]
    return [shown, made]


def adapter(p: SheetPrompt) -> Rows:
    row = toy_row(HEART, B)
    standard = p.add("standard", "IPALoadAdapter", adapter_file=TOY_ADAPTER)
    return [
        [
            p.reference(B),
            p.picture("standard", row, p.embeds(B), adapter=standard),
            p.picture("plus", row, p.embeds(B)),
        ]
    ]


def block_weights(p: SheetPrompt) -> Rows:
    row = toy_row(STAR, C)
    cells = [p.reference(C)]
    for preset in ("linear", "style transfer", "composition", "ease in", "ease out"):
        weights = p.add(preset, "IPABlockWeights", preset=preset)
        cells.append(p.picture(preset, row, p.embeds(C), block_weights=weights))
    return [cells[:3], cells[3:]]


def schedule(p: SheetPrompt) -> Rows:
    row = toy_row(HEART, A)
    cells = [p.reference(A)]
    for start, end in ((1.0, 0.0), (0.0, 1.0)):
        curve = {"over": "steps", "curve": "linear", "start": start, "end": end}
        weights = p.add(f"from {start:g}", "IPASchedule", **curve)
        caption = f"start {start:g}, end {end:g}"
        cells.append(p.picture(caption, row, p.embeds(A), block_weights=weights))
    return [cells]


def remove(p: SheetPrompt) -> Rows:
    row = toy_row(MOON, B)
    heard = p.picture("IPAApply", row, p.embeds(B))
    return [[p.reference(B), heard, p.picture("IPARemove", row)]]


def attention_map(p: SheetPrompt) -> Rows:
    """Two references in their halves: the picture, and where each of them is heard."""
    row = toy_row(MOON, A)
    number = p.count + 1
    cells = [p.picture("A | B", row, p.regions(A, B))]
    view = p.add("view", "IPAAttentionView", model=[f"apply {number}", 0])
    p.prompt[f"sample {number}"]["inputs"]["model"] = view
    seen = {"attention": ["view", 1], "latent": [f"sample {number}", 0]}
    for reference in (1, 2):
        name = f"map {reference}"
        over = {"image": [f"decode {number}", 0], "reference": reference}
        shown = p.add(name, "IPAAttentionMap", **seen, **over)
        cells.append(Cell((f"reference {reference}",), shown))
    return [cells]


STRIPS: dict[str, Callable[[SheetPrompt], Rows]] = {
    "IPAAttentionMap": attention_map,
    "IPAApply": apply,
    "IPABlockWeights": block_weights,
    "IPAEncodeImage": encode,
    "IPALoadAdapter": adapter,
    "IPAMergeEmbeds": merge,
    "IPARegions": regions,
    "IPARemove": remove,
    "IPASchedule": schedule,
}


def strip_path(node: str) -> Path:
    return HELP / f"{node}_toy.webp"


def strip(node: str) -> Sheet:
    prompt = toy_prompt()
    return laid_out("", prompt, STRIPS[node](prompt))


def made(client: Client, sheet: Sheet) -> Image.Image:
    """The sheet, made on a server that has the toy models."""
    (path,) = client.saved(sheet.prompt)[sheet.saved]
    with Image.open(path) as picture:
        return picture.convert("RGB")


def thumbnail(sheet: Image.Image) -> Image.Image:
    """The first rows of the contact sheet, for the list of templates."""
    width, height = THUMBNAIL_SIZE
    part = sheet.crop((0, 0, sheet.width, round(sheet.width * height / width)))
    return part.resize(THUMBNAIL_SIZE, Image.Resampling.LANCZOS)
