"""What may be on a link: good objects by their type, and odd ones that no good node gives."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy
import torch
from PIL import Image

TABLE: dict[str, Any] = {}
ODD = "odd "
_SHAPES = (
    *((), (0,), (1,), (1, 8), (8, 8), (1, 8, 8), (2, 8, 8), (3, 1, 1), (0, 8, 8), (1, 0, 8)),
    *((1, 8, 8, 3), (2, 8, 8, 3), (1, 8, 8, 1), (1, 8, 8, 4), (0, 8, 8, 3), (1, 0, 0, 3)),
    *((1, 1, 1, 3), (1, 1, 3000, 3), (1, 3000, 1, 3), (1, 8, 8, 3, 1), (1, 4, 8, 8), (5, 4, 1, 1)),
    *((1, 1024), (1, 1, 1024), (2, 257, 1280), (1, 16, 1280), (1, 17, 1664), (3, 512), (1, 1, 512)),
)
_DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.int64, torch.bool),
    *(torch.complex64, torch.int8, torch.int16),
)


def fill() -> None:
    """Put all odd objects into the table."""
    TABLE.update({f"{ODD}{name}": value for name, value in _values().items()})
    for shape in _SHAPES:
        TABLE[f"{ODD}tensor {'x'.join(map(str, shape))}"] = torch.rand(shape)
    for kind in _DTYPES:
        TABLE[f"{ODD}image {kind}"] = torch.ones(1, 8, 8, 3).to(kind)
        TABLE[f"{ODD}mask {kind}"] = torch.ones(1, 8, 8).to(kind)
    for name, make in _TENSORS.items():
        for shape in ((1, 8, 8, 3), (1, 8, 8), (1, 1, 1024)):
            TABLE[f"{ODD}{name} {'x'.join(map(str, shape))}"] = make(torch.ones(shape))


_TENSORS: dict[str, Callable[[Any], Any]] = {
    "not a number": lambda made: made * float("nan"),
    "infinite": lambda made: made * float("inf"),
    "of 255": lambda made: made * 255,
    "tiny numbers": lambda made: made * 1e-42,
    "great numbers": lambda made: made * 3e38,
    "sparse": lambda made: made.to_sparse(),
    "meta": lambda made: made.to("meta"),
    "with gradients": lambda made: made.requires_grad_(),
    "transposed": lambda made: made.transpose(1, -1),
    "expanded": lambda made: made[:1].expand(8, *made.shape[1:]),
}


def _values() -> dict[str, Any]:
    rows = torch.rand(1, 77, 768)
    numbers = {"huge": 10**400, "minus huge": -(10**400), "five": 5, "minus": -1, "zero": 0}
    floats = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "half": 0.5}
    texts = {"text": "text", "no text": "", "bytes": b"\xff", "surrogate": "\ud800", "nul": "a\0b"}
    long = {"long text": "9" * 1_000_000, "long list": [0.5] * 300_000, "lists": [[]] * 1000}
    lists = {"none": None, "true": True, "list": [], "numbers": [1, 2.5], "pair": ["a", 0]}
    tables = {"table": {}, "of a": {"a": 1}, "samples": {"samples": None}, "set": {1, 2}}
    latents = {
        "latent": {"samples": torch.zeros(1, 4, 0, 8)},
        "latent of numbers": {"samples": [1, 2]},
        "wide latent": {"samples": torch.zeros(1, 16, 2, 2)},
        "video latent": {"samples": torch.zeros(1, 4, 3, 8, 8)},
    }
    conditionings = {
        "no texts": [],
        "text without values": [[rows]],
        "text of no tensor": [[None, {}]],
        "texts of numbers": [1, 2],
        "odd values": [[rows, {"area": 5, "mask": "x", "strength": None}]],
        "narrow text": [[torch.rand(1, 77, 8), {}]],
        "no rows of text": [[torch.rand(1, 0, 768), {}]],
    }
    adapters = {
        "no adapter": {"ipadapter": None, "clipvision": None, "insightface": None},
        "table of weights": {"image_proj": {}, "ip_adapter": {}},
        "weights of none": {"image_proj": {"proj.weight": None}, "ip_adapter": {"1": 5}},
        "wrapped weights": {"ipadapter": {"model": {"image_proj": {}, "ip_adapter": {}}}},
    }
    strange = {
        "object": object(),
        "class": int,
        "space": SimpleNamespace(model=None, image_size=0, image_mean=None),
        "array": numpy.zeros((1, 8, 8, 3)),
        "picture": Image.new("RGB", (8, 8)),
        "module": torch.nn.Linear(2, 2),
        "images": [torch.rand(1, 8, 8, 3), torch.rand(1, 4, 4, 3)],
        "function": len,
        "complex": 1j,
        "endless": (number for number in ()),
        "strategy": {"weights": None, "frames": -1, "timing": "x"},
    }
    groups = (numbers, floats, texts, long, lists, tables, latents, conditionings, adapters)
    return {name: value for group in (*groups, strange) for name, value in group.items()}
