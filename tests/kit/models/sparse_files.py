"""Model files with real shapes and no data, for what looks at a file and does not load it."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]


def write_sparse(path: Path, shapes: Shapes, filled: Mapping[str, Tensor] | None = None) -> Path:
    """A safetensors file of full size in half precision whose data are a hole in the disk.

    Args:
        filled: values of some of its tensors; the others are zeros.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header: dict[str, Any] = {}
    place = 0
    for key, shape in shapes.items():
        end = place + 2 * math.prod(shape)
        header[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + place)
        for key, tensor in (filled or {}).items():
            begin, _ = header[key]["data_offsets"]
            file.seek(8 + len(text) + begin)
            file.write(tensor.half().contiguous().numpy().tobytes())
    return path


def write_gguf(path: Path, shapes: Shapes) -> Path:
    """A GGUF file with notes of every kind, packed to about 4 bits, without its data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    notes = [
        _text("general.architecture") + struct.pack("<I", 8) + _text("flux"),
        _text("general.file_type") + struct.pack("<II", 4, 2),
        _text("a.list") + struct.pack("<IIQ3f", 9, 6, 3, 1, 2, 3),
        _text("some.texts") + struct.pack("<IIQ", 9, 8, 2) + _text("a") + _text("bc"),
    ]
    start = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(notes))
    tensors = [
        _text(key) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), 2, 0)
        for key, shape in shapes.items()
    ]
    path.write_bytes(start + b"".join(notes + tensors))
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def flux_shapes(doubles: int = 19, singles: int = 38, width: int = 3072) -> Shapes:
    """As many keys of Flux as tell it from others, those that every block has among them."""
    return {
        "img_in.weight": (width, 64),
        "txt_in.weight": (width, 4096),
        "vector_in.in_layer.weight": (width, 768),
        "guidance_in.in_layer.weight": (width, 256),
        **{f"double_blocks.{i}.img_attn.norm.key_norm.scale": (128,) for i in range(doubles)},
        **{f"single_blocks.{i}.norm.key_norm.scale": (128,) for i in range(singles)},
        "final_layer.linear.weight": (64, width),
    }


def chroma_shapes() -> Shapes:
    """The same of Chroma."""
    kept = {key: shape for key, shape in flux_shapes().items() if "_in." not in key}
    return {
        **kept,
        "img_in.weight": (3072, 64),
        "txt_in.weight": (3072, 4096),
        "distilled_guidance_layer.norms.0.scale": (5120,),
    }


def sd3_shapes(joints: int = 38, width: int = 2432) -> Shapes:
    """The same of SD3.5."""
    return {
        "x_embedder.proj.weight": (width, 16, 2, 2),
        "y_embedder.mlp.0.weight": (width, 2048),
        "context_embedder.weight": (width, 4096),
        **{
            f"joint_blocks.{i}.context_block.attn.qkv.weight": (3 * width, width)
            for i in range(joints)
        },
        "final_layer.linear.weight": (64, width),
    }
