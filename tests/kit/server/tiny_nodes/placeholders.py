"""Checkpoints and image encoders under any name: a file holds which, the host gets a tiny one.

The host builds what it reads from files in full size only: a UNet of other widths is none of its
models. So files that name a base model and hold nothing else are read as the tiny random stand-in
for it, by all loaders of the host and of every pack that calls the host's. All other files are the
host's own affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import comfy.clip_vision
import comfy.sd

BASE = "placeholder."
INSIDE = "vision_model.encoder.layers.0.mlp.fc1.bias"
ENCODERS = {1280: "ViT-H", 1664: "ViT-bigG", 1024: "ViT-L 336"}


def install() -> None:
    """Look at what is read before the host does."""
    checkpoint = comfy.sd.load_state_dict_guess_config
    encoder = comfy.clip_vision.load_clipvision_from_sd

    def any_checkpoint(sd: Any, *given: Any, **named: Any) -> Any:
        base = _base(sd)
        made = (*_models(base), _vision("ViT-H")) if base else None
        return made or checkpoint(sd, *given, **named)

    def any_encoder(sd: Any, *given: Any, **named: Any) -> Any:
        width = _width(sd)
        return _vision(ENCODERS[width]) if width else encoder(sd, *given, **named)

    comfy.sd.load_state_dict_guess_config = any_checkpoint
    comfy.clip_vision.load_clipvision_from_sd = any_encoder


def _base(sd: Mapping[str, Any]) -> str | None:
    names = [key.removeprefix(BASE) for key in sd if key.startswith(BASE)]
    return names[0] if names else None


def _width(sd: Mapping[str, Any]) -> int | None:
    """Of the layers of an image encoder that has next to nothing inside."""
    norm, inside = sd.get("vision_model.post_layernorm.weight"), sd.get(INSIDE)
    return len(norm) if norm is not None and inside is not None and len(inside) == 8 else None


def _models(base: str) -> tuple[Any, Any, Any]:
    """Those of the loaders' stand-in: a text model of 49,408 words twice is memory for nothing."""
    from . import RANDOM_SDXL, RANDOM_WEIGHTS, checkpoint

    return checkpoint(RANDOM_SDXL if base == "sdxl" else RANDOM_WEIGHTS)


@cache
def _vision(name: str) -> Any:
    from .models import tiny_clip_vision

    return tiny_clip_vision(name=name)
