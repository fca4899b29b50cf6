"""What the demo's contact sheet asks the server for: one API prompt for all of its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prompts import Json

Link = list[Any]  # id of a node and number of its output

SCALES = (0.25, 0.5, 0.75, 1.0)
SEED = 7
EDGE = 144  # of a picture on the sheet


@dataclass(frozen=True)
class Sampling:
    """How the pictures are made: edge in pixels, and settings of KSampler."""

    size: int
    steps: int
    cfg: float


@dataclass(frozen=True)
class Row:
    """A prompt, as a link to its CONDITIONING, and its reference, a file in the input folder."""

    word: str
    positive: Link
    reference: str


@dataclass(frozen=True)
class Cell:
    """A place on the sheet: what is under it, and the output that its picture comes from.

    Attributes:
        captions: several where a node runs several times; then it has as many places.
        painted: whether a sampler makes it.
    """

    captions: tuple[str, ...]
    images: Link
    painted: bool = True


class SheetPrompt:
    """Builds the API prompt of a contact sheet.

    Args:
        sources: nodes that load the models, by id.
        model, vae, clip_vision, negative: their outputs.
    """

    def __init__(self, sources: Json, sampling: Sampling, adapter: str, **links: Link) -> None:
        self.prompt: Json = dict(sources)
        self.links = links
        self.sampling = sampling
        self.count = 0
        size = sampling.size
        self.add("adapter", "IPALoadAdapter", adapter_file=adapter)
        self.add("empty", "EmptyLatentImage", width=size, height=size, batch_size=1)
        self.add("off", "SolidMask", value=0.0, width=size, height=size)
        self.add("half", "SolidMask", value=1.0, width=size // 2, height=size)
        for side, x in (("left", 0), ("right", size // 2)):
            joined = {"destination": ["off", 0], "source": ["half", 0], "operation": "add"}
            self.add(side, "MaskComposite", **joined, x=x, y=0)

    def add(self, node: str, kind: str, **inputs: Any) -> Link:
        """Put a node into the prompt; its first output."""
        self.prompt[node] = {"class_type": kind, "inputs": inputs}
        return [node, 0]

    def file(self, picture: str) -> Link:
        """A picture in the server's input folder."""
        return self.add(f"image {picture}", "LoadImage", image=picture)

    def reference(self, picture: str, caption: str = "reference") -> Cell:
        """It as it is, to be compared with what hears it."""
        return Cell((caption,), self.file(picture), painted=False)

    def embeds(self, picture: str) -> Link:
        """Of such a picture; encoded once, however often it is used."""
        name = f"embeds {picture}"
        if name not in self.prompt:
            vision = self.links["clip_vision"]
            self.add(name, "IPAEncodeImage", clip_vision=vision, image=self.file(picture))
        return [name, 0]

    def merged(self, one: str, other: str, method: str, weights: str = "") -> Link:
        parts = {"embeds.embeds0": self.embeds(one), "embeds.embeds1": self.embeds(other)}
        name = f"{method} {weights} of {one} and {other}"
        return self.add(name, "IPAMergeEmbeds", method=method, weights=weights, **parts)

    def regions(self, left: str, right: str) -> Link:
        parts = {
            "embeds.embeds0": self.embeds(left),
            "masks.mask0": ["left", 0],
            "embeds.embeds1": self.embeds(right),
            "masks.mask1": ["right", 0],
        }
        return self.add(f"regions {left} {right}", "IPARegions", **parts)

    def picture(self, caption: str, row: Row, embeds: Link | None = None, **settings: Any) -> Cell:
        """A picture with the settings of Apply IP-Adapter; without one if embeds is None."""
        self.count += 1
        number = self.count
        model = self.links["model"]
        if embeds is not None:
            values = {"scale": 1.0, "start_percent": 0.0, "end_percent": 1.0} | settings
            inputs = {"model": model, "adapter": ["adapter", 0], "embeds": embeds, **values}
            model = self.add(f"apply {number}", "IPAApply", **inputs)
        latent = self.add(
            f"sample {number}",
            "KSampler",
            model=model,
            positive=row.positive,
            negative=self.links["negative"],
            latent_image=["empty", 0],
            seed=SEED,
            steps=self.sampling.steps,
            cfg=self.sampling.cfg,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        )
        image = self.add(f"decode {number}", "VAEDecode", samples=latent, vae=self.links["vae"])
        return Cell((caption,), image)

    def swept(self, row: Row, embeds: Link, values: Sequence[float]) -> Cell:
        """A picture for each scale; all that is behind the sweep runs once for each."""
        listed = ", ".join(f"{value:g}" for value in values)
        unused = dict.fromkeys(("presets", "start_percents", "end_percents"), "")
        scale = self.add(f"scales {listed}", "IPASweep", scales=listed, **unused)
        images = self.picture("", row, embeds, scale=scale).images
        return Cell(tuple(f"scale {value:g}" for value in values), images)

    def laid_out(self, title: str, rows: Sequence[Sequence[Cell]]) -> str:
        """Put all cells on one sheet; the node that saves it."""
        cells = [cell for row in rows for cell in row]
        images = {f"images.image{i}": cell.images for i, cell in enumerate(cells)}
        sheet = self.add(
            "sheet",
            "IPASheet",
            **images,
            labels="\n".join(caption for cell in cells for caption in cell.captions),
            columns=sum(len(cell.captions) for cell in rows[0]),
            title=title,
            picture_size=EDGE,
        )
        return self.add("save", "SaveImage", images=sheet, filename_prefix="contact_sheet")[0]


def scales(sheet: SheetPrompt, row: Row, values: Sequence[float] = SCALES) -> list[Cell]:
    """Reference, without it, and with more and more of it."""
    without = sheet.picture(f"{row.word}, without", row)
    swept = sheet.swept(row, sheet.embeds(row.reference), values)
    return [sheet.reference(row.reference), without, swept]


def masks(sheet: SheetPrompt, row: Row, other: str) -> list[Cell]:
    """The row's reference A and another one, B, each in its place or mixed."""
    a, b = sheet.embeds(row.reference), sheet.embeds(other)
    return [
        sheet.reference(other, "reference B"),
        sheet.picture("A, mask: left half", row, a, attn_mask=["left", 0]),
        sheet.picture("B, mask: right half", row, b, attn_mask=["right", 0]),
        sheet.picture("A left, B right", row, sheet.regions(row.reference, other)),
        sheet.picture("average of A and B", row, sheet.merged(row.reference, other, "average")),
        sheet.picture("A until 30 % of the steps", row, a, end_percent=0.3),
    ]
