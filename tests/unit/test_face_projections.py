"""Projections of faces: as the specification words them, and as diffusers computes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from kit.models import book
from kit.models.checkpoints import fill, nest, tiny_shapes
from pack.ip_models.adapter.module import IPAdapter
from pack.ip_models.adapter.recognise import read_spec
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.errors import WrongBase
from pack.ip_models.projection.projections import Structure
from torch import Tensor, nn

WIDTHS = (64, 64)
CONTEXT, ENCODER, SEQUENCE = 768, 80, 7
SINGLE, DOUBLE = 5e-6, 1e-12
# Kind, tokens, context, encoder width, width inside, heads.
VARIANTS: dict[str, tuple[str, int, int, int, int, int]] = {
    "FaceID": ("FaceID", 4, 768, 1, 768, 12),
    "FaceID SDXL": ("FaceID", 4, 2048, 1, 768, 12),
    "portrait": ("FaceID portrait", 16, 768, 1, 768, 12),
    "unnormed": ("FaceID portrait unnormed", 16, 768, 1, 128, 2),
    "plus": ("FaceID plus", 4, 768, ENCODER, 768, 12),
    "Kolors plus": ("plus", 16, 2048, 1024, 2048, 1),
}
PLUS = VARIANTS["plus"]
SMALL_FEED_FORWARD = 96


def tensors(variant: tuple[str, int, int, int, int, int], shrink: bool = True) -> dict[str, Tensor]:
    """Random weights; the feed forward layers are made small, whose width is free."""
    kind, tokens, context, encoder, dim, heads = variant
    shapes = tiny_shapes(kind, WIDTHS, context, encoder, tokens, dim, heads, depth=2)
    for key, (rows, *columns) in list(shapes.items()) if shrink else ():
        if key.endswith(".1.1.weight"):
            shapes[key] = (SMALL_FEED_FORWARD, *columns)
        elif key.endswith(".1.3.weight"):
            shapes[key] = (rows, SMALL_FEED_FORWARD)
    return fill(shapes, seed=5)


def build(flat: Mapping[str, Tensor], dtype: torch.dtype) -> IPAdapter:
    weights = canonical({key: value.to(dtype) for key, value in flat.items()})
    adapter = IPAdapter(read_spec(weights), weights, nn).eval()
    adapter.load(weights)
    return adapter.requires_grad_(False)


def projection(flat: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return nest(flat)["image_proj"]


def rows(*shape: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def relative(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).norm() / other.double().norm())


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, SINGLE), (torch.float64, DOUBLE)])
@pytest.mark.parametrize("name", ["FaceID", "FaceID SDXL", "portrait"])
def test_an_identity_becomes_tokens_by_the_book(
    name: str, dtype: torch.dtype, limit: float
) -> None:
    flat, identity = tensors(VARIANTS[name]), rows(3, 512)
    tokens = build(flat, dtype).tokens(identity.to(dtype))
    assert tokens.shape == (3, VARIANTS[name][1], VARIANTS[name][2])
    assert relative(tokens, book.face_mlp(identity, projection(flat))) < limit


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, SINGLE), (torch.float64, DOUBLE)])
@pytest.mark.parametrize("name", ["unnormed", "Kolors plus"])
def test_a_resampler_reads_by_the_book(name: str, dtype: torch.dtype, limit: float) -> None:
    flat = tensors(VARIANTS[name])
    features = 20 * rows(3, 1, 512) if name == "unnormed" else rows(3, SEQUENCE, 1024)
    tokens = build(flat, dtype).tokens(features.to(dtype))
    assert relative(tokens, book.resampler(features, projection(flat))) < limit


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, SINGLE), (torch.float64, DOUBLE)])
@pytest.mark.parametrize(
    "structure", [Structure(), Structure(True), Structure(True, 0.4), Structure(True, -1.5)]
)
def test_identity_and_looks_join_by_the_book(
    structure: Structure, dtype: torch.dtype, limit: float
) -> None:
    flat, identity, crops = tensors(PLUS), rows(2, 512), rows(2, SEQUENCE, ENCODER, seed=4)
    adapter = build(flat, dtype)
    tokens = adapter.tokens(identity.to(dtype), crops.to(dtype), structure=structure)
    expected = book.face_plus(identity, crops, projection(flat), *structure)
    assert relative(tokens, expected) < limit


def test_the_shortcut_and_its_scale_are_heard() -> None:
    adapter = build(tensors(PLUS), torch.float64)
    identity, crops = rows(1, 512), rows(1, SEQUENCE, ENCODER)
    heard = [
        adapter.tokens(identity, crops, structure=structure)
        for structure in (Structure(), Structure(True), Structure(True, 0.5), Structure(True, 0.0))
    ]
    for i, one in enumerate(heard):
        assert all(relative(one, other) > 0.01 for other in heard[:i])
    assert torch.equal(heard[3], adapter.image_proj.identity_tokens(identity))  # pyright: ignore
    louder = adapter.tokens(identity, crops, structure=Structure(False, 3.0))
    assert torch.equal(louder, heard[0])


def convert(flat: Mapping[str, Tensor]) -> Any:
    """diffusers' own module, made and filled by diffusers' own loader."""
    unet = pytest.importorskip("diffusers.loaders.unet")
    loader = unet.UNet2DConditionLoadersMixin()
    make = loader._convert_ip_adapter_image_proj_to_diffusers
    return make(projection(flat), low_cpu_mem_usage=False).requires_grad_(False)


@pytest.mark.parametrize("name", ["FaceID", "FaceID SDXL", "portrait"])
def test_an_identity_becomes_the_tokens_of_diffusers(name: str) -> None:
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    flat, identity = tensors(VARIANTS[name]), rows(3, 512).float()
    module = convert(flat)
    assert isinstance(module, embeddings.IPAdapterFaceIDImageProjection)
    assert relative(build(flat, torch.float32).tokens(identity), module(identity)) < SINGLE


def whole(variant: tuple[str, int, int, int, int, int]) -> dict[str, Tensor]:
    """Four layers of the published width, on which diffusers insists."""
    kind, tokens, context, encoder, dim, heads = variant
    return fill(tiny_shapes(kind, WIDTHS, context, encoder, tokens, dim, heads), seed=6)


@pytest.mark.parametrize("structure", [Structure(), Structure(True), Structure(True, 0.4)])
def test_identity_and_looks_join_as_in_diffusers(structure: Structure) -> None:
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    flat = whole(("FaceID plus", 4, 768, ENCODER, 768, 2))
    identity, crops = rows(2, 512).float(), rows(2, SEQUENCE, ENCODER, seed=4).float()
    module = convert(flat)
    assert isinstance(module, embeddings.IPAdapterFaceIDPlusImageProjection)
    module.clip_embeds = crops[:, None]
    module.shortcut, module.shortcut_scale = structure
    ours = build(flat, torch.float32).tokens(identity, crops, structure=structure)
    assert relative(ours, module(identity)) < SINGLE


@pytest.mark.parametrize("features", [(512, 1), (1024, SEQUENCE)], ids=["face", "Kolors heads"])
def test_a_resampler_reads_as_in_diffusers(features: tuple[int, int]) -> None:
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    width, sequence = features
    flat = whole(("plus", 16, 768, width, 256, 3))  # heads are not dim / 64
    seen = rows(2, sequence, width).float()
    module = convert(flat)
    assert isinstance(module, embeddings.IPAdapterPlusImageProjection)
    assert relative(build(flat, torch.float32).tokens(seen), module(seen)) < SINGLE


KOLORS = ("FaceID plus", 6, 2048, 1024, 4096, 1)


def test_the_tokens_of_kolors_pass_the_projection_of_text() -> None:
    flat = tensors(KOLORS)
    adapter = build(flat, torch.float64)
    assert adapter.spec.through_text_projection and adapter.spec.family.value == "Kolors"
    identity, crops = rows(2, 2, 512), rows(2, 2, SEQUENCE, 1024, seed=4)
    weight, bias = rows(2048, 4096, seed=8) / 64, rows(2048, seed=9)

    def hid_proj(tokens: Tensor) -> Tensor:
        return tokens @ weight.T + bias

    how = Structure(True)
    inputs = (identity.flatten(0, 1), crops.flatten(0, 1))
    found = adapter.key_values(inputs, 2, lambda: None, how, hid_proj)
    maps = nest(flat)["ip_adapter"]
    for side in range(2):
        tokens = book.face_plus(identity[side], crops[side], projection(flat), True)
        joined = hid_proj(tokens).flatten(0, 1)
        for i, number in enumerate((1, 3)):
            pair = found.pairs(found.uncond if side else found.cond)[i]
            for half, values in zip("kv", pair, strict=True):
                expected = joined @ maps[f"{number}.to_{half}_ip.weight"].double().T
                assert relative(values[0], expected) < DOUBLE
    with pytest.raises(WrongBase, match="encoder_hid_proj"):
        adapter.key_values(inputs, 2, lambda: None, how)
