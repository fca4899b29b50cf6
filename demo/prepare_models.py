"""Finds real models by what is in their files.

A process of its own, because it imports ComfyUI: `prepare_models.py BASE MODELS_YAML RESULT
[--toy]` leaves a JSON file RESULT for `demo/run.py`. $COMFYUI_PATH names ComfyUI.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from toys import ADAPTERS

ROOT = Path(os.path.abspath(__file__)).parents[1]
COMFYUI = Path(os.environ["COMFYUI_PATH"])
TEXT_KEYS = ".attn2.to_k.weight"
SDXL_TEXT_WIDTH = 2048


def main(base: Path, models_yaml: Path, result: Path, toy: bool) -> None:
    open_host(base, models_yaml)
    import torch

    found = None if toy else real_models()
    answer: dict[str, Any] = {"gpu": has_gpu(torch), "toy": found is None, "found": counted()}
    result.write_text(json.dumps(answer | (found or {})), "utf-8")


def open_host(base: Path, models_yaml: Path) -> None:
    """Make ComfyUI's modules importable, with the model folders the demo's server will have."""
    sys.path.insert(0, str(COMFYUI))
    sys.argv = [sys.argv[0], "--cpu", "--base-directory", str(base)]
    import comfy.options

    comfy.options.enable_args_parsing()
    from utils.extra_config import load_extra_path_config

    for config in (COMFYUI / "extra_model_paths.yaml", models_yaml):
        if config.is_file():
            load_extra_path_config(str(config))
    pack = ModuleType("ipadapter_pack")
    pack.__path__ = [str(ROOT)]
    sys.modules[pack.__name__] = pack
    from ipadapter_pack.nodes.host.files import folders

    folders.register()


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
    from ipadapter_pack.ip_models.errors import IPAdapterError
    from ipadapter_pack.nodes.host.files import folders
    from ipadapter_pack.nodes.host.model.adapter import read_file_spec

    specs = {}
    for name in names:
        try:
            spec = read_file_spec(folders.resolve(folders.ADAPTERS, name))
        except IPAdapterError:
            continue
        if spec.supported:
            specs[name] = spec
    return specs


def _attention_shapes(path: str) -> list[tuple[int, ...]]:
    """Shapes of a checkpoint's text keys, sorted; empty if it is no UNet with its VAE."""
    from ipadapter_pack.ip_models.errors import IPAdapterError
    from ipadapter_pack.nodes.host.files import checkpoint

    try:
        shapes = checkpoint.read_shapes(path)
    except IPAdapterError:
        return []
    if not any(key.startswith("first_stage_model.") for key in shapes):
        return []
    return sorted(tuple(shapes[key].shape) for key in shapes if key.endswith(TEXT_KEYS))


def _encoder_for(spec: Any) -> str | None:
    from ipadapter_pack.ip_models.errors import MissingModel
    from ipadapter_pack.nodes.host.model.search import find_encoder

    try:
        return find_encoder(spec)
    except MissingModel:
        return None


def has_gpu(torch: Any) -> bool:
    backends = (torch.cuda, torch.backends.mps, getattr(torch, "xpu", None))
    return any(backend is not None and backend.is_available() for backend in backends)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), toy="--toy" in sys.argv)
