"""The node that lays pictures out on one, with labels."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ...ip_models import limits
from ...ip_models.pictures.sheet import Layout, lay_out
from ..host.checks import by_number
from ..sockets import CATEGORY, Node

_MOST_INPUTS, _MOST_SIDE = 50, 4096


class Sheet(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPASheet",
            display_name="Sheet (IP-Adapter)",
            category=f"{CATEGORY}/compare",
            description="Lays pictures out in rows and columns with a label each, as one picture. "
            "With Sweep, or with pictures of several branches of the graph.",
            search_aliases=["contact sheet", "grid", "xy plot", "compare", "image grid", "collage"],
            is_output_node=True,
            is_input_list=True,
            inputs=[
                io.Autogrow.Input(
                    "images",
                    template=io.Autogrow.TemplatePrefix(
                        io.Image.Input(
                            "image",
                            tooltip="Pictures in their order: one, a batch, or all that a Sweep "
                            "makes.",
                        ),
                        prefix="image",
                        min=1,
                        max=_MOST_INPUTS,
                    ),
                ),
                io.String.Input(
                    "labels",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="A line for each picture, in order, or labels of Sweep. What a whole "
                    "row and a whole column have in common stands at their beginning.",
                ),
                io.Int.Input(
                    "columns",
                    default=0,
                    min=0,
                    max=limits.SHEET_PICTURES,
                    optional=True,
                    tooltip="Pictures in a row. 0 is about as many as there are rows. Or columns "
                    "of Sweep.",
                ),
                io.String.Input(
                    "title", default="", optional=True, tooltip="Over all pictures, if any."
                ),
                io.Int.Input(
                    "picture_size",
                    default=0,
                    min=0,
                    max=_MOST_SIDE,
                    optional=True,
                    tooltip="Long side of each picture on the sheet, in pixels. 0 leaves them as "
                    "they are, as long as the sheet stays below 64 megapixels.",
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="The sheet, e.g. for Save Image.")],
        )

    @classmethod
    def execute(
        cls,
        images: dict[str, list[Tensor]],
        labels: list[str] | None = None,
        columns: list[int] | None = None,
        title: list[str] | None = None,
        picture_size: list[int] | None = None,
    ) -> io.NodeOutput:
        batches = [batch for given in by_number(images, "image").values() for batch in given]
        layout = Layout(
            labels=_each(labels or [""], batches),
            columns=(columns or [0])[0],
            title=(title or [""])[0],
            side=(picture_size or [0])[0],
        )
        sheet = lay_out([one for batch in batches for one in batch], layout)
        height, width = sheet.shape[1:3]
        count = sum(map(len, batches))
        said = ui.PreviewText(f"{count} pictures, {width} x {height} pixels").as_dict()
        shown: dict[str, Any] = ui.PreviewImage(sheet, cls=cls).as_dict()
        return io.NodeOutput(sheet, ui={**shown, **said})


def _each(labels: list[str], batches: list[Tensor]) -> list[str]:
    """A label for each picture; those of one batch that came with one label have the same."""
    if len(labels) == 1:
        return labels[0].split("\n")
    pairs = zip(labels, batches, strict=False)
    return [label for label, batch in pairs for _ in batch]


NODES: list[type[io.ComfyNode]] = [Sheet]
