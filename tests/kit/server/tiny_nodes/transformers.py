"""Seeded random Flux and SD3.5, a few blocks deep, with what goes with them."""

from __future__ import annotations

from typing import Any

import comfy.controlnet
import comfy.latent_formats
import comfy.ldm.flux.controlnet
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import comfy.taesd.taesd
import torch

from .models import randomise

TEXT = 768  # of the tiny CLIP, in place of T5's 4096
CHANNELS = 16
# As many blocks and heads as tests/kit/server/example_models.py makes adapters for.
FLUX_BLOCKS, SD3_BLOCKS, SD3_HEADS = (3, 2), 3, 3
FLUX_CONFIG: dict[str, Any] = {
    "image_model": "flux",
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "context_in_dim": TEXT,
    "vec_in_dim": TEXT,
    "hidden_size": 128,
    "mlp_ratio": 4.0,
    "num_heads": 1,
    "depth": FLUX_BLOCKS[0],
    "depth_single_blocks": FLUX_BLOCKS[1],
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
}
_SD3_WIDTH = 64 * SD3_HEADS
SD3_CONFIG: dict[str, Any] = {
    "in_channels": CHANNELS,
    "patch_size": 2,
    "depth": SD3_HEADS,
    "num_blocks": SD3_BLOCKS,
    "input_size": None,
    "adm_in_channels": TEXT,
    "context_embedder_config": {
        "target": "torch.nn.Linear",
        "params": {"in_features": TEXT, "out_features": _SD3_WIDTH},
    },
    "num_patches": 1024,
    "pos_embed_max_size": 32,
    "pos_embed_scaling_factor": None,
    "qk_norm": "rms",
    "x_block_self_attn_layers": [],
}


def tiny_flux(seed: int = 0) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of three double blocks and two single ones."""
    return _model(comfy.supported_models.Flux(dict(FLUX_CONFIG)), seed)


def tiny_sd3(seed: int = 0) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of three joint blocks."""
    return _model(comfy.supported_models.SD3(dict(SD3_CONFIG)), seed)


def _model(config: Any, seed: int) -> comfy.model_patcher.ModelPatcher:
    config.set_inference_dtype(torch.float32, None)
    offload = comfy.model_management.unet_offload_device()
    model = config.get_model({}, "", device=offload)
    randomise(model.diffusion_model, seed)
    for name, buffer in model.diffusion_model.named_buffers():
        if name == "pos_embed":
            buffer.normal_(generator=torch.Generator().manual_seed(seed))
    return comfy.model_patcher.CoreModelPatcher(
        model.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=offload,
    )


def tiny_vae(seed: int = 0) -> comfy.sd.VAE:
    """A VAE of 16 channels in the layout of TAESD."""
    vae = comfy.sd.VAE(sd=comfy.taesd.taesd.TAESD(latent_channels=CHANNELS).state_dict())
    network: Any = vae.first_stage_model
    randomise(network, seed)
    network.vae_scale.fill_(0.05)
    network.taesd_decoder[-1].bias.fill_(0.25)
    return vae


def flux_control_net(seed: int = 1) -> comfy.controlnet.ControlNet:
    """A ControlNet that sees latents, as the published ones for Flux do."""
    network = comfy.ldm.flux.controlnet.ControlNetFlux(
        latent_input=True,
        num_union_modes=0,
        control_latent_channels=CHANNELS,
        dtype=torch.float32,
        operations=comfy.ops.manual_cast,
        **FLUX_CONFIG,
    )
    randomise(network, seed)
    return comfy.controlnet.ControlNet(
        network.eval(),
        compression_ratio=1,
        latent_format=comfy.latent_formats.Flux(),
        load_device=comfy.model_management.get_torch_device(),
        extra_conds=["y", "guidance"],
    )
