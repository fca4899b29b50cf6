"""Which contact sheet the demo makes: with the toy models, or with real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prompts import Json
from sheet_prompt import Cell, Link, Row, Sampling, SheetPrompt, masks, scales
from stand_ins import TOY_CFG, TOY_PLUS, TOY_SIZE, TOY_STEPS
from toys import PICTURES

TOY_WORDS = ("star", "heart", "moon")
TOY_TITLE = (
    "Toy models of 10 million parameters, trained on drawings of 128 pixels: not Stable Diffusion"
)
TOY_SAMPLING = Sampling(TOY_SIZE, TOY_STEPS, TOY_CFG)
REAL_PROMPT = "a house in a garden, highly detailed"
REAL_NEGATIVE = "blurry, low quality"


@dataclass(frozen=True)
class Sheet:
    """A sheet before it is made: its prompt for the server, and what goes where.

    Attributes:
        saved: the node that saves it.
    """

    title: str
    prompt: Json
    rows: list[list[Cell]]
    saved: str

    @property
    def painted(self) -> int:
        """How many pictures a sampler makes."""
        cells = [cell for row in self.rows for cell in row]
        return sum(len(cell.captions) for cell in cells if cell.painted)

    @property
    def columns(self) -> int:
        """Pictures in a row."""
        return sum(len(cell.captions) for cell in self.rows[0])


def laid_out(title: str, sheet: SheetPrompt, rows: list[list[Cell]]) -> Sheet:
    """With the node that lays the cells out."""
    saved = sheet.laid_out(title, rows)
    return Sheet(title, sheet.prompt, rows, saved)


def toy_sheet() -> Sheet:
    """Three words, each with a reference in more and more of its scale, and masks."""
    sheet = toy_prompt()
    rows = [toy_row(word, picture) for word, picture in zip(TOY_WORDS, PICTURES, strict=True)]
    cells = [scales(sheet, row) for row in rows]
    cells.append(masks(sheet, rows[0], PICTURES[1]))
    return laid_out(TOY_TITLE, sheet, cells)


def toy_prompt() -> SheetPrompt:
    """With nothing but the toy models; see `toy_row`."""
    sources = {_toy(word): _node("IPAToyModels", word=word) for word in TOY_WORDS}
    outputs = ("model", "vae", "clip_vision", "positive", "negative")
    links: dict[str, Link] = {
        name: [_toy(TOY_WORDS[0]), slot] for slot, name in enumerate(outputs) if name != "positive"
    }
    return SheetPrompt(sources, TOY_SAMPLING, TOY_PLUS, **links)


def toy_row(word: str, picture: str) -> Row:
    """What a prompt of toys asks for: one of `TOY_WORDS`."""
    return Row(word, [_toy(word), 3], picture)


def _toy(word: str) -> str:
    return f"toy {word}"


def real_sheet(models: Json, picture: str, other: str) -> Sheet:
    """The same with models that were found; on a processor only what takes minutes, not hours.

    Args:
        models: what prepare_models.py has found.
        picture, other: references in the input folder.
    """
    sources = {
        "checkpoint": _node("CheckpointLoaderSimple", ckpt_name=models["checkpoint"]),
        "encoder": _node("CLIPVisionLoader", clip_name=models["encoder"]),
        "positive": _node("CLIPTextEncode", clip=["checkpoint", 1], text=REAL_PROMPT),
        "negative": _node("CLIPTextEncode", clip=["checkpoint", 1], text=REAL_NEGATIVE),
    }
    links: dict[str, Link] = {
        "model": ["checkpoint", 0],
        "vae": ["checkpoint", 2],
        "clip_vision": ["encoder", 0],
        "negative": ["negative", 0],
    }
    sampling = Sampling(size=models["size"], steps=20, cfg=6.0)
    sheet = SheetPrompt(sources, sampling, models["adapter"], **links)
    row = Row("prompt", ["positive", 0], picture)
    title = "{checkpoint} with {adapter}".format(**models)
    if not models["gpu"]:
        return laid_out(title, sheet, [scales(sheet, row, (1.0,))])
    cells = [scales(sheet, row), masks(sheet, row, other)]
    return laid_out(title, sheet, cells)


def _node(kind: str, **inputs: Any) -> Json:
    return {"class_type": kind, "inputs": inputs}
