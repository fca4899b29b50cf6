"""What each kind of adapter is given of a face, and what is said where something is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from kit.models.checkpoints import as_published, load_table
from pack.ip_models.adapter.recognise import read_spec
from pack.ip_models.adapter.spec import AdapterSpec
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.errors import BadInput, WrongEncoder
from pack.ip_models.references.combine import Combine
from pack.ip_models.references.combine import combine as merge
from pack.ip_models.references.features import FaceFeatures, ImageFeatures, Region, Regions, inputs
from torch import Tensor

HINT = "Encode again"
NORMED = ("ip-adapter-faceid_sd15", "ip-adapter-faceid_sdxl", "ip-adapter-faceid-portrait_sd15")
PLUS = ("ip-adapter-faceid-plus_sd15", "ip-adapter-faceid-plusv2_sdxl")
UNNORMED = ("ip-adapter-faceid-portrait_sdxl_unnorm", "instantid_ip-adapter")
KOLORS, CLIP = "kolors_ipa-faceid-plus", "ip-adapter-plus_sd15"


def rows(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def picture(
    count: int = 3, width: int = 1280, seed: int = 1, source: str = "ViT-H"
) -> ImageFeatures:
    return ImageFeatures(
        pooled=rows(count, 1024, seed=seed),
        penultimate=rows(count, 5, width, seed=seed + 1),
        negative_pooled=torch.zeros(1, 1024, dtype=torch.float64),
        negative_penultimate=rows(1, 5, width, seed=seed + 2),
        source=source,
    )


def face(count: int = 3, crops: ImageFeatures | None = None, seed: int = 9) -> FaceFeatures:
    return FaceFeatures(20 * rows(count, 512, seed=seed), crops, "buffalo_l w600k_r50")


def spec_of(name: str) -> AdapterSpec:
    return read_spec(canonical(as_published(load_table(name)), name), name)


def given(features: FaceFeatures | ImageFeatures, name: str) -> tuple[Tensor, ...]:
    return inputs(features, spec_of(name), name, HINT)


def refused(features: FaceFeatures | ImageFeatures, name: str) -> WrongEncoder:
    with pytest.raises(WrongEncoder) as error:
        given(features, name)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")
    return error.value


@pytest.mark.parametrize("crops", [None, picture()], ids=["face", "face and crop"])
@pytest.mark.parametrize("name", NORMED)
def test_the_length_of_an_identity_is_not_heard(name: str, crops: ImageFeatures | None) -> None:
    features = face(crops=crops)
    (identity,) = given(features, name)
    length = torch.sqrt((features.identity**2).sum(-1, keepdim=True))
    assert torch.allclose(identity[0], features.identity / length, rtol=0, atol=1e-15)
    assert not identity[1].any()
    assert identity.shape == (2, 3, 512)


@pytest.mark.parametrize("name", UNNORMED)
def test_some_hear_the_identity_as_it_is(name: str) -> None:
    (identity,) = given(face(), name)
    assert identity.shape == (2, 3, 1, 512)
    assert torch.equal(identity[0, :, 0], face().identity)
    assert not identity[1].any()


@pytest.mark.parametrize("name", PLUS)
def test_face_id_plus_hears_the_crop_too(name: str) -> None:
    identity, crops = given(face(crops=picture()), name)
    assert torch.allclose(identity[0].norm(dim=-1), torch.ones(3, dtype=torch.float64))
    assert not identity[1].any()
    assert torch.equal(crops[0], picture().penultimate)
    assert torch.equal(crops[1], picture().negative_penultimate.expand(3, -1, -1))


def test_kolors_hears_the_identity_as_it_is_and_nothing_at_all_as_negative() -> None:
    identity, crops = given(face(crops=picture(width=1024, source="ViT-L")), KOLORS)
    assert torch.equal(identity[0], face().identity)
    assert torch.equal(crops[0], picture(width=1024).penultimate)
    assert not identity[1].any() and not crops[1].any()


def test_the_smaller_vit_l_is_not_heard_as_the_larger() -> None:
    small = replace(picture(width=1024), penultimate=rows(3, 257, 1024, seed=1))
    small = replace(small, negative_penultimate=rows(1, 257, 1024, seed=2), source="ViT-L")
    for features, name in ((small, "kolors_ip_adapter_plus_general"), (face(crops=small), KOLORS)):
        assert "ViT-L 336" in refused(features, name).needed


def test_a_face_that_is_nothing_stays_finite() -> None:
    (identity,) = given(replace(face(), identity=torch.zeros(1, 512)), NORMED[0])
    assert not identity.any()


def test_the_crops_of_faces_serve_other_adapters() -> None:
    (chosen,) = given(face(crops=picture()), CLIP)
    assert torch.equal(chosen[0], picture().penultimate)
    error = refused(face(), CLIP)
    assert "needs the picture of the face too, read by ViT-H" in error.needed


@pytest.mark.parametrize("name", (*NORMED, *PLUS, *UNNORMED, KOLORS))
def test_a_picture_is_no_face(name: str) -> None:
    error = refused(picture(), name)
    assert f"{name} needs a face" in error.needed
    assert error.action == "Connect Encode Face"


@pytest.mark.parametrize(("name", "encoder"), [(PLUS[0], "ViT-H"), (KOLORS, "ViT-L 336")])
def test_face_id_plus_asks_for_its_encoder(name: str, encoder: str) -> None:
    assert f"needs the picture of the face too, read by {encoder}" in refused(face(), name).needed
    wrong = refused(face(crops=picture(width=1664, source="ViT-bigG")), name)
    assert "ViT-bigG" in wrong.found and encoder in wrong.needed
    assert wrong.action == HINT


@pytest.mark.parametrize("name", (*NORMED, *PLUS, *UNNORMED, KOLORS))
def test_the_output_of_another_recogniser_is_refused_by_its_width(name: str) -> None:
    odd = replace(face(crops=picture()), identity=rows(3, 256, seed=0))
    assert "256 values" in refused(odd, name).found


@pytest.mark.parametrize("method", Combine)
@pytest.mark.parametrize("crops", [False, True])
def test_faces_are_merged_like_pictures(method: Combine, crops: bool) -> None:
    parts = [face(2, picture(2) if crops else None), face(1, picture(1, seed=5) if crops else None)]
    weights = [0.5, -1.25]
    joined = merge(parts, weights, method)
    assert isinstance(joined, FaceFeatures)
    alike = [
        replace(picture(len(p.identity)), pooled=p.identity, negative_pooled=p.identity[:1] * 0)
        for p in parts
    ]
    same = merge(alike, weights, method)
    assert isinstance(same, ImageFeatures) and same.pooled is not None
    assert torch.equal(joined.identity, same.pooled)
    assert joined.count == (3 if method is Combine.CONCAT else 1)
    assert (joined.crops is not None) is crops
    if joined.crops is not None:
        pictures = [part.crops for part in parts if part.crops is not None]
        straight = merge(pictures, weights, method)
        assert isinstance(straight, ImageFeatures)
        assert torch.equal(joined.crops.penultimate, straight.penultimate)
        assert joined.crops.count == joined.count


def test_the_mean_of_faces_is_their_mean() -> None:
    one, other = face(1, seed=1), face(1, seed=2)
    joined = merge([one, other], [1.0, 3.0], Combine.AVERAGE)
    assert isinstance(joined, FaceFeatures)
    assert torch.allclose(joined.identity, (one.identity + 3 * other.identity) / 2)


@pytest.mark.parametrize("backwards", [False, True])
def test_faces_and_pictures_are_not_merged(backwards: bool) -> None:
    both: list[FaceFeatures | ImageFeatures] = [face(), picture()]
    with pytest.raises(BadInput, match="of one sort") as error:
        merge(both[::-1] if backwards else both, [1.0, 1.0], Combine.CONCAT)
    assert "buffalo_l" in error.value.found and "ViT-H" in error.value.found


def test_faces_that_were_encoded_differently_are_not_merged() -> None:
    for other in (face(crops=picture()), replace(face(), identity=rows(1, 256, seed=0))):
        with pytest.raises(WrongEncoder, match="encoded alike"):
            merge([face(), other], [1.0, 1.0], Combine.CONCAT)
    large = face(crops=picture(width=1024, source="ViT-L"))
    with pytest.raises(WrongEncoder, match="ViT-H and of ViT-L"):
        merge([face(crops=picture()), large], [1.0, 1.0], Combine.ADD)


def test_a_region_may_hold_a_face() -> None:
    assert Regions((Region(face(), None, 1.0),)).source == face().source
