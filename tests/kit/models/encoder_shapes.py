"""The tensors of whole image encoders, by the names of transformers and of OpenCLIP."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]
LAYER = "vision_model.encoder.layers."


def _pair(name: str, *weight: int) -> Shapes:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def clip(layers: int, width: int, pooled: int, places: int = 257, inside: int = 0) -> Shapes:
    """Of a CLIP with a projection.

    Args:
        inside: width of the perceptron of a layer, 0 for four times the width.
    """
    return {
        "vision_model.embeddings.class_embedding": (width,),
        "visual_projection.weight": (pooled, width),
        **_pair("vision_model.pre_layrnorm", width),
        **_body(layers, width, places, inside or 4 * width),
    }


def siglip(
    layers: int, width: int, places: int = 729, inside: int = 0, head: bool = True
) -> Shapes:
    """Of a SigLIP, with its pooling head or without."""
    inside = inside or 4 * width
    start = "vision_model.head"
    return {
        "vision_model.embeddings.patch_embedding.bias": (width,),
        **_body(layers, width, places, inside),
        **({f"{start}.probe": (1, 1, width)} if head else {}),
        **({f"{start}.attention.in_proj_weight": (3 * width, width)} if head else {}),
        **({f"{start}.attention.in_proj_bias": (3 * width,)} if head else {}),
        **(_pair(f"{start}.attention.out_proj", width, width) if head else {}),
        **(_pair(f"{start}.layernorm", width) if head else {}),
        **(_pair(f"{start}.mlp.fc1", inside, width) if head else {}),
        **(_pair(f"{start}.mlp.fc2", width, inside) if head else {}),
    }


def _body(layers: int, width: int, places: int, inside: int) -> Shapes:
    shapes: Shapes = {
        "vision_model.embeddings.patch_embedding.weight": (width, 3, 14, 14),
        "vision_model.embeddings.position_embedding.weight": (places, width),
        **_pair("vision_model.post_layernorm", width),
    }
    for number in range(layers):
        stem = f"{LAYER}{number}"
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= _pair(f"{stem}.self_attn.{name}", width, width)
        shapes |= _pair(f"{stem}.layer_norm1", width) | _pair(f"{stem}.layer_norm2", width)
        shapes |= _pair(f"{stem}.mlp.fc1", inside, width) | _pair(f"{stem}.mlp.fc2", width, inside)
    return shapes


def open_clip(layers: int, width: int, pooled: int, places: int = 257) -> Shapes:
    """Of a CLIP as OpenCLIP saves it."""
    shapes: Shapes = {
        "visual.class_embedding": (width,),
        "visual.conv1.weight": (width, 3, 14, 14),
        "visual.positional_embedding": (places, width),
        "visual.proj": (width, pooled),
        **_pair("visual.ln_pre", width),
        **_pair("visual.ln_post", width),
    }
    for number in range(layers):
        stem = f"visual.transformer.resblocks.{number}"
        shapes |= {f"{stem}.attn.in_proj_weight": (3 * width, width)}
        shapes |= {f"{stem}.attn.in_proj_bias": (3 * width,)}
        shapes |= _pair(f"{stem}.attn.out_proj", width, width)
        shapes |= _pair(f"{stem}.ln_1", width) | _pair(f"{stem}.ln_2", width)
        shapes |= _pair(f"{stem}.mlp.c_fc", 4 * width, width)
        shapes |= _pair(f"{stem}.mlp.c_proj", width, 4 * width)
    return shapes


def hollow(width: int, pooled: int) -> Shapes:
    """Of two layers, as the stand-in has that is loaded for it, with next to nothing inside."""
    return clip(2, width, pooled, inside=8)
