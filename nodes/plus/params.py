"""References with their prompts and masks, listed for IPAdapter from Params."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...ip_models.errors import BadInput
from ...ip_models.inputs import require
from ..host.protocols import masked, require_conditioning
from .widgets import Inputs, OldNode, number, weight, weight_type, window

Params = dict[str, list[Any]]
FIELDS = ("image", "attn_mask", "weight", "weight_type", "start_at", "end_at")


class RegionalConditioning(OldNode):
    RETURN_TYPES = ("IPADAPTER_PARAMS", "CONDITIONING", "CONDITIONING")
    RETURN_NAMES = ("IPADAPTER_PARAMS", "POSITIVE", "NEGATIVE")
    FUNCTION = "conditioning"
    CATEGORY = "ipadapter/params"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        return {
            "required": {
                "image": ("IMAGE",),
                **weight(3.0, "image_weight"),
                "prompt_weight": number(1.0, 0.0, 10.0),
                **weight_type(),
                **window(),
            },
            "optional": {
                "mask": ("MASK",),
                "positive": ("CONDITIONING",),
                "negative": ("CONDITIONING",),
            },
        }

    def conditioning(
        self,
        image: Any,
        image_weight: float,
        prompt_weight: float,
        weight_type: str,
        start_at: float,
        end_at: float,
        mask: Any = None,
        positive: Any = None,
        negative: Any = None,
        **_ignored: Any,
    ) -> tuple[Params, Any, Any]:
        require("mask", mask, Tensor | None, "a MASK")
        if mask is not None:
            positive, negative = (
                _in_part(name, prompt, mask, prompt_weight)
                for name, prompt in (("positive", positive), ("negative", negative))
            )
        values = (image, mask, image_weight, weight_type, start_at, end_at)
        params = {name: [value] for name, value in zip(FIELDS, values, strict=True)}
        return params, positive, negative


def _in_part(name: str, prompt: Any, mask: Tensor, strength: float) -> Any:
    if prompt is None:
        return None
    require_conditioning(name, prompt)
    return masked(prompt, mask, strength)


class CombineParams(OldNode):
    RETURN_TYPES = ("IPADAPTER_PARAMS",)
    FUNCTION = "combine"
    CATEGORY = "ipadapter/params"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Inputs]:
        names = [f"params_{i}" for i in range(1, 6)]
        inputs: Inputs = {name: ("IPADAPTER_PARAMS",) for name in names}
        return {
            "required": {name: inputs[name] for name in names[:2]},
            "optional": {name: inputs[name] for name in names[2:]},
        }

    def combine(
        self,
        params_1: Any,
        params_2: Any,
        params_3: Any = None,
        params_4: Any = None,
        params_5: Any = None,
        **_ignored: Any,
    ) -> tuple[Params]:
        given = (params_1, params_2, params_3, params_4, params_5)
        used = [require_params(one) for one in given if one is not None]
        return ({name: [value for one in used for value in one[name]] for name in FIELDS},)


def require_params(params: Any) -> Params:
    """The lists of IPADAPTER_PARAMS.

    Raises:
        BadInput: they are not six of one length.
    """
    require("params", params, dict, "IPAdapter Regional Conditioning")
    lists = [params.get(name) for name in FIELDS]
    if not all(isinstance(one, list) for one in lists) or len({len(one) for one in lists}) != 1:
        raise BadInput(
            f"the params hold {', '.join(map(str, params)) or 'nothing'}",
            f"lists of one length called {', '.join(FIELDS)} are needed",
            "Connect IPAdapter Regional Conditioning or IPAdapter Combine Params",
        )
    return params


NODES: dict[str, type[OldNode]] = {
    "IPAdapterRegionalConditioning": RegionalConditioning,
    "IPAdapterCombineParams": CombineParams,
}
TITLES: dict[str, str] = {
    "IPAdapterRegionalConditioning": "IPAdapter Regional Conditioning",
    "IPAdapterCombineParams": "IPAdapter Combine Params",
}
