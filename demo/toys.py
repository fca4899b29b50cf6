"""Where the toy models lie, and how a ComfyUI gets them: nodes, adapters, pictures."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from stand_ins import TOY_ADAPTER, TOY_PLUS

NODES = Path(__file__).resolve().parent / "toy_nodes"
WORKFLOW = NODES / "example_workflows" / "toy_models.json"
PICTURES = ("toy_reference_a.png", "toy_reference_b.png", "toy_reference_c.png")
ENCODER = "toy_encoder"
ADAPTERS = {TOY_ADAPTER: "adapter_standard", TOY_PLUS: "adapter_plus"}


def put_files(models: Path, inputs: Path) -> None:
    """Put adapters, encoder and references where ComfyUI looks for such files."""
    encoder = models / "clip_vision" / ENCODER
    for folder in (models / "ipadapter", encoder, inputs):
        folder.mkdir(parents=True, exist_ok=True)
    expand = stored().expand
    expand(NODES / "weights" / "encoder.safetensors", encoder / "model.safetensors")
    shutil.copyfile(NODES / "weights" / "encoder.json", encoder / "config.json")
    for name, weights in ADAPTERS.items():
        expand(NODES / "weights" / f"{weights}.safetensors", models / "ipadapter" / name)
    for name in PICTURES:
        shutil.copyfile(WORKFLOW.parent / name, inputs / name)


def stored() -> Any:
    """The module of the nodes that reads and writes weights; the others need the host."""
    spec = importlib.util.spec_from_file_location("toy_stored", NODES / "stored.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
