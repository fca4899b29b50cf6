"""Builds the toy models from ComfyUI's own classes, empty or with the weights of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfy.clip_vision
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import torch
from torch import Tensor

from .stored import read
from .vae import LATENT_TO_RGB, ToyVAE

WEIGHTS = Path(__file__).parent / "weights"
WORD_TOKENS = 4
CONTEXT = 768

# Every option but the channels and the heads is the one of Stable Diffusion 1.5.
UNET_CONFIG = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "context_dim": CONTEXT,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "legacy": False,
    "adm_in_channels": None,
}
HEADS = 2

# A file, so that a folder of it and the weights is an image encoder to any pack.
VISION_CONFIG = json.loads((WEIGHTS / "encoder.json").read_text("utf-8"))


class ToyLatents(comfy.latent_formats.LatentFormat):
    """Latents of `ToyVAE`, which have unit variance as they are."""

    def __init__(self) -> None:
        self.latent_rgb_factors = LATENT_TO_RGB


class ToyBase(comfy.supported_models.SD15):
    """Stable Diffusion 1.5 but for its latents and for what the UNet predicts."""

    latent_format = ToyLatents

    def model_type(self, state_dict: Any, prefix: str = "") -> Any:
        return comfy.model_base.ModelType.V_PREDICTION


def build_base(device: torch.device | None = None) -> Any:
    """A BaseModel whose weights are not initialised."""
    config = ToyBase(dict(UNET_CONFIG))
    config.unet_config["num_heads"] = HEADS
    config.set_inference_dtype(torch.float32, None)
    return config.get_model({}, "", device=device)


def load_base(path: Path = WEIGHTS / "base.safetensors") -> tuple[Any, Tensor]:
    """MODEL, and the context (words + 1, tokens, width) of each word and of no word."""
    tensors = read(path)
    words = tensors.pop("words")
    offload = comfy.model_management.unet_offload_device()
    model = build_base(offload)
    model.diffusion_model.load_state_dict(tensors)
    patcher = comfy.model_patcher.CoreModelPatcher(
        model.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=offload,
    )
    return patcher, words


def load_vae(path: Path = WEIGHTS / "vae.safetensors") -> comfy.sd.VAE:
    """A VAE made as the one that leaves pixels as they are, with another network inside."""
    vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})
    network = ToyVAE()
    network.load_state_dict(read(path))
    vae.first_stage_model = network.eval()
    vae.latent_channels, vae.downscale_ratio, vae.upscale_ratio = 4, 8, 8
    vae.vae_dtype = torch.float32
    vae.patcher = comfy.model_patcher.CoreModelPatcher(
        network, load_device=vae.device, offload_device=vae.patcher.offload_device
    )
    return vae


def load_encoder(path: Path = WEIGHTS / "encoder.safetensors") -> comfy.clip_vision.ClipVisionModel:
    """The image encoder as CLIP_VISION."""
    encoder = build_encoder()
    encoder.model.load_state_dict(read(path))
    return encoder


def build_encoder() -> comfy.clip_vision.ClipVisionModel:
    """A CLIP_VISION whose weights are not initialised."""
    return comfy.clip_vision.ClipVisionModel(str(WEIGHTS / "encoder.json"))


def conditioning(words: Tensor, row: int) -> list[Any]:
    """CONDITIONING of a word, counted as the node lists them; the one after the last is none."""
    return [[words[row : row + 1], {}]]
