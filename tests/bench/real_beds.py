"""UNets at their real size with random weights, which change neither time nor memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from bench.bed import Bed
from kit.models import checkpoints, fullsize
from pack.ip_models.references.features import ImageFeatures
from pack.nodes.host.model.backbones.layers import attention_layers

_SEQUENCE, _ENCODER_WIDTH = 257, 1280
_BLOCK = 1 << 20
_SDXL = {
    **fullsize.UNET,
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
    "context_dim": 2048,
    "adm_in_channels": 2816,
    "num_classes": "sequential",
    "num_heads": -1,
    "num_head_channels": 64,
    "use_linear_in_transformer": True,
}


@dataclass(frozen=True)
class Family:
    """What is published for a family.

    Attributes:
        adapter: table of its Plus adapter.
        latent: of the pictures it was trained with.
    """

    supported: Any
    unet: dict[str, Any]
    adapter: str
    latent: int


FAMILIES = {
    "sd1": Family(comfy.supported_models.SD15, fullsize.UNET, "ip-adapter-plus_sd15", 64),
    "sdxl": Family(comfy.supported_models.SDXL, _SDXL, "ip-adapter-plus_sdxl_vit-h", 128),
}


def real_bed(family: str, dtype: torch.dtype, latent: int | None = None) -> Bed:
    """The whole UNet of a family on ComfyUI's device."""
    known = FAMILIES[family]
    config = known.supported(dict(known.unet))
    config.unet_config = dict(known.unet)
    config.set_inference_dtype(dtype, None)
    device = comfy.model_management.get_torch_device()
    base = config.get_model({}, "", device=device)
    fill(base.diffusion_model.to(dtype).eval(), device, dtype)
    model = comfy.model_patcher.ModelPatcher(base, device, torch.device("cpu"))
    widths = tuple(layer.width for layer in attention_layers(model))
    return Bed(family, model, widths, latent or known.latent)


def fill(network: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Random weights that keep numbers as large as they come in, and norms that do nothing."""
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    for name, parameter in network.named_parameters():
        _fill(name, parameter.data, block)


def _fill(name: str, parameter: torch.Tensor, block: torch.Tensor) -> None:
    if parameter.ndim < 2:
        parameter.fill_(1.0 if name.endswith("weight") else 0.0)
        return
    flat, factor = parameter.view(-1), parameter[0].numel() ** -0.5
    for start in range(0, len(flat), _BLOCK):
        part = flat[start : start + _BLOCK]
        torch.mul(block[: len(part)], factor, out=part)


def real_adapter(family: str, folder: Path) -> Path:
    """The family's Plus adapter in its published layout, written once."""
    table = FAMILIES[family].adapter
    path = folder / f"{table}.safetensors"
    if path.is_file():
        return path
    tensors = checkpoints.as_tensors(checkpoints.load_table(table), "cpu", torch.float16)
    return checkpoints.write(path, tensors, "flat")


def real_features(seed: int, references: int = 1) -> ImageFeatures:
    """What ViT-H would say of so many pictures."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, references, _SEQUENCE, _ENCODER_WIDTH, generator=generator)
    return ImageFeatures(None, hidden[0], None, hidden[1], "ViT-H")
