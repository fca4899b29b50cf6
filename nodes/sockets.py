"""Socket types of the pack, inputs that several nodes share, and what may come to which."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from comfy_api.latest import io

from ..ip_models.attention.call import BatchMode
from ..ip_models.attention.keyvalue import KvScaling
from ..ip_models.attention.masks import MaskRule
from ..ip_models.errors import BadInput
from ..ip_models.inputs import only_known
from .host.checks import (
    Adapter,
    Attention,
    Embeds,
    FaceModels,
    Numbers,
    Weights,
    face_models_input,
    right,
    right_list,
)
from .host.doctor import queued
from .host.server import telling

__all__ = ["Adapter", "Attention", "Embeds", "FaceModels", "Weights", "face_models_input"]

CATEGORY = "ipadapter"
MOST_PICTURES = 1_000_000  # of a batch or video

# From 0.19 on the host sends what a node shows also when it need not run again, so that text and
# pictures are there after the page was loaded anew.
RESENT: dict[str, bool] = (
    {"has_intermediate_output": True}
    if "has_intermediate_output" in io.Schema.__dataclass_fields__
    else {}
)


def scale_input() -> Numbers:
    """Weight of the cross-attention to the image tokens."""
    return Numbers(
        "scale",
        default=1.0,
        min=-5.0,
        max=5.0,
        step=0.05,
        tooltip="Weight of the reference. 0 turns it off, 1 is what the adapter was trained with, "
        "0.5 to 0.8 leaves more room to the prompt, negative values push away from it. A list of "
        "numbers by a link: one for each picture of the batch, the last one goes on.",
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
            "the same picture as there. bilinear and bicubic: as ComfyUI_IPAdapter_plus does since "
            "and before March 2024.",
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
            advanced=True,  # few need it
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


class Node(io.ComfyNode):
    """A node that runs only with what its schema asks for, whoever sends it.

    The host checks what is typed. Links it compares by the name of their type, what comes by them
    not at all, and a program may call `execute` with anything.

    Attributes:
        own_checks: inputs that the node answers for itself, e.g. names of files.
    """

    own_checks: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        run = vars(cls).get("execute")
        # The host makes a class of a node for each run, with the same functions.
        if run is not None and not hasattr(run.__func__, "__wrapped__"):
            cls.execute = classmethod(telling(_checked(run.__func__)))

    @classmethod
    def typed(cls, name: str) -> Any:
        """What a prompt that is checked has in an input, None where it comes by a link."""
        return queued.typed(getattr(cls.hidden, "unique_id", None), name)

    @classmethod
    async def queued(cls, read: queued.Read, **values: Any) -> bool | str:
        """What is wrong with a prompt that was sent, before anything of it runs; true for nothing.

        Args:
            read: the files that the node will meet.
            values: the inputs that `validate_inputs` asked for, which the host leaves to it.
        """
        known = {one.id: one for one in cls.define_schema().inputs}
        try:
            for name, value in values.items():
                if value is not None:  # what comes by a link is not known yet
                    right(known[name], name, value)
        except BadInput as error:
            return queued.refused(error)
        return await queued.refusal(getattr(cls.hidden, "unique_id", None), read)


def _checked(run: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    signature = inspect.signature(run)

    @functools.wraps(run)
    def execute(cls: type[Node], /, *args: Any, **kwargs: Any) -> io.NodeOutput:
        schema = cls.define_schema()
        only_known(schema.display_name or schema.node_id, kwargs, [one.id for one in schema.inputs])
        given = signature.bind_partial(cls, *args, **kwargs).arguments
        for one in schema.inputs:
            default = signature.parameters[one.id].default
            if default is inspect.Parameter.empty:
                given.setdefault(one.id, None)
            value = given.get(one.id, default)
            # None is what an input that may be left empty has by itself.
            if one.id not in cls.own_checks and not (value is None and default is None):
                check = right_list if schema.is_input_list else right
                given[one.id] = check(one, one.id, value)
        return run(**given)

    return execute
