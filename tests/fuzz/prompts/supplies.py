"""Good objects for all sockets, made by the host's nodes and the pack's own from files."""

from __future__ import annotations

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

_MOST = 6  # of one type
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
    ("CLIPVisionEncode", {"clip_vision": "good CLIP_VISION 0", "image": "good IMAGE 0"}),
    ("IPALoadAdapter", {"adapter_file": TINY}),
    ("IPAdapterModelLoader", {"ipadapter_file": TINY}),
]


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
    for turn in range(_ROUNDS):
        plain = Generator(turn, bed.classes, goods)
        for kind in sorted(bed.classes):
            prompt = plain.good(kind, Random(f"{turn} {kind}"), 1.0)
            prompt.pop("sampler", None)
            prompt["take"]["inputs"].pop("taken7", None)
            _keep(bed, goods, prompt, _types(kind))
    return goods


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
    import nodes

    return list(nodes.NODE_CLASS_MAPPINGS[kind].RETURN_TYPES)


def _choices(bed: Bed, kind: str, name: str) -> list[str]:
    return list(bed.classes[kind].INPUT_TYPES()["required"][name][1]["options"])


def _keep(bed: Bed, goods: Goods, prompt: Prompt, types: list[str]) -> None:
    for number in range(len(types)):
        objects.TABLE.pop(f"taken{number}", None)
    bed.run(json.dumps(prompt))
    for number, sort in enumerate(types):
        goods.add(sort, objects.TABLE.pop(f"taken{number}", None), _MOST)
