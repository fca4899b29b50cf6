"""Socket types of the pack and the inputs that several nodes share."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..ip_models.attention.call import BatchMode
from ..ip_models.attention.keyvalue import KvScaling
from ..ip_models.attention.masks import MaskRule
from ..ip_models.errors import BadInput

Adapter = io.Custom("IP_ADAPTER")
Embeds = io.Custom("IPA_EMBEDS")
Weights = io.Custom("IPA_WEIGHTS")
FaceModels = io.Custom("IPA_FACE_MODELS")

CATEGORY = "ipadapter"
MOST_PICTURES = 1_000_000  # of a batch or video

# From 0.19 on the host sends what a node shows also when it need not run again, so that text and
# pictures are there after the page was loaded anew.
RESENT: dict[str, bool] = (
    {"has_intermediate_output": True}
    if "has_intermediate_output" in io.Schema.__dataclass_fields__
    else {}
)


def scale_input() -> io.Float.Input:
    """Weight of the cross-attention to the image tokens."""
    return io.Float.Input(
        "scale",
        default=1.0,
        min=-5.0,
        max=5.0,
        step=0.05,
        tooltip="Weight of the reference. 0 turns it off, 1 is what the adapter was trained with, "
        "0.5 to 0.8 leaves more room to the prompt, negative values push away from it.",
    )


def window_inputs() -> list[io.Input]:
    """During which part of the run the reference is active."""
    return [
        percent_input("start_percent", 0.0, "the reference begins to be heard"),
        percent_input("end_percent", 1.0, "the reference stops to be heard"),
    ]


def where_inputs() -> list[io.Input]:
    """In which part of the picture, layers and pictures of a batch the reference counts."""
    return [
        io.Mask.Input(
            "attn_mask",
            optional=True,
            tooltip="White is the part of the picture that hears the reference. Any size; it is "
            "stretched over the picture and greys count in part. Several masks: one for each "
            "picture of the batch.",
        ),
        Weights.Input(
            "block_weights",
            optional=True,
            tooltip="From Block Weights or Schedule: how loud in which layer, step and frame.",
        ),
        io.Combo.Input(
            "batch_mode",
            options=[mode.value for mode in BatchMode],
            default=BatchMode.ALL.value,
            optional=True,
            advanced=True,
            tooltip="Several references and several pictures or video frames: all references in "
            "every picture, or the first reference in the first picture and so on. When there are "
            "fewer references than pictures the last one goes on, they start again, or they are "
            "spread evenly.",
        ),
        io.Combo.Input(
            "kv_scaling",
            options=[scaling.value for scaling in KvScaling],
            default=KvScaling.V_ONLY.value,
            optional=True,
            advanced=True,
            tooltip="What the scale multiplies: the values alone, as the adapters were trained, or "
            "the keys too, which holds the reference back less evenly. C penalty: less in narrow "
            "layers.",
        ),
        io.Combo.Input(
            "mask_rule",
            options=[rule.value for rule in MaskRule],
            default=MaskRule.AREA.value,
            optional=True,
            advanced=True,
            tooltip="How a mask gets to the size of a layer. area: each cell takes the mean of its "
            "part of the mask. diffusers: black and white only, resized as diffusers does, to get "
            "the same picture as there.",
        ),
    ]


def face_inputs() -> list[io.Input]:
    """What FaceID adapters have besides."""
    return [
        io.Float.Input(
            "face_structure",
            default=1.0,
            min=-1.0,
            max=5.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="FaceID plus v2: how much the looks of the face count beside its identity.",
        ),
        io.Float.Input(
            "face_lora_strength",
            default=1.0,
            min=-2.0,
            max=2.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="Strength of the LoRA inside a FaceID file. 1 is what it was trained with, "
            "0 leaves it out, to load it as a file of its own.",
        ),
    ]


def part_inputs() -> list[io.Input]:
    """Which part of a batch a run is, where that cannot be known by itself."""
    return [
        io.Int.Input(
            "first_picture",
            default=0,
            min=0,
            max=MOST_PICTURES,
            optional=True,
            force_input=True,  # few need it: no box for the others
            tooltip="For one per picture over a part of a batch, as Latent From Batch gives it: "
            "the number of its first picture, counted from 0. Not needed where the sampler adds "
            "ComfyUI's own noise: by that the place of the part is known.",
        )
    ]


def percent_input(name: str, default: float, what: str) -> io.Float.Input:
    """A point of the run as a share of its steps."""
    return io.Float.Input(
        name,
        default=default,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip=f"Part of the run, from 0 (first step) to 1 (last step), at which {what}.",
    )


def by_number(inputs: object, prefix: str) -> dict[int, Any]:
    """What is connected to an Autogrow, by the number in the name of the input, in order.

    Raises:
        BadInput: it is one link instead of inputs with numbers.
    """
    if not isinstance(inputs, dict):
        raise BadInput(
            f"{prefix} is one link",
            f"inputs called {prefix}0, {prefix}1 and so on are needed",
            f"Write the link as {prefix}0",
        )
    numbers = {int(str(name).removeprefix(prefix)): value for name, value in inputs.items()}
    return {number: numbers[number] for number in sorted(numbers) if numbers[number] is not None}
