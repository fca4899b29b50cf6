"""One table of what old nodes were like: the queue applies it to prompts, the editor to graphs.

What is told here is what no class tells. Inputs and their defaults are those of the classes.
"""

from __future__ import annotations

from typing import Any, TypedDict

from ..pixels.prepare import OLD_INTERPOLATIONS


class Rename(TypedDict):
    """An old form that had the name of another node.

    Attributes:
        old, new: the name then, and what it is called here.
        named: inputs that only the old form has; one is enough.
        values: kinds of a graph's widget values by which the old form is known without them.
        inputs: what its inputs are called here, where they have another name.
    """

    old: str
    new: str
    named: list[str]
    values: list[list[str]]
    inputs: dict[str, str]


RENAMES: list[Rename] = [
    {
        "old": "IPAdapterEncoder",  # of version 1, the first two weeks with one picture
        "new": "IPAdapterEncoderV1",
        "named": ["image_1", "ipadapter_plus", "plus"],
        "values": [["boolean", "number"], ["boolean", *["number"] * 5]],
        "inputs": {"image": "image_1", "plus": "ipadapter_plus"},
    },
    {
        "old": "IPAdapter",  # the only node of laksjdjf/IPAdapter-ComfyUI
        "new": "IPAdapterLaksjdjf",
        "named": ["model_name", "dtype"],
        "values": [["number", "string", "string"]],
        "inputs": {},
    },
]
# Texts of early versions by widget. A node takes those that lead to one of its choices.
TEXTS: dict[str, dict[str, str]] = {
    "weight_type": {
        "style transfer (SDXL)": "style transfer",
        "style transfer (SDXL only)": "style transfer",
        "composition (SDXL)": "composition",
        "style transfer and composition": "style and composition",
    },
    "interpolation": dict(OLD_INTERPOLATIONS),
}
# What a loader is asked for: it was always there, and no default can stand in for it.
ASKED = {
    "IPAdapterModelLoader": "ipadapter_file",
    "IPAdapterLoadEmbeds": "embeds",
    "IPAdapterUnifiedLoader": "preset",
    "IPAdapterUnifiedLoaderFaceID": "preset",
    "IPAdapterUnifiedLoaderCommunity": "preset",
    "IPAdapterLaksjdjf": "model_name",
}
# Types of outputs that were others for some days, and today's.
OUTPUTS = {"InsightFaceLoader": {"CLIP_VISION": "INSIGHTFACE"}}
# Under these names, in small letters, graphs name the pack that their nodes came from.
PACKS = [
    "comfyui_ipadapter_plus",
    "cubiq/comfyui_ipadapter_plus",
    "comfyui_ipadapter_plus_v2",
    "chflame163/comfyui_ipadapter_plus_v2",
    "laksjdjf/ipadapter-comfyui",
]
OWN_PACK = "ip-adapter-nodes"  # as the registry has it
FORK = "V2"  # ComfyUI_IPAdapter_plus_V2 has the same nodes under names that end so


class Widget(TypedDict):
    """A widget of a node.

    Attributes:
        default: None where there is none.
        needed: the host refuses a prompt without it.
        texts: what texts of early versions are now.
    """

    name: str
    default: Any
    needed: bool
    texts: dict[str, str]


def widgets(name: str, node: Any) -> list[Widget]:
    """The widgets of a node in the order of the editor.

    Args:
        node: a class of the host's first node API.
    """
    groups: dict[str, dict[str, Any]] = node.INPUT_TYPES()
    asked = ASKED.get(name.removesuffix(FORK))
    return [
        _widget(each, spec, needed=group == "required", asked=each == asked)
        for group in ("required", "optional")
        for each, spec in groups.get(group, {}).items()
        if isinstance(spec[0], list) or "default" in _options(spec)
    ]


def _widget(name: str, spec: Any, needed: bool, asked: bool) -> Widget:
    choices: list[Any] = spec[0] if isinstance(spec[0], list) else []
    default = _options(spec).get("default", choices[0] if choices else None)
    texts = {
        old: new
        for old, new in TEXTS.get(name, {}).items()
        if new in choices and old not in choices
    }
    return Widget(name=name, default=None if asked else default, needed=needed, texts=texts)


def _options(spec: Any) -> dict[str, Any]:
    return spec[1] if len(spec) > 1 else {}
