"""Small models that the originals take as well, and everything else that a case links."""

from __future__ import annotations

import tempfile
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import insightface.utils.face_align  # noqa: F401 - both packs then cut faces by its arithmetic
import numpy
import torch
from kit.models import checkpoints, encoders, tiny
from plus.comparison.data import Mask, Picture, Prompt, Rows
from torch import Tensor

HIDDEN, POOLED, PATCHES, PATCH = 1280, 1024, 16, 56
# Widths inside the projections, which the original has as numbers in its code.
_PLUS = {"sd1": (768, 12), "sdxl": (1280, 20)}
_FACE_PLUS = {"sd1": (768, 12), "sdxl": (2048, 32)}
_UNNORMED = {"sd1": (1280, 12), "sdxl": (1280, 20)}
_LORA = ("FaceID", "FaceID plus")
_LOUD = 20  # about the length of an identity that is not normalised


@cache
def twin(family: str) -> tiny.Twins:
    """A narrow UNet with all layers; that of Kolors has its projection of text."""
    if family != "kolors":
        return tiny.twins(family)
    made = tiny.twins("sdxl")
    unet = made.model.get_model_object("diffusion_model")
    unet.encoder_hid_proj = torch.nn.Linear(4096, 2048)
    generator = torch.Generator().manual_seed(31)
    with torch.no_grad():
        for one in unet.encoder_hid_proj.parameters():
            # Louder, and attention is so sharp that rounding alone shows in the original's picture.
            one.copy_(0.5 * torch.randn(one.shape, generator=generator) / one.shape[-1] ** 0.5)
    return made


@cache
def encoder(family: str) -> Any:
    """A CLIP_VISION as wide as ViT-H, or for Kolors as ViT-L of 336 pixels, with few patches."""
    kolors = family == "kolors"
    width, pooled = (1024, 768) if kolors else (HIDDEN, POOLED)
    config: dict[str, Any] = dict(
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_channels=3,
        image_size=336 if kolors else 224,
        patch_size=84 if kolors else PATCH,
        hidden_act="quick_gelu" if kolors else "gelu",
        projection_dim=pooled,
    )
    return encoders.random_encoder(Path(tempfile.mkdtemp(prefix="encoder-")), **config)


@lru_cache(maxsize=1)  # some are large; cases of the same stand together
def adapter(kind: str, family: str) -> dict[str, Any]:
    """An IPADAPTER as the file loader gives it."""
    plain = kind.removesuffix(" v2")
    tensors = _kolors(plain) if family == "kolors" else _tensors(plain, family)
    made: dict[str, Any] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in tensors.items():
        part, rest = key.split(".", 1)
        made[part][rest] = value
    if kind.endswith(" v2"):
        made["faceidplusv2"] = True
    if kind.endswith("unnormed"):
        made["portraitunnorm"] = True
    return made


def _tensors(kind: str, family: str) -> dict[str, Tensor]:
    inner = {
        "plus": _PLUS,
        "FaceID plus": _FACE_PLUS,
        "FaceID portrait unnormed": _UNNORMED,
    }.get(kind)
    options = {} if inner is None else dict(zip(("dim", "heads"), inner[family], strict=True))
    made = tiny.adapter_tensors(twin(family), kind, seed=1, **options)
    if kind in _LORA:
        made |= tiny.lora_tensors(twin(family))
    return made


def _kolors(kind: str) -> dict[str, Tensor]:
    """Small where the published widths do not matter; see `original.small_kolors`."""
    assert kind == "FaceID plus"
    widths = twin("kolors").widths
    shapes = checkpoints.tiny_shapes("FaceID plus", widths, 2048, 1024, 6, 4096, 1, depth=1)
    inner = "image_proj.perceiver_resampler.layers.0.1"
    shapes |= {f"{inner}.1.weight": (4096, 4096), f"{inner}.3.weight": (4096, 4096)}
    made = checkpoints.fill(shapes, seed=3)
    return {k: v * 3 if "_ip.weight" in k else v for k, v in made.items()}


def pipeline(kind: str, family: str) -> dict[str, Any]:
    """An IPADAPTER as a unified loader gives it."""
    return {
        "clipvision": {"file": None, "model": encoder(family)},
        "ipadapter": {"file": None, "model": adapter(kind, family)},
        "insightface": {"provider": "CPU", "model": Faces()},
    }


class _Face:
    """One face as insightface gives it."""

    def __init__(self, embedding: Any, points: Any) -> None:
        self.embedding, self.kps = embedding, points
        self.normed_embedding = embedding / numpy.linalg.norm(embedding)
        self.bbox, self.det_score = numpy.array([0.0, 0, 50, 50]), 0.9

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


class Faces:
    """An INSIGHTFACE that sees two faces in every picture, once its detector is small enough."""

    class det_model:
        input_size: Any = None

    def get(self, bgr: Any) -> list[_Face]:
        if self.det_model.input_size[0] > 600:
            return []
        random = numpy.random.default_rng(int(bgr.sum()) % 2**31)
        vector = random.normal(size=512).astype("f4")
        points = numpy.array([[30, 30], [55, 32], [43, 45], [32, 60], [53, 61]], "f4")
        points = points + random.normal(size=(5, 2)).astype("f4")
        return [_Face(vector * _LOUD, points), _Face(-vector, points)]


def value(given: Any, family: str) -> Any:
    """The object that a piece of data stands for."""
    makers = {Picture: picture, Mask: mask, Rows: rows}
    if type(given) in makers:
        return makers[type(given)](given)
    return prompt(given, family) if isinstance(given, Prompt) else given


def picture(wanted: Picture) -> Tensor:
    """Random pixels."""
    generator = torch.Generator().manual_seed(wanted.seed)
    made = torch.rand(wanted.count, wanted.height, wanted.width, 3, generator=generator)
    return made if wanted.fine else (made * 255).round() / 255


def mask(wanted: Mask) -> Tensor:
    """A half plane, another for each of the batch, or random values."""
    shape = wanted.count, wanted.height, wanted.width
    if wanted.kind == "half":
        made = torch.zeros(shape)
        for i, one in enumerate(made):
            one[:, i * wanted.width // 4 : wanted.width // 2] = 1
        return made
    made = torch.rand(shape, generator=torch.Generator().manual_seed(wanted.seed))
    return made if wanted.kind == "soft" else made * 3 - 1


def rows(wanted: Rows) -> Tensor:
    """Rows as an encoder of the width of ViT-H gives them."""
    shape = (wanted.count, PATCHES + 1, HIDDEN) if wanted.hidden else (wanted.count, POOLED)
    return torch.randn(shape, generator=torch.Generator().manual_seed(wanted.seed))


def prompt(wanted: Prompt, family: str) -> list[Any]:
    """Eight tokens and, for SDXL, what goes with them."""
    generator = torch.Generator().manual_seed(wanted.seed)
    tokens = torch.randn(1, 8, twin(family).context, generator=generator)
    if family == "sd1":
        return [[tokens, {}]]
    size = {"width": 512, "height": 512, "target_width": 512, "target_height": 512}
    return [[tokens, {"pooled_output": torch.randn(1, 1280, generator=generator), **size}]]
