"""SigLIP as ComfyUI loads it: what it is to be shown, and the pooling head that is left behind."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import comfy.clip_vision
import torch
from torch import Tensor

from ....ip_models.adapter.encoders import SIGLIP_HEAD
from ....ip_models.pictures.fit import Fit

SQUASHED = (
    "SigLIP is shown the whole picture squashed to a square, as it was trained; pad keeps its shape"
)

_EPSILON = 1e-6


def is_siglip(clip_vision: Any) -> bool:
    """Whether an encoder has patches only and no class beside them."""
    vision = getattr(getattr(clip_vision, "model", None), "vision_model", None)
    embeddings = getattr(vision, "embeddings", None)
    has_class = getattr(embeddings, "class_embedding", None) is not None
    return hasattr(embeddings, "position_embedding") and not has_class


def shown_fit(clip_vision: Any, fit: Fit) -> Fit:
    """How a picture becomes a square: SigLIP's adapters never saw a part of one cut off."""
    whole = fit in (Fit.PAD, Fit.SQUASH)
    return fit if whole or not is_siglip(clip_vision) else Fit.SQUASH


@contextmanager
def published_norms(clip_vision: Any) -> Generator[None]:
    """Let the norms of ComfyUI's SigLIP add what it was trained with while they run.

    ComfyUI adds CLIP's ten times as much, which is 2e-4 of the features where the embeddings are
    small. Afterwards it is as before: to other nodes an encoder gives what it always gave.
    """
    own = isinstance(clip_vision, comfy.clip_vision.ClipVisionModel) and is_siglip(clip_vision)
    modules = clip_vision.model.modules() if own else ()
    norms = [(one, one.eps) for one in modules if isinstance(one, torch.nn.LayerNorm)]
    try:
        for norm, _ in norms:
            norm.eps = _EPSILON
        yield
    finally:
        for norm, before in norms:
            norm.eps = before


class _Pooling(torch.nn.Module):
    """Stands where CLIP has its projection and makes one vector of the last hidden state.

    The host moves its own layers when they run and not what transformers reads by itself, so that
    the weights are brought along at each call.
    """

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self._head = (head,)  # not as a part: it is one of the vision model, as in files

    def forward(self, sequence: Tensor) -> Tensor:
        (head,) = self._head
        brought = {name: weight.to(sequence) for name, weight in head.named_parameters()}
        return torch.func.functional_call(head, brought, (sequence,))


def add_head(encoder: Any, tensors: Mapping[str, Tensor]) -> None:
    """Give an encoder of the host the pooling head of its file, as transformers computes it.

    Its pooled feature is a vector then; all else that it gives stays as it is.

    Args:
        tensors: what the host has left of the file.

    Raises:
        KeyError, RuntimeError: the head is not whole, or another encoder's.
    """
    from transformers import SiglipVisionConfig  # takes seconds
    from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

    start = f"{SIGLIP_HEAD}."
    own = {key.removeprefix(start): tensors[key] for key in tensors if key.startswith(start)}
    vision = encoder.model.vision_model
    config = SiglipVisionConfig(
        hidden_size=len(vision.post_layernorm.weight),
        intermediate_size=len(own["mlp.fc1.bias"]),
        num_attention_heads=vision.encoder.layers[0].self_attn.heads,  # no shape tells it
    )
    with torch.device("meta"):
        head = SiglipMultiheadAttentionPoolingHead(config)
    head.load_state_dict(own, assign=True)
    head.to(encoder.patcher.offload_device, encoder.dtype).requires_grad_(False).eval()
    vision.head = head
    encoder.model.visual_projection = _Pooling(head)
