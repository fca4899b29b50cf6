"""Inputs that many old nodes share, in the form of the host's first node API.

Names, order, defaults and ranges are those of ComfyUI_IPAdapter_plus at 9d076a3 and, for version 1,
at 6a411dc.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .steps.checks import checked
from .steps.profile import Profile, Version, profile_of

Inputs = dict[str, tuple[Any, ...]]

WEIGHT_TYPES = [
    "linear",
    "ease in",
    "ease out",
    "ease in-out",
    "reverse in-out",
    "weak input",
    "weak output",
    "weak middle",
    "strong middle",
    "style transfer",
    "composition",
    "strong style transfer",
    "style and composition",
    "style transfer precise",
    "composition precise",
]
_COMBINE = ["concat", "add", "subtract", "average", "norm average"]
_SCALING = ["V only", "K+V", "K+V w/ C penalty", "K+mean(V) w/ C penalty"]


class OldNode:
    """A node under a name of ComfyUI_IPAdapter_plus; tells this pack's from that pack's.

    Attributes:
        VERSION: which version's picture it makes.
    """

    VERSION: ClassVar[Version] = Version.TWO

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        name = getattr(cls, "FUNCTION", "")
        if name in vars(cls):
            setattr(cls, name, checked(vars(cls)[name]))

    @classmethod
    def IS_CHANGED(cls, **_: Any) -> str:
        """So that a node runs again after the setting that chooses the profile has changed."""
        return repr(profile_of(cls.VERSION))

    @property
    def profile(self) -> Profile:
        """How this node makes its picture at present."""
        return profile_of(self.VERSION)


def number(default: float, least: float, most: float, step: float | None = 0.05) -> tuple[Any, ...]:
    """A FLOAT."""
    return "FLOAT", _range(default, least, most, step)


def whole(default: int, least: int, most: int, step: int | None = None) -> tuple[Any, ...]:
    """An INT."""
    return "INT", _range(default, least, most, step)


def _range(default: float, least: float, most: float, step: float | None) -> dict[str, Any]:
    limits: dict[str, Any] = {"default": default, "min": least, "max": most}
    return limits if step is None else {**limits, "step": step}


def model(image: str | None = "image") -> Inputs:
    """MODEL, IPADAPTER and a picture."""
    inputs: Inputs = {"model": ("MODEL",), "ipadapter": ("IPADAPTER",)}
    return inputs if image is None else {**inputs, image: ("IMAGE",)}


def weight(most: float, name: str = "weight", default: float = 1.0) -> Inputs:
    """How much the reference counts."""
    return {name: number(default, -1, most)}


def weight_type() -> Inputs:
    """Which layers hear it."""
    return {"weight_type": (WEIGHT_TYPES,)}


def combine(default: str | None = None) -> Inputs:
    """How several references become one."""
    choice = (_COMBINE,) if default is None else (_COMBINE, {"default": default})
    return {"combine_embeds": choice}


def window() -> Inputs:
    """The part of the run."""
    return {"start_at": number(0.0, 0.0, 1.0, 0.001), "end_at": number(1.0, 0.0, 1.0, 0.001)}


def scaling() -> Inputs:
    """What the weight is multiplied with."""
    return {"embeds_scaling": (_SCALING,)}


def batch_size() -> Inputs:
    """Pictures that are encoded together."""
    return {"encode_batch_size": whole(0, 0, 4096)}


def sockets(*names: str) -> Inputs:
    """Optional links, in this order."""
    return {name: (_TYPES[name],) for name in names}


_TYPES = {
    "image_negative": "IMAGE",
    "attn_mask": "MASK",
    "clip_vision": "CLIP_VISION",
    "insightface": "INSIGHTFACE",
    "neg_embed": "EMBEDS",
}
LINKS = ("image_negative", "attn_mask", "clip_vision")
