"""Builds seeded random models, a few megabytes each, from ComfyUI's real classes."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import comfy.cldm.cldm
import comfy.clip_vision
import comfy.controlnet
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.sd1_clip
import comfy.sdxl_clip
import comfy.supported_models
import comfy.taesd.taesd
import torch
from torch import nn

from .adapter import CHANNELS, POOLED_WIDTH, TEXT_WIDTH, unit_scale

# Every option but the channels, the heads and their width is the one of Stable Diffusion 1.5.
UNET_CONFIG = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": CHANNELS,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "context_dim": TEXT_WIDTH,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "legacy": False,
    "adm_in_channels": None,
}
HEADS = 4
# Likewise that of SDXL, with its 70 layers.
SDXL_CONFIG = UNET_CONFIG | {
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "context_dim": 2048,
    "use_linear_in_transformer": True,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
}

TEXT_CONFIG = {"intermediate_size": 64}

# Widths and tokens of ViT-H, so that a published SD1.5 adapter fits without change.
VISION_CONFIG = {
    "model_type": "clip_vision_model",
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 14,
    "hidden_size": 1280,
    "projection_dim": POOLED_WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 16,
    "intermediate_size": 64,
    "hidden_act": "gelu",
}
VISION_WIDTHS: dict[str, dict[str, int]] = {
    "ViT-H": {},
    "ViT-bigG": {"hidden_size": 1664, "projection_dim": 1280},
    "ViT-L 336": {"hidden_size": 1024, "projection_dim": 768, "image_size": 336},
    "ViT-L": {"hidden_size": 1024, "projection_dim": 768},
}
SIGLIP_CONFIG = VISION_CONFIG | {
    "model_type": "siglip_vision_model",
    "image_size": 56,
    "hidden_size": 1152,
    "num_attention_heads": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def tiny_unet(seed: int = 0) -> comfy.model_patcher.ModelPatcher:
    """A MODEL with the 16 cross-attention layers of Stable Diffusion 1.5, a tenth as wide."""
    return _unet(comfy.supported_models.SD15(dict(UNET_CONFIG)), seed)


def tiny_sdxl_unet(seed: int = 0) -> comfy.model_patcher.ModelPatcher:
    """A MODEL with the 70 cross-attention layers of SDXL, a tenth as wide."""
    return _unet(comfy.supported_models.SDXL(dict(SDXL_CONFIG)), seed)


def _unet(config: Any, seed: int) -> comfy.model_patcher.ModelPatcher:
    config.unet_config |= {"num_heads": HEADS, "num_head_channels": -1}
    config.set_inference_dtype(torch.float32, None)
    offload = comfy.model_management.unet_offload_device()
    model = config.get_model({}, "", device=offload)
    randomise(model.diffusion_model, seed)
    return comfy.model_patcher.CoreModelPatcher(
        model.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=offload,
    )


def tiny_clip(seed: int = 0) -> comfy.sd.CLIP:
    """A CLIP with the real tokenizer and a text model of one narrow layer, 768 wide at the end."""
    return _clip(comfy.sd1_clip.SD1ClipModel, comfy.sd1_clip.SD1Tokenizer, seed)


def tiny_sdxl_clip(seed: int = 0) -> comfy.sd.CLIP:
    """A CLIP with SDXL's two text models, each of three narrow layers, 2048 wide together."""
    return _clip(comfy.sdxl_clip.SDXLClipModel, comfy.sdxl_clip.SDXLTokenizer, seed, layers=3)


def _clip(model: Any, tokenizer: Any, seed: int, layers: int = 1) -> comfy.sd.CLIP:
    target = SimpleNamespace(params={}, clip=model, tokenizer=tokenizer)
    config = TEXT_CONFIG | {"num_hidden_layers": layers}
    options = {f"clip_{name}_model_config": config for name in "lg"}
    clip = comfy.sd.CLIP(target, model_options=options)
    randomise(clip.cond_stage_model, seed)
    return clip


def tiny_vae(seed: int = 0) -> comfy.sd.VAE:
    """A VAE in the layout of TAESD, which ComfyUI loads like any other."""
    vae = comfy.sd.VAE(sd=comfy.taesd.taesd.TAESD(latent_channels=4).state_dict())
    network: Any = vae.first_stage_model
    randomise(network, seed)
    # A random UNet leaves latents a hundred times too large; keep the picture off pure white.
    network.vae_scale.fill_(0.01)
    network.taesd_decoder[-1].bias.fill_(0.25)
    return vae


def tiny_clip_vision(seed: int = 0, name: str = "ViT-H") -> comfy.clip_vision.ClipVisionModel:
    """A CLIP_VISION with the shapes of a large one; ViT-H: 257 tokens of 1280, 1024 pooled."""
    encoder = _encoder(VISION_CONFIG | VISION_WIDTHS[name])
    randomise(encoder.model, seed)
    return encoder


def tiny_siglip(seed: int = 0) -> comfy.clip_vision.ClipVisionModel:
    """A CLIP_VISION as wide as SigLIP so400m, with the mean of its last state as pooled feature."""
    encoder = _encoder(SIGLIP_CONFIG)
    randomise(encoder.model, seed)
    encoder.model.visual_projection = _Mean()
    return encoder


class _Mean(nn.Module):
    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        """(n, sequence, width) -> (n, width)."""
        return sequence.mean(dim=1)


def _encoder(config: dict[str, Any]) -> comfy.clip_vision.ClipVisionModel:
    with TemporaryDirectory() as folder:
        # ComfyUI 0.17 takes no dict.
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config), "utf-8")
        return comfy.clip_vision.ClipVisionModel(str(path))


def tiny_control_net(
    seed: int = 1, config: dict[str, Any] = UNET_CONFIG
) -> comfy.controlnet.ControlNet:
    """A CONTROL_NET that goes with a tiny UNet, with no convolution at zero any more."""
    config = {name: value for name, value in config.items() if name != "out_channels"}
    network = comfy.cldm.cldm.ControlNet(
        hint_channels=3,
        num_heads=HEADS,
        dtype=torch.float32,
        operations=comfy.ops.manual_cast,
        **config,
    )
    randomise(network, seed)
    return comfy.controlnet.ControlNet(
        network.eval(), load_device=comfy.model_management.get_torch_device()
    )


def randomise(module: nn.Module, seed: int) -> None:
    """Fill every weight so that a unit-scale input gives a unit-scale output."""
    generator = torch.Generator().manual_seed(seed)
    module.requires_grad_(False)
    for name, parameter in module.named_parameters():
        if parameter.ndim >= 2:
            parameter.copy_(unit_scale(parameter.shape, generator))
        elif parameter.ndim == 1:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
