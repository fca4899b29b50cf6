"""Model files with real shapes and no data, for what looks at a file and does not load it."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path


def write_sparse(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """A safetensors file of full size whose data are a hole in the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header: dict[str, object] = {}
    place = 0
    for key, shape in shapes.items():
        end = place + 2 * math.prod(shape)
        header[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + place)
    return path
