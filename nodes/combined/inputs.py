"""Inputs that the nodes of this room share, and what they make of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from comfy_api.latest import io

from ...ip_models.adapter.published import RULES, Choice
from ...ip_models.adapter.spec import FACE_KINDS
from ...ip_models.weights.gains import Weights
from ...ip_models.weights.presets import names, preset
from ..host.combined import find
from ..host.doctor.queued import base_of_typed, read_at_once, searched
from ..host.model.backbones.layers import VOCABULARY
from ..sockets import Node

MODELS = "SD1.5, SD2, SDXL, Kolors, Flux.1, Chroma or SD3.5 Large."
PRESETS = names(VOCABULARY)
EVEN = PRESETS[0]


def kind_input(kinds: Iterable[Choice] = Choice, optional: bool = False) -> io.Combo.Input:
    """What a picture is taken for."""
    return io.Combo.Input(
        "kind",
        options=[kind.value for kind in kinds],
        default=Choice.STANDARD.value,
        optional=optional,
        tooltip="Which adapter to look for: standard gives the gist of a picture, plus its "
        "details, composition its layout, plus face and FaceID a face. For Flux.1 and Chroma "
        "take XLabs v2 or InstantX, for SD3.5 Large InstantX.",
    )


def preset_input(optional: bool = False) -> io.Combo.Input:
    """In which layers a picture counts."""
    return io.Combo.Input(
        "preset",
        options=[*PRESETS],
        default=EVEN,
        optional=optional,
        tooltip="Which part of the picture counts, as on Block Weights: linear all of it, style "
        "transfer its style, composition its layout.",
    )


def mask_input(name: str) -> io.Mask.Input:
    """Where in the picture a reference counts."""
    return io.Mask.Input(
        name,
        optional=True,
        tooltip="White is the part of the picture that hears the reference. Any size; it is "
        "stretched over the picture.",
    )


class FindingNode(Node):
    """A node that finds the files of its `kind` by itself."""

    @classmethod
    async def validate_inputs(cls, kind: Any = None) -> bool | str:
        found = await cls.queued(searched, kind=kind)
        if found is not True or kind is None or RULES[Choice(kind)].kind not in FACE_KINDS:
            return found
        key = getattr(cls.hidden, "unique_id", None)
        return await read_at_once(lambda: find.require_faces(base_of_typed(key)))

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> str:
        return find.fingerprint()


def weights_of(name: str) -> Weights:
    """What Block Weights makes of a preset."""
    return Weights(blocks=(preset(name, VOCABULARY),))
