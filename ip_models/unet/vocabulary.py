"""The blocks of UNets as users write them, the presets that list them, and the families to draw."""

from __future__ import annotations

from typing import Any

from ..weights.vocabulary import Group, Known, Layout, Outline, Stage, Vocabulary, blocks_of
from .layers import layers_of_config

# SD2 is laid out as SD1.5, Kolors as SDXL.
_CONFIGS: dict[str, dict[str, Any]] = {
    "SD1.5": {
        "model_channels": 320,
        "channel_mult": (1, 2, 4, 4),
        "num_res_blocks": 2,
        "transformer_depth": (1, 1, 1, 1, 1, 1, 0, 0),
        "transformer_depth_output": (*[1] * 9, 0, 0, 0),
        "transformer_depth_middle": 1,
        "context_dim": 768,
        "num_heads": 8,
    },
    "SDXL": {
        "model_channels": 320,
        "channel_mult": (1, 2, 4),
        "num_res_blocks": 2,
        "transformer_depth": (0, 0, 2, 2, 10, 10),
        "transformer_depth_output": (0, 0, 0, 2, 2, 2, 10, 10, 10),
        "transformer_depth_middle": 10,
        "context_dim": 2048,
        "num_head_channels": 64,
    },
}
_SIDES = {"SD1.5": 512, "SDXL": 1024}
# The paper's blocks, up.block_0 number 1 and down.block_2 number 1, are those of SDXL. SD1.5 has
# no attention in up.block_0; there style is up.block_1 and layout down.block_2 with mid, as in
# InvokeAI.
_STYLE = {"SD1.5": (7, 8, 9), "SDXL": (6,)}
_LAYOUT = {"SD1.5": (4, 5, 6), "SDXL": (3,)}
_FOUND_BY = {
    "SD1.5": "InvokeAI's choice for SD1.5, after InstantStyle, which measured SDXL",
    "SDXL": "measured by InstantStyle (arXiv 2404.02733)",
}
_FINDERS = {"SD1.5": "InvokeAI", "SDXL": "InstantStyle"}
_OUTLINES = tuple(
    Outline(
        name,
        _SIDES[name],
        layers_of_config(config),
        (
            Known("style", _STYLE[name], _FOUND_BY[name], _FINDERS[name]),
            Known("layout", _LAYOUT[name], _FOUND_BY[name], _FINDERS[name]),
        ),
    )
    for name, config in _CONFIGS.items()
)
_SD1, _SDXL = (
    Layout(whose, blocks_of(outline.layers))
    for whose, outline in zip(("SD1.5 and SD2", "SDXL"), _OUTLINES, strict=True)
)

_STAGES = ("input", "middle", "output")
_QUIET = {
    "weak input": ("input",),
    "weak output": ("output",),
    "weak middle": ("middle",),
    "strong middle": ("input", "output"),
}
_BY_STAGE = {
    name: {stage: 0.2 if stage in quiet else 1.0 for stage in _STAGES}
    for name, quiet in _QUIET.items()
}

# Names and numbers as in ComfyUI_IPAdapter_plus.
_SD1_STYLE = (*range(4), *range(9, 16))
_SD1_BUT_COMPOSITION = (*range(4), *range(6, 16))
_SDXL_BUT_COMPOSITION = (*range(3), *range(4, 11))
_BY_NUMBER: dict[str, dict[Layout, tuple[Group, ...]]] = {
    "style transfer": {
        _SD1: (Group(_SD1_STYLE),),
        _SDXL: (Group((6,)),),
    },
    "composition": {
        _SD1: (Group((4,), times=0.25), Group((5,))),
        _SDXL: (Group((3,)),),
    },
    "strong style transfer": {
        _SD1: (Group(_SD1_BUT_COMPOSITION),),
        _SDXL: (Group(_SDXL_BUT_COMPOSITION),),
    },
    "style and composition": {
        _SD1: (
            Group(_SD1_STYLE),
            Group((4,), "composition", 0.25),
            Group((5,), "composition"),
        ),
        _SDXL: (Group((6,)), Group((3,), "composition")),
    },
    "strong style and composition": {
        _SD1: (Group(_SD1_BUT_COMPOSITION), Group((4, 5), "composition")),
        _SDXL: (Group(_SDXL_BUT_COMPOSITION), Group((3,), "composition")),
    },
    "style transfer precise": {
        _SD1: (
            Group(_SD1_STYLE),
            Group((4,), "boost", 0.25, swapped=True),
            Group((5,), "boost", swapped=True),
        ),
        _SDXL: (Group((6,)), Group((3,), "boost", swapped=True)),
    },
    "composition precise": {
        _SD1: (
            Group((4,), times=0.25),
            Group((5,)),
            Group(_SD1_STYLE, "boost", swapped=True),
            Group((6, 7, 8), "boost", 0.1, swapped=True),
        ),
        _SDXL: (
            Group((3,)),
            Group((6,), "boost", swapped=True),
            Group((0, 1, 2, 4, 5, 7, 8, 9, 10), "boost", 0.1, swapped=True),
        ),
    },
    # These three are plain on and off, as diffusers' scales are.
    "InstantStyle style": {
        _SD1: (Group(_STYLE["SD1.5"]),),
        _SDXL: (Group(_STYLE["SDXL"]),),
    },
    "InstantStyle layout": {
        _SD1: (Group(_LAYOUT["SD1.5"]),),
        _SDXL: (Group(_LAYOUT["SDXL"]),),
    },
    "InstantStyle style and layout": {
        _SD1: (Group(_LAYOUT["SD1.5"] + _STYLE["SD1.5"]),),
        _SDXL: (Group(_LAYOUT["SDXL"] + _STYLE["SDXL"]),),
    },
}

UNET = Vocabulary(
    stages=(Stage("down", divided=True), Stage("mid", single=True), Stage("up", divided=True)),
    scale='{"up": {"block_0": [0, 1, 0]}}',
    block='{"down": {"block_2": 1.0}}',
    by_stage=_BY_STAGE,
    by_number=_BY_NUMBER,
    outlines=_OUTLINES,
)
"""What weights, masks and the editor know of UNets."""
