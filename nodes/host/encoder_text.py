"""A loaded image encoder in words."""

from __future__ import annotations

from typing import Any

from ...ip_models.spec import ENCODER_NAMES
from .match import EncoderWidths

_WIDTH = "vision_model.post_layernorm.weight"
_PLACES = "vision_model.embeddings.position_embedding.weight"
_CLASS = "vision_model.embeddings.class_embedding"
_HEAD, _PROJECTION = "vision_model.head.probe", "visual_projection.weight"
_LAYER = ".layer_norm1.weight"


def describe_encoder(encoder: Any) -> str:
    """Name, input size, features and memory of a CLIP or SigLIP, in lines for people."""
    shapes = {key: tuple(tensor.shape) for key, tensor in encoder.model.state_dict().items()}
    layers = sum(key.endswith(_LAYER) for key in shapes)
    tokens, width = int(shapes[_PLACES][0]), int(shapes[_WIDTH][0])
    # Without a projection the pooled feature is as wide as the network, if it has one at all.
    has_pooled = _CLASS in shapes or _HEAD in shapes
    own = width if has_pooled else None
    pooled = int(shapes[_PROJECTION][0]) if _PROJECTION in shapes else own
    name = EncoderWidths(pooled, width, tokens).name
    lines = [
        f"{name}, {layers} layers, {encoder.image_size} px, {tokens} tokens",
        f"pooled {pooled or 'none'}, penultimate {tokens} x {width}",
    ]
    if name in (*ENCODER_NAMES.values(), "ViT-L 336"):
        lines.append(f"for adapters that need {name}")
    if pooled is None:
        lines.append("SigLIP's pooled feature comes with its Hugging Face folder only")
    return "\n".join([*lines, describe_memory(encoder)])


def describe_memory(encoder: Any) -> str:
    """Size of the weights and where they work."""
    megabytes = encoder.patcher.model_size() / 2**20
    return f"{megabytes:.0f} MB on {encoder.load_device}"
