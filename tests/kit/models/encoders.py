"""Tiny image encoders, once of transformers' class and once of ComfyUI's, and pictures for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.clip_vision
import numpy
import pytest
import torch
from pack.ip_models.pictures.fit import Fit
from pack.ip_models.references.features import ImageFeatures
from pack.nodes.host.encoder.encode import Reference
from PIL import Image
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipVisionConfig,
    SiglipVisionModel,
)

try:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
except ImportError:  # before transformers 5 the class of this name was the one with PIL
    from transformers import CLIPImageProcessor as CLIPImageProcessorPil

TOLERANCE, EFFECT = 5e-6, 0.01
SIZE, WIDTH, POOLED, TOKENS = 56, 48, 32, 17
CONFIG: dict[str, Any] = dict(
    hidden_size=WIDTH,
    intermediate_size=2 * WIDTH,
    num_hidden_layers=4,
    num_attention_heads=2,
    num_channels=3,
    image_size=SIZE,
    patch_size=14,
    hidden_act="quick_gelu",
)


def randomise(model: Any) -> None:
    """Loud weights that half precision, in which ComfyUI keeps encoders, can hold exactly."""
    generator = torch.Generator().manual_seed(8)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            noise = noise / parameter[0].numel() ** 0.5
        elif name.endswith("weight"):
            noise = 1 + 0.2 * noise
        parameter.copy_(noise.half())


def comfy_encoder(folder: Path, config: dict[str, Any], state: dict[str, Tensor]) -> Any:
    """ComfyUI's encoder; a file, because older versions take the configuration from there only."""
    path = folder / "encoder.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    encoder = comfy.clip_vision.ClipVisionModel(str(path))
    encoder.model.load_state_dict(state, strict=True)
    return encoder


def random_encoder(folder: Path, **config: Any) -> Any:
    """ComfyUI's encoder of a configuration of CLIP vision, with random weights."""
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**config)).eval()
    with torch.no_grad():
        randomise(model)
    return comfy_encoder(folder, {**config, "model_type": "clip_vision_model"}, model.state_dict())


@dataclass
class Pair:
    """One encoder of transformers' class and one of ComfyUI's, with equal weights."""

    theirs: Any
    ours: Any
    processor: Any

    def reference(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled and penultimate feature of normalised pixels."""
        out = self.theirs(pixels, output_hidden_states=True)
        return out.image_embeds, out.hidden_states[-2]

    def of_picture(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The same of (height, width, channels) bytes, with transformers' own preprocessing."""
        opened = Image.fromarray(picture.numpy())
        pixels = self.processor(opened)["pixel_values"][0]
        return self.reference(torch.from_numpy(numpy.asarray(pixels))[None])


def make_pair(folder: Path, pooled: int = POOLED) -> Pair:
    theirs = CLIPVisionModelWithProjection(CLIPVisionConfig(projection_dim=pooled, **CONFIG)).eval()
    with torch.no_grad():
        randomise(theirs)
    config = {**CONFIG, "projection_dim": pooled, "model_type": "clip_vision_model"}
    ours = comfy_encoder(folder, config, theirs.state_dict())
    square = {"height": SIZE, "width": SIZE}
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size=square)
    return Pair(theirs, ours, processor)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Bytes with large shapes and fine grain, as a photo has them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 4, generator=generator)
    grown = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0]
    grain = 0.1 * torch.randn(3, height, width, generator=generator)
    return ((grown + grain).clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1)


def batch(*pictures: Tensor) -> Tensor:
    return torch.stack(pictures).float() / 255


def reference_of(*pictures: Tensor, **options: Any) -> Reference:
    return Reference(**{"images": batch(*pictures), "fit": Fit.CROP_CENTRE, **options})


def pooled_of(features: ImageFeatures) -> Tensor:
    assert features.pooled is not None
    return features.pooled


def negative_of(features: ImageFeatures) -> Tensor:
    assert features.negative_pooled is not None
    return features.negative_pooled


def make_siglip(folder: Path) -> Pair:
    """The same of the kind without class token and pooled feature."""
    config: dict[str, Any] = {**CONFIG, "hidden_act": "gelu_pytorch_tanh"}
    theirs = SiglipVisionModel(SiglipVisionConfig(**config)).eval()
    with torch.no_grad():
        randomise(theirs)
    half = [0.5] * 3
    state = {
        f"vision_model.{key.removeprefix('vision_model.')}": value
        for key, value in theirs.state_dict().items()
        if not key.removeprefix("vision_model.").startswith("head.")
    }
    config |= {"model_type": "siglip_vision_model", "image_mean": half, "image_std": half}
    return Pair(theirs, comfy_encoder(folder, config, state), None)


def counted_encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call of the real `encode_image` got."""
    counts: list[int] = []
    original = comfy.clip_vision.ClipVisionModel.encode_image

    def counted(self: Any, image: Tensor, *args: Any, **kwargs: Any) -> Any:
        counts.append(len(image))
        return original(self, image, *args, **kwargs)

    monkeypatch.setattr(comfy.clip_vision.ClipVisionModel, "encode_image", counted)
    return counts


def clip_state(size: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and ComfyUI's configuration of a small encoder for another size of pictures."""
    config = {**CONFIG, "image_size": size}
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(projection_dim=POOLED, **config)).eval()
    with torch.no_grad():
        randomise(model)
    config |= {"projection_dim": POOLED, "model_type": "clip_vision_model"}
    return model.state_dict(), config
