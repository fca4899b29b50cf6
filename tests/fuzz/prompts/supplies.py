"""Good objects for all sockets, made by the host's nodes and the pack's own from files."""

from __future__ import annotations

import importlib
import itertools
import json
from random import Random
from typing import Any

import torch
from kit.server import tiny_nodes
from soak.bed import TINY

from . import objects
from .bed import Bed
from .generate import Generator
from .schemas import Goods, Prompt

_MOST = 12  # of one type
_ROUNDS = 3  # an EMBEDS comes from an IPADAPTER, and other nodes need one

# The first of each type goes with the first of all others: SD1.5, ViT-H.
_FIRST: list[tuple[str, dict[str, Any]]] = [
    ("IPADemoCheckpoint", {"ckpt_name": tiny_nodes.RANDOM_WEIGHTS}),
    ("IPADemoCheckpoint", {"ckpt_name": tiny_nodes.RANDOM_SDXL}),
    ("IPADemoCheckpoint", {"ckpt_name": tiny_nodes.RANDOM_SD3}),
    ("IPADemoFlux", {}),
    ("IPADemoCLIPVision", {"clip_name": tiny_nodes.RANDOM_WEIGHTS}),
    ("IPADemoCLIPVision", {"clip_name": tiny_nodes.VIT_L}),
    ("IPADemoCLIPVision", {"clip_name": tiny_nodes.SIGLIP}),
    ("CLIPTextEncode", {"clip": "good CLIP 0", "text": "a cat"}),
    ("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": 1}),
    (
        "CLIPVisionEncode",
        {"clip_vision": "good CLIP_VISION 2", "image": "good IMAGE 0", "crop": "center"},
    ),
    ("IPALoadAdapter", {"adapter_file": TINY}),
    ("IPAdapterModelLoader", {"ipadapter_file": TINY}),
    (
        "IPAdapterEncoder",
        {
            "ipadapter": "good IPADAPTER 0",
            "image": "good IMAGE 0",
            "weight": 1.0,
            "clip_vision": "good CLIP_VISION 0",
        },
    ),
    *(
        (
            "IPAEncodeImage",
            {"clip_vision": f"good CLIP_VISION {number}", "image": "good IMAGE 0", "fit": "pad"},
        )
        for number in range(3)
    ),
]
_OWN_MODEL = {"SD3": 2, "Flux": 3, "Xlabs": 3}  # of nodes that are for one family


def gather(bed: Bed) -> Goods:
    """Run nodes until each socket has something."""
    objects.fill()
    goods = Goods()
    random = torch.Generator().manual_seed(1)
    for shape in ((1, 64, 48, 3), (2, 32, 32, 3), (1, 256, 256, 3)):
        goods.add("IMAGE", torch.rand(shape, generator=random), _MOST)
    for shape in ((1, 16, 16), (2, 8, 8)):
        goods.add("MASK", torch.rand(shape, generator=random), _MOST)
    goods.add("FLOAT", [0.5, 1.0], _MOST)
    for kind, inputs in _FIRST:
        _keep(bed, goods, _alone(kind, inputs), _types(kind))
    for adapter in _choices(bed, "IPALoadAdapter", "adapter_file"):
        _keep(bed, goods, _alone("IPALoadAdapter", {"adapter_file": adapter}), ["IP_ADAPTER"])
    goods.families = {kind: _family(goods, kind) for kind in bed.classes}
    goods.together = _together(bed, goods)
    for turn in range(_ROUNDS):
        plain = Generator(turn, bed.classes, goods)
        for kind in sorted(bed.classes):
            prompt = plain.good(kind, Random(f"{turn} {kind}"), 1.0)
            prompt.pop("sampler", None)
            prompt["take"]["inputs"].pop("taken7", None)
            _keep(bed, goods, prompt, _types(kind))
    return goods


def _family(goods: Goods, kind: str) -> dict[str, str]:
    """The MODEL of a node that is for one family."""
    found = [number for word, number in _OWN_MODEL.items() if word in kind]
    return {"MODEL": goods.names["MODEL"][found[0]]} if found else {}


def _together(bed: Bed, goods: Goods) -> list[dict[str, str]]:
    """MODEL, adapter and embeds that go together."""
    found: list[dict[str, str]] = []
    sorts = ("MODEL", "IP_ADAPTER", "IPA_EMBEDS")
    for names in itertools.product(*(goods.names[sort] for sort in sorts)):
        inputs = dict(zip(("model", "adapter", "embeds"), names, strict=True))
        window = {"scale": 1.0, "start_percent": 0.0, "end_percent": 1.0}
        if bed.run(json.dumps(_alone("IPAApply", {**inputs, **window}))).kind == "ran":
            found.append(dict(zip(sorts, names, strict=True)))
    return found


def _alone(kind: str, inputs: dict[str, Any]) -> Prompt:
    given = {name: value for name, value in inputs.items() if str(value).startswith("good ")}
    prompt: Prompt = {
        f"give {key}": {"class_type": "FuzzGive", "inputs": {"key": key}} for key in given.values()
    }
    links = {name: [f"give {key}", 0] for name, key in given.items()}
    prompt["node"] = {"class_type": kind, "inputs": {**inputs, **links}}
    taken = {f"taken{number}": ["node", number] for number in range(len(_types(kind)))}
    prompt["take"] = {"class_type": "FuzzTake", "inputs": taken}
    return prompt


def _types(kind: str) -> list[str]:
    host: Any = importlib.import_module("nodes")
    return list(host.NODE_CLASS_MAPPINGS[kind].RETURN_TYPES)


def _choices(bed: Bed, kind: str, name: str) -> list[str]:
    return list(bed.classes[kind].INPUT_TYPES()["required"][name][1]["options"])


def _keep(bed: Bed, goods: Goods, prompt: Prompt, types: list[str]) -> None:
    for number in range(len(types)):
        objects.TABLE.pop(f"taken{number}", None)
    bed.run(json.dumps(prompt))
    for number, sort in enumerate(types):
        goods.add(sort, objects.TABLE.pop(f"taken{number}", None), _MOST)
