"""The tokens of InstantID's faces, for a ControlNet to hear in place of the prompt."""

from __future__ import annotations

from typing import cast

import comfy.model_management
import node_helpers
import torch
from torch import Tensor

from ....ip_models.adapter.spec import Kind
from ....ip_models.errors import BadInput, UnsupportedAdapter
from ....ip_models.references.features import Features, Regions, inputs
from ..protocols import Conditioning, require_conditioning
from .adapter import ANY_ENCODER, LoadedAdapter

# What a ControlNet of the host hears if it is there, and the text otherwise.
CONTROL_TEXT = "cross_attn_controlnet"


def face_tokens(adapter: LoadedAdapter, embeds: Features | Regions) -> tuple[Tensor, Tensor]:
    """Tokens of all faces side by side, and as many of no face; both (1, tokens, context).

    Raises:
        UnsupportedAdapter: it is another one than InstantID's.
        BadInput: the embeds are regions.
        WrongEncoder: they hold no face.
    """
    if adapter.spec.kind is not Kind.PORTRAIT_UNNORMED:
        raise UnsupportedAdapter(
            f"{adapter.name} is {adapter.spec.describe()}",
            "InstantID's ControlNet was trained with the 16 tokens of InstantID's own adapter",
            "Load ip-adapter.bin of InstantX/InstantID with Load IP-Adapter",
        )
    if isinstance(embeds, Regions):
        raise BadInput(
            "embeds come from Regions",
            "a ControlNet hears the same in the whole picture",
            "Connect Encode Face, and Regions to Apply IP-Adapter only",
        )
    (rows,) = inputs(embeds, adapter.spec, adapter.name, ANY_ENCODER)
    comfy.model_management.load_models_gpu([adapter.patcher])
    nothing = torch.zeros_like(rows[0, :1]) if embeds.count else rows.new_zeros(1, *rows.shape[2:])
    seen = torch.cat((rows[0], nothing)).to(adapter.patcher.load_device)
    with torch.no_grad():
        tokens = adapter.patcher.model.tokens(seen)
    tokens = tokens.to(comfy.model_management.intermediate_device())
    empty = tokens[-1:]
    faces = tokens[:-1].flatten(0, 1)[None] if embeds.count else empty
    # Said again as often as there are faces, which changes nothing: so both prompts run together.
    return faces, empty.repeat(1, max(embeds.count, 1), 1)


def give(name: str, conditioning: object, tokens: Tensor) -> Conditioning:
    """A new CONDITIONING whose ControlNets hear tokens in place of the text.

    Raises:
        BadInput: it is no CONDITIONING, or its ControlNets hear something else already.
    """
    require_conditioning(name, conditioning)
    for _, values in cast("Conditioning", conditioning):
        if values.get(CONTROL_TEXT) is not None:
            raise BadInput(
                f"{name} holds tokens for a ControlNet already ({CONTROL_TEXT})",
                "a ControlNet hears one face or one text",
                "Connect the CONDITIONING from before that node",
            )
    return node_helpers.conditioning_set_values(conditioning, {CONTROL_TEXT: tokens})
