"""Finds real models by what is in their files.

A process of its own, because it imports ComfyUI: `prepare_models.py BASE MODELS_YAML RESULT
[--toy]` leaves a JSON file RESULT for `demo/run.py`. $COMFYUI_PATH names ComfyUI.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from comfy_host import COMFYUI, open_host, pack
from toys import ADAPTERS

TEXT_KEYS = ".attn2.to_k.weight"
SDXL_TEXT_WIDTH = 2048


def main(base: Path, models_yaml: Path, result: Path, toy: bool) -> None:
    open_host("--cpu", "--base-directory", str(base))
    read_folders(models_yaml)
    found = None if toy else real_models()
    answer: dict[str, Any] = {"gpu": has_gpu(), "toy": found is None, "found": counted()}
    result.write_text(json.dumps(answer | (found or {})), "utf-8")


def read_folders(models_yaml: Path) -> None:
    """Take the model folders the demo's server will have."""
    from utils.extra_config import load_extra_path_config

    for config in (COMFYUI / "extra_model_paths.yaml", models_yaml):
        if config.is_file():
            load_extra_path_config(str(config))
    pack("nodes.host.files.folders").register()


def counted() -> dict[str, int]:
    """How many files there are without the toys, for people."""
    import folder_paths

    kinds = {"checkpoints": "checkpoints", "ipadapter": "adapters", "clip_vision": "image encoders"}
    files = {name: folder_paths.get_filename_list(kind) for kind, name in kinds.items()}
    return {name: sum(file not in ADAPTERS for file in some) for name, some in files.items()}


def real_models() -> dict[str, Any] | None:
    """A checkpoint, an adapter that fits it and the encoder that needs; None if there are none."""
    import folder_paths

    names = {kind: folder_paths.get_filename_list(kind) for kind in ("checkpoints", "ipadapter")}
    if not names["checkpoints"] or not folder_paths.get_filename_list("clip_vision"):
        return None
    specs = _readable_specs(names["ipadapter"])
    for checkpoint in names["checkpoints"]:
        layers = _attention_shapes(folder_paths.get_full_path("checkpoints", checkpoint))
        for adapter, spec in specs.items():
            shapes = sorted((width, spec.context_width) for width in spec.layer_widths)
            encoder = _encoder_for(spec) if layers and shapes == layers else None
            if encoder:
                size = 1024 if spec.context_width == SDXL_TEXT_WIDTH else 512
                return {
                    "checkpoint": checkpoint,
                    "adapter": adapter,
                    "encoder": encoder,
                    "size": size,
                }
    return None


def _readable_specs(names: list[str]) -> dict[str, Any]:
    folders, adapter = pack("nodes.host.files.folders"), pack("nodes.host.model.adapter")
    specs: dict[str, Any] = {}
    for name in names:
        try:
            spec = adapter.read_file_spec(folders.resolve(folders.ADAPTERS, name))
        except pack("ip_models.errors").IPAdapterError:
            continue
        if spec.supported:
            specs[name] = spec
    return specs


def _attention_shapes(path: str) -> list[tuple[int, ...]]:
    """Shapes of a checkpoint's text keys, sorted; empty if it is no UNet with its VAE."""
    try:
        shapes = pack("nodes.host.files.checkpoint").read_shapes(path)
    except pack("ip_models.errors").IPAdapterError:
        return []
    if not any(key.startswith("first_stage_model.") for key in shapes):
        return []
    return sorted(tuple(shapes[key].shape) for key in shapes if key.endswith(TEXT_KEYS))


def _encoder_for(spec: Any) -> str | None:
    try:
        return pack("nodes.host.model.search").find_encoder(spec)
    except pack("ip_models.errors").MissingModel:
        return None


def has_gpu() -> bool:
    import torch

    backends = (torch.cuda, torch.backends.mps, getattr(torch, "xpu", None))
    return any(backend is not None and backend.is_available() for backend in backends)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), toy="--toy" in sys.argv)
