"""Weights for the frames of a video, as lists on a FLOAT socket."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...ip_models.inputs import require, shown
from .steps.frames import (
    FULL,
    METHODS,
    REVERSE,
    TIMINGS,
    Strategy,
    plan,
    prompt_schedule,
    require_strategy,
)
from .widgets import Inputs, OldNode, number, whole


def _frames(default: int = 0) -> tuple[Any, ...]:
    return whole(default, 0, 9999, 1)


class Weights(OldNode):
    RETURN_TYPES = ("FLOAT", "FLOAT", "INT", "IMAGE", "IMAGE", "WEIGHTS_STRATEGY")
    RETURN_NAMES = (
        "weights",
        "weights_invert",
        "total_frames",
        "image_1",
        "image_2",
        "weights_strategy",
    )
    FUNCTION = "weights"
    CATEGORY = "ipadapter/weights"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                "weights": ("STRING", {"default": "1.0, 0.0", "multiline": True}),
                "timing": (TIMINGS, {"default": "linear"}),
                "frames": _frames(),
                "start_frame": _frames(),
                "end_frame": _frames(9999),
                "add_starting_frames": _frames(),
                "add_ending_frames": _frames(),
                "method": (METHODS, {"default": FULL}),
            },
            "optional": {"image": ("IMAGE",)},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, timing: Any = None) -> bool | str:
        """In place of the host's check, which refuses the timing that was there for two weeks."""
        known = timing is None or timing in (*TIMINGS, REVERSE)  # None comes by a link
        return known or f"timing is {shown(timing)}, the choices are {', '.join(TIMINGS)}"

    def weights(
        self,
        weights: str = "",
        timing: str = "custom",
        frames: int = 0,
        start_frame: int = 0,
        end_frame: int = 9999,
        add_starting_frames: int = 0,
        add_ending_frames: int = 0,
        method: str = FULL,
        weights_strategy: Any = None,
        image: Any = None,
        **_ignored: Any,
    ) -> tuple[list[float], list[float], int, Tensor | None, Tensor | None, Any]:
        require("image", image, Tensor | None, "an IMAGE")
        strategy = weights_strategy
        if strategy is None:
            strategy = Strategy(
                weights=weights,
                timing=timing,
                frames=frames,
                start_frame=start_frame,
                end_frame=end_frame,
                add_starting_frames=add_starting_frames,
                add_ending_frames=add_ending_frames,
                method=method,
                frame_count=0 if image is None else len(image),
            )
        require_strategy(strategy)
        made = plan(strategy, image)
        back = made.weights[::-1]
        return made.weights, back, len(made.weights), made.image_1, made.image_2, strategy


class WeightsFromStrategy(Weights):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {"weights_strategy": ("WEIGHTS_STRATEGY",)},
            "optional": {"image": ("IMAGE",)},
        }


class PromptSchedule(OldNode):
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("prompt_schedule",)
    FUNCTION = "prompt_schedule"
    CATEGORY = "ipadapter/weights"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                "weights_strategy": ("WEIGHTS_STRATEGY",),
                "prompt": ("STRING", {"default": "", "multiline": True}),
            }
        }

    def prompt_schedule(
        self, weights_strategy: Any, prompt: str = "", **_ignored: Any
    ) -> tuple[str]:
        require_strategy(weights_strategy)
        return (prompt_schedule(weights_strategy, prompt),)


class CombineWeights(OldNode):
    RETURN_TYPES = ("FLOAT", "INT")
    RETURN_NAMES = ("weights", "count")
    FUNCTION = "combine"
    CATEGORY = "ipadapter/utils"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        one = number(0.0, 0.0, 1.0)
        return {"required": {"weights_1": one, "weights_2": one}}

    def combine(self, weights_1: Any, weights_2: Any, **_ignored: Any) -> tuple[list[Any], int]:
        first, second = (
            list(one) if isinstance(one, list | tuple) else [one] for one in (weights_1, weights_2)
        )
        return first + second, len(first) + len(second)


NODES: dict[str, type[OldNode]] = {
    "IPAdapterWeights": Weights,
    "IPAdapterWeightsFromStrategy": WeightsFromStrategy,
    "IPAdapterPromptScheduleFromWeightsStrategy": PromptSchedule,
    "IPAdapterCombineWeights": CombineWeights,
}
TITLES: dict[str, str] = {
    "IPAdapterWeights": "IPAdapter Weights",
    "IPAdapterWeightsFromStrategy": "IPAdapter Weights From Strategy",
    "IPAdapterPromptScheduleFromWeightsStrategy": "Prompt Schedule From Weights Strategy",
    "IPAdapterCombineWeights": "IPAdapter Combine Weights",
}
