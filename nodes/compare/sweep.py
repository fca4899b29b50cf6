"""The node that lists settings to compare."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ...ip_models.inputs import parse_numbers
from ...ip_models.weights.presets import names
from ...ip_models.weights.sweep import Axis, Order, Sweep, numbers, require_order, sweep, words
from ..host.doctor.queued import attempted
from ..host.model.backbones.layers import VOCABULARY
from ..sockets import CATEGORY, RESENT, Node, scale_input

_PRESETS = names(VOCABULARY)
_ORDERS = [order.value for order in Order]
_SHOWN = 12


def _list_input(name: str, default: str, tooltip: str) -> io.String.Input:
    return io.String.Input(name, default=default, tooltip=tooltip)


class SweepSettings(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPASweep",
            display_name="Sweep (IP-Adapter)",
            category=f"{CATEGORY}/compare",
            **RESENT,
            description="Lists of settings to compare. Everything behind it runs once for each, "
            "and Sheet lays the pictures out in rows and columns.",
            search_aliases=["compare", "xy plot", "grid", "XYZ", "test scales"],
            inputs=[
                _list_input(
                    "scales",
                    "0, 0.25, 0.5, 0.75, 1",
                    "Scales to compare, separated by commas. Left empty, the scale is 1.",
                ),
                io.String.Input(
                    "presets",
                    default="",
                    multiline=True,
                    tooltip="Presets of Block Weights to compare, one a line or separated by "
                    "commas, e.g. linear, style transfer, composition. Left empty, the even one.",
                ),
                _list_input(
                    "start_percents",
                    "",
                    "Points of the run from 0 to 1 at which the reference begins, separated by "
                    "commas. Left empty, 0.",
                ),
                _list_input(
                    "end_percents",
                    "",
                    "Points of the run from 0 to 1 at which the reference stops, separated by "
                    "commas. Left empty, 1.",
                ),
                io.Combo.Input(
                    "order",
                    options=[order.value for order in Order],
                    default=Order.GRID.value,
                    optional=True,
                    tooltip="Several lists. each with each: a row for each value of one and a "
                    "column for each of the other. one after the other: the first of all lists, "
                    "then the second of all.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "scale", is_output_list=True, tooltip="For scale of Apply IP-Adapter or Simple."
                ),
                io.Combo.Output(
                    "preset", is_output_list=True, tooltip="For preset of Block Weights or Simple."
                ),
                io.Float.Output("start_percent", is_output_list=True, tooltip="For start_percent."),
                io.Float.Output("end_percent", is_output_list=True, tooltip="For end_percent."),
                io.String.Output("labels", is_output_list=True, tooltip="For labels of Sheet."),
                io.Int.Output("columns", tooltip="For columns of Sheet."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, scales: Any = None) -> bool | str:
        names = ("presets", "start_percents", "end_percents", "order")
        given = tuple(cls.typed(name) for name in names)
        presets, starts, ends, order = given
        if not all(isinstance(one, str) for one in (scales, *given)) or order not in _ORDERS:
            return True  # what comes by a link is not known yet
        return attempted(lambda: _sweep(scales, presets, starts, ends, order))

    @classmethod
    def execute(
        cls,
        scales: str,
        presets: str,
        start_percents: str,
        end_percents: str,
        order: str = Order.GRID.value,
    ) -> io.NodeOutput:
        made = _sweep(scales, presets, start_percents, end_percents, order)
        starts, ends, chosen, sizes = made.values
        more = ["..."] if len(made.labels) > _SHOWN else []
        text = "\n".join([f"{len(made.labels)} pictures:", *made.labels[:_SHOWN], *more])
        outputs = (sizes, chosen, starts, ends, made.labels, made.columns)
        return io.NodeOutput(*outputs, ui=ui.PreviewText(text))


def _sweep(scales: str, presets: str, starts: str, ends: str, order: str) -> Sweep:
    """All settings to compare.

    Raises:
        BadInput: there are none, or one of them cannot be.
    """
    scale = scale_input()
    written = parse_numbers(scales, "scales")
    # In the order of the outputs; the last that is used runs along the rows.
    made = sweep(
        (
            Axis("start", _percents("start_percents", starts), 0.0),
            Axis("end", _percents("end_percents", ends), 1.0),
            Axis("", words("presets", presets, _PRESETS), _PRESETS[0]),
            Axis("scale", numbers("scales", written, scale.min, scale.max), 1.0),
        ),
        Order(order),
    )
    require_order(*made.values[:2])
    return made


def _percents(name: str, text: str) -> list[float | str]:
    return numbers(name, parse_numbers(text, name), 0.0, 1.0)


NODES: list[type[io.ComfyNode]] = [SweepSettings]
