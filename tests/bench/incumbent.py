"""ComfyUI_IPAdapter_plus from a folder of the user's, run through its own loader and node."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import comfy.cli_args
import torch
from bench.contenders import How
from bench.old_names import applied
from pack.ip_models.references.features import ImageFeatures
from torch import nn

_PACKAGE = "bench_incumbent"


class Incumbent:
    """Its model loader and its node "IPAdapter Embeds", fed with the same features."""

    name = "incumbent"
    hears_middle = False

    def __init__(self, folder: Path) -> None:
        spec = importlib.util.spec_from_file_location(
            _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None or not (folder / "IPAdapterPlus.py").is_file():
            raise SystemExit(f"{folder} holds no ComfyUI_IPAdapter_plus")
        package = importlib.util.module_from_spec(spec)
        sys.modules[_PACKAGE] = package
        spec.loader.exec_module(package)
        self._load = importlib.import_module(f"{_PACKAGE}.utils").ipadapter_model_loader
        self._node = package.NODE_CLASS_MAPPINGS["IPAdapterEmbeds"]()

    def load(self, path: Path) -> dict[str, Any]:
        return self._load(str(path))

    def apply(self, model: Any, adapter: dict[str, Any], features: ImageFeatures, how: How) -> Any:
        _announce(model.model_dtype())
        return applied(self._node, model, adapter, features, how)

    def module(self, model: Any, adapter: dict[str, Any]) -> nn.Module:
        slots = model.model_options["transformer_options"]["patches_replace"]["attn2"]
        return next(iter(slots.values())).kwargs[-1]["ipadapter"]


def _announce(dtype: torch.dtype) -> None:
    """It asks the host for the type of UNets in general, so that has to be this UNet's."""
    arguments = comfy.cli_args.args
    arguments.fp32_unet = dtype == torch.float32
    arguments.bf16_unet = dtype == torch.bfloat16
    arguments.fp16_unet = dtype == torch.float16
