"""Small files of real layouts for `dev.py check`: base models, adapters and image encoders."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comfy.supported_models
import folder_paths
import torch
from kit.models import checkpoints, transformer_adapters, transformers
from safetensors.torch import save_file
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipVisionConfig,
    SiglipVisionModel,
)

PREFIX = "model.diffusion_model."
LAYERS = [320] * 4  # two down and up, and the middle, of a UNet with two levels
RESAMPLER = {"dim": 128, "heads": 2}


@contextmanager
def own_folders() -> Generator[None]:
    """What a check enters into the host's folders is gone afterwards."""
    table = folder_paths.folder_names_and_paths
    before = {name: (list(paths), set(ends)) for name, (paths, ends) in table.items()}
    yield
    table.clear()
    table.update(before)


def write(folder: Path) -> Path:
    """A models folder: SD1.5 with few blocks, Flux and SD3.5 with few, adapters and encoders."""
    for name in ("checkpoints", "ipadapter", "clip_vision"):
        (folder / name).mkdir()
    save_file(small_unet(), folder / "checkpoints" / "sd15.safetensors")
    for name, pair in (("flux", transformers.tiny_flux()), ("sd3", transformers.tiny_sd3())):
        state = pair.model.model.diffusion_model.state_dict()
        path = folder / "checkpoints" / f"{name}.safetensors"
        save_file({PREFIX + key: value.contiguous() for key, value in state.items()}, path)
    _adapters(folder / "ipadapter")
    _encoders(folder / "clip_vision")
    return folder


def small_config() -> dict[str, Any]:
    """Sizes of an SD1.5 with two levels, in the host's words."""
    return dict(
        image_size=32,
        in_channels=4,
        out_channels=4,
        model_channels=320,
        num_res_blocks=[1, 1],
        channel_mult=[1, 1],
        transformer_depth=[1, 0],
        transformer_depth_output=[1, 1, 0, 0],
        transformer_depth_middle=1,
        context_dim=768,
        num_heads=8,
        num_head_channels=-1,
        use_spatial_transformer=True,
        use_linear_in_transformer=False,
        use_temporal_attention=False,
        legacy=False,
        adm_in_channels=None,
    )


SD2 = dict(context_dim=1024, num_heads=-1, num_head_channels=64, use_linear_in_transformer=True)


def small_unet(
    kind: type[comfy.supported_models.SD15] = comfy.supported_models.SD15, **sizes: Any
) -> dict[str, torch.Tensor]:
    """Tensors of a checkpoint of SD1.5, or of another kind and sizes, with two levels."""
    supported = kind(small_config() | sizes)
    with torch.device("meta"):
        unet = supported.get_model({}, "", device="meta").diffusion_model
    shapes = {PREFIX + key: tuple(value.shape) for key, value in unet.state_dict().items()}
    return {key: _tame(value) for key, value in checkpoints.fill(shapes, seed=3).items()}


def _tame(value: torch.Tensor) -> torch.Tensor:
    """Convolutions count all of their window, not only its last side."""
    return value / value[0, 0, 0].numel() if value.ndim == 4 else value


def _adapters(folder: Path) -> None:
    kinds = {"plus": (1280, 16, RESAMPLER), "standard": (1024, 4, {}), "full face": (1280, 257, {})}
    for kind, (width, tokens, more) in kinds.items():
        tensors = checkpoints.tiny_adapter(kind, LAYERS, 768, width, tokens, **more)
        checkpoints.write(folder / f"{kind}.safetensors", louder(tensors), "flat")
    shallow = checkpoints.tiny_adapter("plus", LAYERS, 768, 1280, 16, **RESAMPLER, depth=1)
    checkpoints.write(folder / "shallow.safetensors", shallow, "flat")
    face = checkpoints.tiny_adapter("FaceID plus", LAYERS, 768, 1280, 4, dim=768, heads=12)
    lora = checkpoints.fill(checkpoints.lora_shapes(LAYERS, 768, rank=8), seed=4, scale=0.5)
    checkpoints.write(folder / "faceid-plusv2_sd15.bin", face | lora, "nested")
    checkpoints.write(folder / "silent.safetensors", louder(tensors, 0), "flat")
    faint = {k: v * 1e-6 if "to_v_ip" in k else v for k, v in tensors.items()}
    checkpoints.write(folder / "dead.safetensors", faint, "flat")
    flux, sd3 = transformers.tiny_flux(), transformers.tiny_sd3()
    checkpoints.write(folder / "xlabs.safetensors", transformer_adapters.xlabs(flux), "flat")
    checkpoints.write(folder / "instantx.bin", transformer_adapters.instantx(flux), "nested")
    checkpoints.write(folder / "sd35.bin", transformer_adapters.sd3(sd3), "nested")


def louder(tensors: dict[str, torch.Tensor], times: float = 3) -> dict[str, torch.Tensor]:
    """An adapter whose keys and values are as many times as large."""
    return {key: one * times if "_ip.weight" in key else one for key, one in tensors.items()}


def _encoders(folder: Path) -> None:
    torch.manual_seed(5)
    sizes = dict(intermediate_size=32, num_hidden_layers=2, num_attention_heads=16, patch_size=14)
    clips = {"H": (1280, 1024, 56), "L": (1024, 768, 56)}
    for name, (width, pooled, side) in clips.items():
        config = CLIPVisionConfig(
            hidden_size=width, projection_dim=pooled, image_size=side, **sizes
        )
        CLIPVisionModelWithProjection(config).half().save_pretrained(folder / name)
    config = SiglipVisionConfig(hidden_size=1152, image_size=42, **sizes)
    SiglipVisionModel(config).half().save_pretrained(folder / "siglip")
