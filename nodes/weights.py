"""Nodes that make factors of the scale, for each layer, step and frame."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io, ui

from ..ip_models.weights.editor_data import (
    CUSTOM,
    DEFAULTS,
    FACTOR_RANGE,
    LARGEST_SEED,
    MOST_PLACES,
    RANDOM,
    block_rule,
    ramp,
)
from ..ip_models.weights.gains import EVERYWHERE
from ..ip_models.weights.gains import Weights as LayerWeights
from ..ip_models.weights.presets import names
from ..ip_models.weights.schedule import Curve, Ramp
from ..ip_models.weights.timing import Repeat
from .host.checks import Numbers
from .host.doctor.queued import attempted, written_numbers
from .host.model.backbones.layers import VOCABULARY
from .sockets import CATEGORY, RESENT, Node, Weights

_PRESETS = names(VOCABULARY)
_STEPS, _FRAMES, _SHOWN, _MOST_SHOWN = "steps", "frames", 5, 12


def _factor(name: str, tooltip: str, optional: bool = False) -> io.Float.Input:
    least, most = FACTOR_RANGE
    return io.Float.Input(
        name, default=1.0, min=least, max=most, step=0.05, optional=optional, tooltip=tooltip
    )


def _factors(name: str, tooltip: str) -> Numbers:
    least, most = FACTOR_RANGE
    return Numbers(name, default=1.0, min=least, max=most, step=0.05, tooltip=tooltip)


def _places(name: str, tooltip: str) -> io.Int.Input:
    least = DEFAULTS[name]
    return io.Int.Input(
        name,
        default=least,
        min=least,
        max=MOST_PLACES,
        optional=True,
        advanced=True,
        tooltip=tooltip,
    )


def _timing_inputs() -> list[io.Input]:
    """During which steps or frames a factor changes."""
    return [
        _places(
            "first_frame",
            "The step or frame at which the change begins, counted from 0. Before it the first "
            "factor counts.",
        ),
        _places(
            "last_frame",
            "The step or frame at which the change ends. After it the last factor counts. -1 is "
            "the last of all.",
        ),
        _places(
            "lead_in", "So many steps or frames in front keep the first factor; then all begins."
        ),
        _places("lead_out", "So many steps or frames at the end keep the last factor."),
        io.Combo.Input(
            "repeat",
            options=[one.value for one in Repeat],
            default=Repeat.ONCE.value,
            optional=True,
            advanced=True,
            tooltip="With length. once: one change, then its last factor goes on. loop: it begins "
            "again. alternate: there and back.",
        ),
        _places(
            "length",
            "With repeat: how many steps or frames one change takes. 0 is as many as there "
            "are values.",
        ),
        io.Int.Input(
            "random_seed",
            default=0,
            min=0,
            max=LARGEST_SEED,
            optional=True,
            advanced=True,
            tooltip="For curve random: another seed, other numbers.",
        ),
    ]


class BlockWeights(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPABlockWeights",
            display_name="Block Weights (IP-Adapter)",
            category=f"{CATEGORY}/weights",
            description="How loud the reference is in which part of the model: style only, "
            "composition only, or weights of your own. The same node serves SD1.5, SDXL, "
            "Flux and SD3.5.",
            search_aliases=[
                "weight type",
                "InstantStyle",
                "layer weights",
                "style",
                "IPAdapter Advanced",
                "IPAdapter Style & Composition SDXL",
                "SDXL IPAdapter Style & Batch Composition",
                "IPAdapter Mad Scientist",
                "IPAdapterMS",
                "IPAdapter Precise Style Transfer",
                "IPAdapterPreciseStyleTransferBatch",
                "IPAdapter Precise Composition",
                "IPAdapter Precise Composition Batch",
            ],
            inputs=[
                io.Combo.Input(
                    "preset",
                    options=[*_PRESETS, CUSTOM],
                    default=_PRESETS[0],
                    tooltip="The names of ComfyUI_IPAdapter_plus are its weight types, whatever "
                    "the words over the bars say, which are of another source; then the blocks of "
                    "InstantStyle, and custom for the weights written below. The precise ones push "
                    "the rest away from the reference. On Flux and SD3.5: the curves, weak double, "
                    "weak single, custom.",
                ),
                io.String.Input(
                    "weights",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Used with custom. A factor for each transformer in the order in which "
                    "they run, e.g. 3:0.5, 6-9:1 (SD1.5 has 0 to 15, SDXL 0 to 10, Flux 0 to 56, "
                    "18 with XLabs' adapters, SD3.5 Large 0 to 37; 6.2 is the third layer of 6), "
                    'or the scale of diffusers, e.g. {"up": {"block_0": [0, 1, 0]}} or '
                    '{"double": 1, "single": 0.5}. What is not listed is 0.',
                ),
                _factor(
                    "composition",
                    "Used with style and composition: factor of the layers for composition.",
                    optional=True,
                ),
                _factor(
                    "boost",
                    "Used with the precise presets: how hard the rest is pushed away.",
                    optional=True,
                ),
                Weights.Input(
                    "multiply",
                    optional=True,
                    tooltip="From another such node; the factors are multiplied.",
                ),
            ],
            outputs=[Weights.Output("weights", tooltip="For block_weights of Apply IP-Adapter.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, weights: Any = None) -> bool | str:
        used = isinstance(weights, str) and cls.typed("preset") == CUSTOM
        return not used or attempted(lambda: block_rule(CUSTOM, weights, 1.0, 1.0, VOCABULARY))

    @classmethod
    def execute(
        cls,
        preset: str,
        weights: str = "",
        composition: float = 1.0,
        boost: float = 1.0,
        multiply: LayerWeights | None = None,
    ) -> io.NodeOutput:
        rule = block_rule(preset, weights, composition, boost, VOCABULARY)
        return io.NodeOutput(LayerWeights(blocks=(rule,)).times(multiply or EVERYWHERE))


class Schedule(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPASchedule",
            display_name="Schedule (IP-Adapter)",
            category=f"{CATEGORY}/weights",
            **RESENT,
            description="Lets the scale of a reference change over the steps of a run or over the "
            "frames of a video, or two references fade into each other. Chain two for both, or "
            "with Block Weights.",
            search_aliases=[
                "weight schedule",
                "frames",
                "crossfade",
                "audio",
                "IPAdapter Weights",
                "IPAdapter Combine Weights",
                "IPAdapter Weights From Strategy",
                "Prompt Schedule From Weights Strategy",
            ],
            inputs=[
                io.Combo.Input(
                    "over",
                    options=[_STEPS, _FRAMES],
                    default=_STEPS,
                    tooltip="steps: from the first to the last step of the sampler. frames: from "
                    "the first to the last picture of the batch.",
                ),
                _factors(
                    "start",
                    "Factor at the first step or frame, multiplied with the scale. A list of "
                    "numbers by a link, e.g. of music or a drawn curve: a factor for each step or "
                    "frame, in place of end, curve and values.",
                ),
                _factor("end", "Factor at the last step or frame."),
                io.Combo.Input(
                    "curve",
                    options=[*(curve.value for curve in Curve), RANDOM],
                    default=Curve.LINEAR.value,
                    tooltip="How it gets from start to end. ease_in: fast at first. ease_out: "
                    "slow at first. ease_in_out: slow at both ends. random: another factor "
                    "between start and end in each step or frame.",
                ),
                io.String.Input(
                    "values",
                    default="",
                    optional=True,
                    tooltip="A factor for each step or frame instead of start, end and curve, "
                    "separated by commas, e.g. 1, 0.8, 0.5. The last one goes on.",
                ),
                Weights.Input(
                    "multiply",
                    optional=True,
                    tooltip="From another such node; the factors are multiplied.",
                ),
                *_timing_inputs(),
            ],
            outputs=[
                Weights.Output("weights", tooltip="For block_weights of Apply IP-Adapter."),
                Weights.Output(
                    "other",
                    tooltip="For block_weights of another reference: what this one loses that one "
                    "gains, so that they fade into each other. start 1 and end 0 here are 0 and 1 "
                    "there.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, values: Any = None) -> bool | str:
        return written_numbers("values", values)

    @classmethod
    def execute(
        cls,
        over: str,
        start: float | tuple[float, ...],
        end: float,
        curve: str,
        values: str = "",
        multiply: LayerWeights | None = None,
        first_frame: int = DEFAULTS["first_frame"],
        last_frame: int = DEFAULTS["last_frame"],
        lead_in: int = DEFAULTS["lead_in"],
        lead_out: int = DEFAULTS["lead_out"],
        repeat: str = Repeat.ONCE.value,
        length: int = DEFAULTS["length"],
        random_seed: int = 0,
    ) -> io.NodeOutput:
        timing = (first_frame, last_frame, lead_in, lead_out, length)
        named = dict(zip(DEFAULTS, timing, strict=True))
        question = {"start": start, "end": end, "curve": curve, "values": values, **named}
        this = ramp({**question, "repeat": repeat, "random_seed": random_seed})
        both = (this, replace(this, mirrored=True))
        outputs = [
            LayerWeights(steps=(one,)) if over == _STEPS else LayerWeights(frames=(one,))
            for one in both
        ]
        factors = [one.times(multiply or EVERYWHERE) for one in outputs]
        return io.NodeOutput(*factors, ui=ui.PreviewText(_told(this, over)))


def _told(this: Ramp, over: str) -> str:
    """A few factors, with their places where it matters which."""
    count = this.shown if this.shown else _SHOWN
    places = range(0, count, -(-count // _MOST_SHOWN))
    factors = [f"{this.at(place, count):.2f}" for place in places]
    if this.shown:
        factors = [f"{place}: {factor}" for place, factor in zip(places, factors, strict=True)]
    return f"over {count} {over} that would be {', '.join(factors)}"


NODES: list[type[io.ComfyNode]] = [BlockWeights, Schedule]
