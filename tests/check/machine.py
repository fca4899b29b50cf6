"""Which machine, which versions, how much memory; and what of it a report must not tell."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import comfy.ldm.modules.attention
import comfy.model_management
import comfyui_version
import psutil
import torch
from check.problem import NotCompared
from pack.nodes.host.doctor.survey import pack_version

_PACKAGES = ("diffusers", "transformers", "safetensors", "numpy", "pillow")
_BLOCK = 1 << 20
_GIB = 2**30
# Beside the weights: what the run itself takes, and the file while it is read.
_BESIDE = 1.25


def versions() -> dict[str, str]:
    """Of everything whose numbers are compared."""
    attention = comfy.ldm.modules.attention.optimized_attention
    return {
        "pack": pack_version(),
        "ComfyUI": comfyui_version.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "attention in ComfyUI": getattr(attention, "__name__", str(attention)),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def card(device: torch.device) -> dict[str, Any]:
    """The device, without anything that tells whose it is."""
    if device.type != "cuda":
        return {
            "device": device.type,
            "threads": torch.get_num_threads(),
            "memory_gib": round(psutil.virtual_memory().total / _GIB, 1),
        }
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": "cuda",
        "name": properties.name,
        "memory_gib": round(properties.total_memory / _GIB, 1),
        "capability": f"{properties.major}.{properties.minor}",
        "runtime": torch.version.cuda or torch.version.hip or "",
    }


def require_memory(weights: int, dtype: torch.dtype, device: torch.device, what: str) -> None:
    """Refuse what cannot fit before the system ends the process for it.

    Args:
        weights: how many numbers the diffusion model has.

    Raises:
        NotCompared: the memory that is free does not hold them.
    """
    needed = int(weights * dtype.itemsize * _BESIDE)
    free = psutil.virtual_memory().available
    where = "memory"
    if device.type == "cuda":
        free, where = torch.cuda.mem_get_info(device)[0], "memory of the card"
    if needed > free:
        raise NotCompared(
            f"{what}: about {needed / _GIB:.1f} GiB are needed and {free / _GIB:.1f} GiB of "
            f"{where} are free"
        )


def file_facts(role: str, path: Path) -> dict[str, Any]:
    """Name, size and digest of a file, or of all files of a folder; never where it lies."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.is_file())
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    size = sum(file.stat().st_size for file in files)
    return {"role": role, "name": path.name, "bytes": size, "sha256": digest.hexdigest()}


def without_places(text: str, paths: Iterable[Path]) -> str:
    """A sentence for others: folders of this machine are left out."""
    homes = {str(one) for path in paths for one in (path.parent, path.resolve().parent)}
    homes |= {str(Path.home()), str(Path.cwd()), str(Path(__file__).resolve().parents[2])}
    for home in sorted(homes, key=len, reverse=True):
        if len(home) > 1:
            text = text.replace(home, "…")
    return text
