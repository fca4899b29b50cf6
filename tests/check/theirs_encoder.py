"""The image encoder once more, as transformers has it, from the same file and without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from accelerate import init_empty_weights
from check.base import read_tensors
from check.problem import NotCompared
from check.stored import Precision
from pack.ip_models.references.features import ImageFeatures
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipVisionConfig,
    SiglipVisionModel,
)

try:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
except ImportError:  # before transformers 5 the classes of these names were those with PIL
    from transformers import CLIPImageProcessor as CLIPImageProcessorPil
    from transformers import SiglipImageProcessor as SiglipImageProcessorPil

_PATCHES = "vision_model.embeddings.patch_embedding.weight"
_PLACES = "vision_model.embeddings.position_embedding.weight"
_PROJECTION = "visual_projection.weight"
_OPEN_CLIP = "visual.proj"
# What shapes do not tell: heads are 16 in all that adapters read, and ViT-L alone is OpenAI's.
_HEADS, _OPENAI_WIDTH = 16, 1024
_SMALL_HEAD = 64


@dataclass
class Encoder:
    """transformers' module, its own preparation of pictures, and in which precision it runs."""

    module: Any
    processor: Any
    precision: Precision

    def features(self, picture: Tensor, like: ImageFeatures) -> ImageFeatures:
        """Both features of a picture (height, width, 3) in 0..1, and those of none.

        Args:
            like: of our nodes, which says which features there are at all.
        """
        shown = Image.fromarray((picture * 255).round().to(torch.uint8).numpy())
        pixels = numpy.asarray(self.processor(shown)["pixel_values"][0])
        seen = torch.from_numpy(pixels)[None]
        pooled, hidden = self._run(seen)
        empty = self._run(torch.zeros_like(seen))[1]
        black = self._run(self._black(seen))[0] if like.black_pooled is not None else None
        return ImageFeatures(
            pooled=None if like.pooled is None else pooled,
            penultimate=None if like.penultimate is None else hidden,
            negative_pooled=None if like.negative_pooled is None else torch.zeros_like(pooled),
            negative_penultimate=None if like.negative_penultimate is None else empty,
            source="transformers",
            black_pooled=black,
        )

    def _run(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        out = self.module(pixels, output_hidden_states=True)
        pooled = out.image_embeds if hasattr(out, "image_embeds") else out.pooler_output
        return pooled, out.hidden_states[-2]

    def _black(self, pixels: Tensor) -> Tensor:
        mean, std = (
            torch.tensor(values)[:, None, None]
            for values in (self.processor.image_mean, self.processor.image_std)
        )
        return (torch.zeros_like(pixels) - mean) / std


def load(path: Path, rounded: torch.dtype) -> Encoder:
    """From a file, or from a folder of Hugging Face's.

    Args:
        rounded: in which precision ComfyUI keeps the weights of a file, from which both begin; a
            folder's are taken as they are.

    Raises:
        NotCompared: transformers cannot be told what kind of encoder it is.
    """
    if path.is_dir():
        return _of_folder(path)
    tensors, _ = read_tensors(path)
    if _OPEN_CLIP in tensors:
        raise NotCompared(
            f"the image encoder: {path.name} has OpenCLIP's names, which transformers does not "
            "read; both sides got the features of ComfyUI's"
        )
    if _PATCHES not in tensors or _PLACES not in tensors:
        raise NotCompared(
            f"the image encoder: {path.name} does not tell its sizes as transformers names them; "
            "both sides got the features of ComfyUI's"
        )
    config = _config(tensors)
    kind = CLIPVisionModelWithProjection if _PROJECTION in tensors else SiglipVisionModel
    with init_empty_weights():
        module = kind(config)
    known = list(module.state_dict())
    start = "" if known[0] in tensors else "vision_model."  # which releases write and others not
    missing = [key for key in known if start + key not in tensors]
    if missing:
        raise NotCompared(
            f"the image encoder: {path.name} has no {missing[0]}; both sides got the features of "
            "ComfyUI's"
        )
    state = {key: tensors[start + key].to(rounded).float() for key in known}
    module.load_state_dict(state, strict=True, assign=True)
    _fill_places(module)
    return _prepared(module.eval(), config, rounded)


def _fill_places(module: Any) -> None:
    """Numbers of the places, which no file holds."""
    for part in module.modules():
        places = getattr(part, "position_ids", None)
        if places is not None:
            part.position_ids = torch.arange(places.shape[-1])[None]


def _of_folder(path: Path) -> Encoder:
    config: Any = AutoConfig.from_pretrained(path, local_files_only=True)
    config = getattr(config, "vision_config", config)
    siglip = "siglip" in config.model_type
    kind = SiglipVisionModel if siglip else CLIPVisionModelWithProjection
    module: Any = kind.from_pretrained(path, local_files_only=True, use_safetensors=True)
    kept = module.dtype
    return _prepared(module.float().eval(), config, kept)


def _config(tensors: Mapping[str, Tensor]) -> Any:
    """Sizes by the shapes of the tensors."""
    width, _, patch, _ = tensors[_PATCHES].shape
    clip = _PROJECTION in tensors
    places = len(tensors[_PLACES]) - int(clip)
    layers = {key.split(".")[3] for key in tensors if key.startswith("vision_model.encoder.layers")}
    inside = "vision_model.encoder.layers.0.mlp.fc1.weight"
    sizes: dict[str, Any] = dict(
        hidden_size=width,
        intermediate_size=len(tensors[inside]),
        num_hidden_layers=len(layers),
        num_attention_heads=_HEADS if width >= _OPENAI_WIDTH else max(1, width // _SMALL_HEAD),
        image_size=round(places**0.5) * patch,
        patch_size=patch,
    )
    if not clip:
        return SiglipVisionConfig(hidden_act="gelu_pytorch_tanh", **sizes)
    activation = "quick_gelu" if width == _OPENAI_WIDTH else "gelu"
    return CLIPVisionConfig(
        hidden_act=activation, projection_dim=len(tensors[_PROJECTION]), **sizes
    )


def _prepared(module: Any, config: Any, kept: torch.dtype) -> Encoder:
    side = {"height": config.image_size, "width": config.image_size}
    if isinstance(module, CLIPVisionModelWithProjection):
        processor = CLIPImageProcessorPil(
            size={"shortest_edge": config.image_size}, crop_size=side, do_center_crop=True
        )
    else:
        processor = SiglipImageProcessorPil(size=side)
    return Encoder(module, processor, Precision(kept, module.dtype))
