"""What the header of a base model's file says, and in which types numbers lie in files."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import comfy.utils  # noqa: F401 - tells torch what trainings of old saved beside weights
import torch
from check.problem import CheckError
from pack.ip_models.errors import BrokenFile
from pack.nodes.host.encoder import folder
from pack.nodes.host.files import adapter_file, checkpoint
from pack.nodes.host.files.contents import leaves

# Beside quantised weights: their scales, and notes on how they are to be read.
_SCALES = ("scale_weight", "weight_scale", "weight_scale_2", "comfy_quant", "scaled_fp8")
_INPUTS = ("scale_input", "input_scale")
_TYPES: dict[torch.dtype | str, str] = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8 e4m3",
    torch.float8_e5m2: "fp8 e5m2",
}


def read_shapes(path: Path) -> dict[str, Any]:
    """Shape and type of each tensor of a base model's file, as the host names them.

    Raises:
        BrokenFile, CheckError: it is cut, damaged, or no file of weights.
    """
    try:
        held = checkpoint.read_shapes(str(path))
    except BrokenFile as error:
        if not isinstance(error.__cause__, pickle.UnpicklingError):
            raise
        held = _with_objects(path)
    if len(held) == 1 and isinstance(only := next(iter(held.values())), Mapping):
        held = only
    return {key: value for key, value in leaves(held) if hasattr(value, "shape")}


def _with_objects(path: Path) -> Mapping[str, Any]:
    """What trainings of old have saved beside the weights the host knows; no weight is read."""
    try:
        held = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # of each reader's own
        raise CheckError(
            f"{path.name} cannot be read ({type(error).__name__}): it is damaged, no model, or "
            "holds code that ComfyUI does not run; get it as .safetensors"
        ) from error
    held = held.get("state_dict", held) if isinstance(held, Mapping) else {}
    return held if isinstance(held, Mapping) else {}


class Precision(NamedTuple):
    """In which precision a network keeps its weights, and in which it works with them."""

    weights: torch.dtype
    work: torch.dtype

    def names(self) -> dict[str, str]:
        """For a report."""
        return {"weights": type_name(self.weights), "work": type_name(self.work)}


def most_common_type(tensors: Iterable[torch.Tensor]) -> torch.dtype:
    """In which most of the numbers are."""
    counts: Counter[torch.dtype] = Counter()
    for one in tensors:
        counts[one.dtype] += one.numel()
    return counts.most_common(1)[0][0]


def is_scale(name: str) -> bool:
    """Whether a tensor is no weight of a network's, but says how others are quantised."""
    return name.rsplit(".", 1)[-1] in (*_SCALES, *_INPUTS)


def quantised(names: Iterable[str]) -> bool:
    """Whether the numbers of weights are other ones than those that lie in the file."""
    return any(name.rsplit(".", 1)[-1] in _SCALES for name in names)


def counted(tensors: Iterable[Any]) -> dict[str, int]:
    """How many numbers of each type, most first."""
    counts: Counter[str] = Counter()
    for one in tensors:
        counts[type_name(one.dtype)] += torch.Size(one.shape).numel()
    return dict(counts.most_common())


def type_name(dtype: torch.dtype | str) -> str:
    """What people call a type of numbers."""
    return _TYPES.get(dtype, str(dtype).removeprefix("torch."))


def in_adapter(path: Path) -> dict[str, int]:
    """Types of an adapter's tensors, in all its parts."""
    return counted(adapter_file.read_shapes(str(path)).values())


def in_encoder(path: Path) -> dict[str, int]:
    """Types of an encoder's tensors, of a file or a folder."""
    read = folder.read_shapes if path.is_dir() else checkpoint.read_shapes
    return counted(one for _, one in leaves(read(str(path))) if hasattr(one, "shape"))
