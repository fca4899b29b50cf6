"""Image encoders by the shapes of their tensors: which they are, and which adapters they serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .spec import ENCODER_NAMES, AdapterSpec, Feature

SIGLIP_HEAD = "vision_model.head"  # what makes SigLIP's pooled feature of its sequence
_LARGE, _LARGE_SEQUENCE = "ViT-L 336", 577  # its 24 x 24 patches and the class
_ENCODER_KEYS = (
    (
        "vision_model.post_layernorm.weight",
        "visual_projection.weight",
        0,
        "vision_model.embeddings.position_embedding.weight",
    ),
    ("visual.ln_post.weight", "visual.proj", 1, "visual.positional_embedding"),
)


def name_encoder(pooled: int | None, penultimate: int) -> str:
    """Common name of an encoder with these feature widths, e.g. "ViT-H"."""
    by_sequence = ENCODER_NAMES.get((Feature.PENULTIMATE, penultimate))
    by_pool = ENCODER_NAMES.get((Feature.POOLED, pooled)) if pooled else None
    if by_sequence and (pooled is None or by_pool == by_sequence):
        return by_sequence
    if pooled is None:
        return f"an unknown encoder ({penultimate} wide)"
    return f"an unknown encoder ({pooled} and {penultimate} wide)"


class EncoderWidths(NamedTuple):
    """Feature widths of an image encoder file.

    Attributes:
        pooled: None without a projection or, of a SigLIP, a pooling head.
        sequence: length of what it gives for a picture, None where the file does not tell.
    """

    pooled: int | None
    penultimate: int
    sequence: int | None = None

    def fits(self, spec: AdapterSpec) -> bool:
        """Whether the encoder gives what an adapter reads."""
        width = self.pooled if spec.feature is Feature.POOLED else self.penultimate
        # Encoders of other sizes share the width of a pooled feature, but not its meaning.
        named = spec.feature is Feature.POOLED and spec.encoder in ENCODER_NAMES.values()
        if spec.encoder == _LARGE and self.sequence not in (None, _LARGE_SEQUENCE):
            return False
        return width == spec.feature_width and (not named or self.name == spec.encoder)

    @property
    def name(self) -> str:
        """Common name, e.g. "ViT-H"."""
        if self.penultimate == 1024 and self.sequence == _LARGE_SEQUENCE:
            return _LARGE
        return name_encoder(self.pooled, self.penultimate)

    @property
    def about(self) -> str:
        """The name, and whether the part is missing that makes the pooled feature."""
        return self.name if self.pooled else f"{self.name} without its pooled feature"


def encoder_widths(shapes: Mapping[str, Any]) -> EncoderWidths | None:
    """Feature widths of an image encoder with these tensors, None if it is none of CLIP's."""
    for width, pooled, column, positions in _ENCODER_KEYS:
        if width in shapes:
            projection, positions = shapes.get(pooled), shapes.get(positions)
            try:
                penultimate = int(shapes[width].shape[0])
                pooled_width = penultimate if f"{SIGLIP_HEAD}.probe" in shapes else None
                return EncoderWidths(
                    pooled=pooled_width if projection is None else int(projection.shape[column]),
                    penultimate=penultimate,
                    sequence=None if positions is None else int(positions.shape[0]),
                )
            except (AttributeError, IndexError):  # a table, or a tensor of fewer dimensions
                return None
    return None
