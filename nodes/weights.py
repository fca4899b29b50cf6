"""Nodes that make factors of the scale, for each layer, step and frame."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..ip_models.inputs import parse_numbers
from ..ip_models.weights.editor_data import CUSTOM, FACTOR_RANGE, block_rule
from ..ip_models.weights.gains import EVERYWHERE
from ..ip_models.weights.gains import Weights as LayerWeights
from ..ip_models.weights.presets import names
from ..ip_models.weights.schedule import Curve, Ramp
from .host.model.backbones.layers import VOCABULARY
from .sockets import CATEGORY, RESENT, Node, Weights

_PRESETS = names(VOCABULARY)
_STEPS, _FRAMES = "steps", "frames"
_SHOWN = 5


def _factor(name: str, tooltip: str, optional: bool = False) -> io.Float.Input:
    least, most = FACTOR_RANGE
    return io.Float.Input(
        name, default=1.0, min=least, max=most, step=0.05, optional=optional, tooltip=tooltip
    )


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
                    tooltip="The weight types of ComfyUI_IPAdapter_plus, the blocks of "
                    "InstantStyle, or custom for the weights written below. The precise ones push "
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
        )

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
            "frames of a video. Chain two for both, or with Block Weights.",
            search_aliases=[
                "weight schedule",
                "frames",
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
                _factor("start", "Factor at the first step or frame, multiplied with the scale."),
                _factor("end", "Factor at the last step or frame."),
                io.Combo.Input(
                    "curve",
                    options=[curve.value for curve in Curve],
                    default=Curve.LINEAR.value,
                    tooltip="How it gets from start to end. ease_in: fast at first. ease_out: "
                    "slow at first. ease_in_out: slow at both ends.",
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
            ],
            outputs=[Weights.Output("weights", tooltip="For block_weights of Apply IP-Adapter.")],
        )

    @classmethod
    def execute(
        cls,
        over: str,
        start: float,
        end: float,
        curve: str,
        values: str = "",
        multiply: LayerWeights | None = None,
    ) -> io.NodeOutput:
        ramp = Ramp(start, end, Curve(curve), tuple(parse_numbers(values, "values")))
        weights = LayerWeights(steps=(ramp,)) if over == _STEPS else LayerWeights(frames=(ramp,))
        factors = ", ".join(f"{ramp.at(i, _SHOWN):.2f}" for i in range(_SHOWN))
        text = f"over {_SHOWN} {over} that would be {factors}"
        return io.NodeOutput(weights.times(multiply or EVERYWHERE), ui=ui.PreviewText(text))


NODES: list[type[io.ComfyNode]] = [BlockWeights, Schedule]
