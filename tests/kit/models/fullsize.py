"""Model files of real size and layout with random weights, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

import comfy.clip_vision
import comfy.ldm.models.autoencoder
import comfy.ops
import comfy.sd1_clip
import comfy.supported_models
import torch
from kit.models import checkpoints
from safetensors.torch import save_file
from torch import Tensor, nn

_BLOCK = 1 << 20
Shapes = Mapping[str, tuple[int, ...]]

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "num_heads": 8,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "legacy": False,
    "adm_in_channels": None,
}
_VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}
_ENCODER = {
    "model_type": "clip_vision_model",
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "image_size": 224,
    "patch_size": 14,
    "num_channels": 3,
    "projection_dim": 1024,
}


def make(cache: Path) -> Path:
    """A models folder with an SD1.5 checkpoint, ViT-H and three adapters; about 3.8 GB."""
    code = Path(__file__).read_bytes()
    folder = cache / f"full-size-{hashlib.sha256(code).hexdigest()[:12]}"
    if not (folder / "complete").is_file():
        for path, shapes in _files().items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            save_file(_random(shapes), folder / path)
        (folder / "complete").touch()
    return folder


def _files() -> dict[str, Shapes]:
    adapters = {
        f"ipadapter/{table}.safetensors": checkpoints.load_table(table).tensors
        for table in ("ip-adapter_sd15", "ip-adapter-plus_sd15", "ip-adapter-full-face_sd15")
    }
    return {
        "checkpoints/random_sd15.safetensors": _checkpoint(),
        "clip_vision/random_encoder.safetensors": _encoder(),
        **adapters,
    }


def _checkpoint() -> Shapes:
    config = comfy.supported_models.SD15(dict(UNET))
    with torch.device("meta"):
        unet = config.get_model({}, "", device="meta").diffusion_model
        vae = comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=dict(_VAE), embed_dim=4)
        text = comfy.sd1_clip.SD1ClipModel(device="meta", dtype=torch.float32).clip_l.transformer
    shapes = _shapes(unet, "model.diffusion_model.") | _shapes(vae, "first_stage_model.")
    text_shapes = _shapes(text, "cond_stage_model.transformer.")
    return shapes | {k: v for k, v in text_shapes.items() if "text_projection" not in k}


def _encoder() -> Shapes:
    with torch.device("meta"):
        encoder = comfy.clip_vision.IMAGE_ENCODERS["clip_vision_model"](
            _ENCODER, torch.float32, "meta", comfy.ops.manual_cast
        )
    return _shapes(encoder, "")


def _shapes(module: nn.Module, prefix: str) -> dict[str, tuple[int, ...]]:
    return {prefix + key: tuple(value.shape) for key, value in module.state_dict().items()}


def _random(shapes: Shapes) -> dict[str, Tensor]:
    """Half precision weights that keep activations finite; one block of noise, repeated."""
    noise = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0)).half()
    return {key: _tensor(key, shape, noise) for key, shape in shapes.items()}


def _tensor(key: str, shape: tuple[int, ...], noise: Tensor) -> Tensor:
    count = math.prod(shape)
    if len(shape) < 2:
        return torch.full(shape, 1.0 if key.endswith("weight") else 0.0).half()
    start = hash_of(key) % _BLOCK
    tile = torch.cat((noise[start:], noise[:start]))
    values = tile.repeat(-(-count // _BLOCK))[:count].reshape(shape)
    return values * (math.prod(shape[1:]) ** -0.5)


def hash_of(key: str) -> int:
    """A number that is the same in every process."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
