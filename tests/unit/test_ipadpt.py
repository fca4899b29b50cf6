"""Files of diffusers and ComfyUI_IPAdapter_plus: what each layout means, and what none means."""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from typing import Any

import pytest
import torch
from pack.ip_models.adapter.spec import AdapterSpec, Family, Feature, Kind
from pack.ip_models.errors import BadInput, BrokenFile, WrongEncoder
from pack.ip_models.references import ipadpt
from pack.ip_models.references.features import FaceFeatures, ImageFeatures
from torch import Tensor

LARGE = 10**9


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape)


def spec(kind: Kind, feature: Feature, width: int, family: Family = Family.SD1) -> AdapterSpec:
    return AdapterSpec(family, kind, 4, feature, width, 768, (1,), (320,), "ViT-H", False)


STANDARD = spec(Kind.STANDARD, Feature.POOLED, 1024)
PLUS = spec(Kind.PLUS, Feature.PENULTIMATE, 1280)
FACEID = spec(Kind.FACEID, Feature.IDENTITY, 512)
RAW = spec(Kind.PORTRAIT_UNNORMED, Feature.IDENTITY, 512)
FACEID_PLUS = spec(Kind.FACEID_PLUS, Feature.PENULTIMATE, 1280)


def picture(count: int = 2) -> ImageFeatures:
    return ImageFeatures(
        rows(count, 1024), rows(count, 17, 1280), rows(1, 1024), rows(1, 17, 1280), "ViT-H"
    )


@pytest.mark.parametrize(
    ("shape", "feature", "source"),
    [
        ((2, 3, 1024), Feature.POOLED, "ViT-H"),
        ((2, 3, 1280), Feature.POOLED, "ViT-bigG"),
        ((2, 3, 257, 1280), Feature.PENULTIMATE, "ViT-H"),
        ((2, 3, 577, 1024), Feature.PENULTIMATE, "ViT-L"),
        ((2, 3, 512), Feature.IDENTITY, "face"),
        ((2, 3, 1, 512), Feature.IDENTITY, "face"),
        ((2, 3, 1, 1024), Feature.POOLED, "ViT-H"),
        ((2, 3, 99), Feature.POOLED, "an encoder that is 99 wide"),
    ],
)
def test_a_list_is_diffusers(shape: tuple[int, ...], feature: Feature, source: str) -> None:
    made = rows(*shape)
    (entry,) = ipadpt.read([made], "a", LARGE)
    flat = made.squeeze(2) if feature is not Feature.PENULTIMATE else made
    assert (entry.feature, entry.source) == (feature, source)
    assert entry.negative is not None
    assert torch.equal(entry.negative, flat[0]) and torch.equal(entry.positive, flat[1])


def test_rows_of_k_pictures_are_taken_once() -> None:
    negative, positive = rows(1, 3, 1024), rows(1, 3, 1024)
    (entry,) = ipadpt.read([torch.cat([negative] * 4 + [positive] * 4)], "a", LARGE)
    assert entry.negative is not None
    assert torch.equal(entry.negative, negative[0]) and torch.equal(entry.positive, positive[0])


@pytest.mark.parametrize("pictures", [1, 3])
def test_without_guidance_there_is_no_negative(pictures: int) -> None:
    positive = rows(1, 3, 257, 1280)
    (entry,) = ipadpt.read([positive.repeat(pictures, 1, 1, 1)], "a", LARGE)
    assert entry.negative is None and torch.equal(entry.positive, positive[0])
    assert "without negative" in entry.describe()


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("shape", [(3, 257, 1280), (3, 1024)])
def test_equal_rows_of_an_even_number_are_a_pair(count: int, shape: tuple[int, ...]) -> None:
    positive = rows(1, *shape)
    (entry,) = ipadpt.read([positive.expand(count, *shape).clone()], "a", LARGE)
    assert entry.negative is not None and torch.equal(entry.negative, positive[0])
    assert torch.equal(entry.positive, positive[0])
    assert "the negative equals the positive" in entry.describe()


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_face_is_never_its_own_negative(count: int) -> None:
    face = rows(1, 3, 512)
    (entry,) = ipadpt.read([face.repeat(count, 1, 1)], "a", LARGE)
    assert entry.negative is None and isinstance(entry.features("a"), FaceFeatures)


@pytest.mark.parametrize("images", [257, 577, 729, 1025])
def test_as_many_references_as_an_encoder_has_patches(images: int) -> None:
    made = rows(2, images, 24)
    (entry,) = ipadpt.read([made], "a", LARGE)
    assert entry.feature is Feature.POOLED and torch.equal(entry.positive, made[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_values_are_kept_in_single_precision_or_better(dtype: torch.dtype) -> None:
    made = rows(2, 1, 1024).to(dtype)
    (entry,) = ipadpt.read([made], "a", LARGE)
    assert entry.positive.dtype is (dtype if dtype is torch.float64 else torch.float32)
    assert torch.equal(entry.positive.to(dtype), made[1])


@pytest.mark.parametrize(
    ("shape", "feature"),
    [
        ((2, 1024), Feature.POOLED),
        ((1, 512), Feature.IDENTITY),
        ((2, 257, 1280), Feature.PENULTIMATE),
        ((3, 577, 1024), Feature.PENULTIMATE),
        ((3, 729, 1152), Feature.PENULTIMATE),
        ((2, 17, 1280), Feature.PENULTIMATE),
    ],
)
def test_a_bare_tensor_is_the_incumbent_s(shape: tuple[int, ...], feature: Feature) -> None:
    made = rows(*shape)
    (entry,) = ipadpt.read(made, "a", LARGE)
    assert entry.feature is feature and entry.negative is None
    assert torch.equal(entry.positive, made)


@pytest.mark.parametrize("shape", [(2, 1, 1024), (2, 3, 1024), (2, 1, 257, 1280), (2, 1, 1, 512)])
def test_a_bare_tensor_that_may_be_diffusers_is_not_guessed_at(shape: tuple[int, ...]) -> None:
    with pytest.raises(BrokenFile, match=r"Save it as a list, \[tensor\]"):
        ipadpt.read(rows(*shape), "a", LARGE)


HOSTILE: dict[str, tuple[Any, str]] = {
    "table": ({"a": rows(2, 1, 8)}, "is not an embeds file, it holds a table of 1 entry"),
    "ordered": (OrderedDict(a=rows(2, 1, 8)), "is not an embeds file"),
    "number": (3, "it holds 3"),
    "nothing": (None, "it holds nothing"),
    "empty list": ([], "holds a list of 0"),
    "long list": ([rows(2, 1, 8)] * 51, "holds a list of 51"),
    "list in list": ([[rows(2, 1, 8)]], "holds a list of 1 as entry 0"),
    "text": ([rows(2, 1, 8), "a"], 'holds "a" as entry 1'),
    "expanded": ([torch.zeros(1).expand(2, 1, 2**60)], "claims that entry 0 is"),
    "bare expanded": (torch.zeros(1).expand(1, 2**40), "claims that its tensor is"),
    "sparse": ([torch.zeros(2, 1, 8).to_sparse()], "sparse_coo"),
    "meta": ([torch.zeros(2, 1, 8, device="meta")], "on meta"),
    "whole numbers": ([torch.zeros(2, 1, 8, dtype=torch.int64)], "int64"),
    "complex": ([torch.zeros(2, 1, 8, dtype=torch.complex64)], "complex64"),
    "small floats": ([torch.zeros(2, 1, 8).to(torch.float8_e4m3fn)], "float8"),
    "truth": ([torch.zeros(2, 1, 8, dtype=torch.bool)], "bool"),
    "rank 0": ([torch.tensor(1.0)], "shape 1"),
    "rank 1": ([rows(8)], "shape 8"),
    "rank 2": ([rows(2, 8)], "shape 2 x 8"),
    "rank 5": ([rows(2, 1, 1, 1, 8)], "shape 2 x 1 x 1 x 1 x 8"),
    "no rows": ([rows(0, 1, 8)], "no images"),
    "no images": ([rows(2, 0, 8)], "no images"),
    "no width": ([rows(2, 1, 0)], "no images"),
    "no bare images": (rows(0, 1024), "no images"),
    "nan": ([torch.full((2, 1, 8), math.nan)], "not finite"),
    "infinite": ([rows(2, 1, 8), torch.full((2, 1, 8), math.inf)], "in entry 1 that are not"),
    "hidden states": ([rows(1, 257, 1280)], "looks like hidden states"),
    "large hidden states": ([rows(3, 1025, 16)], "looks like hidden states"),
    "three rows": ([rows(3, 1, 8)], "3 rows that differ"),
    "four rows": ([rows(4, 1, 8)], "4 rows that differ"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_layout_is_refused_in_one_sentence(case: str) -> None:
    content, words = HOSTILE[case]
    with pytest.raises(BrokenFile) as refused:
        ipadpt.read(content, "ref.ipadpt", 10**6 if "claims" in words else LARGE)
    said = str(refused.value)
    assert words in said and said.startswith("ref.ipadpt ") and "\n" not in said


def test_a_parameter_is_a_tensor() -> None:
    made = torch.nn.Parameter(rows(2, 1, 1024))
    (entry,) = ipadpt.read([made], "a", LARGE)
    assert type(entry.positive) is Tensor and not entry.positive.requires_grad


def test_entries_become_features() -> None:
    made = [
        rows(2, 1, 1024),
        rows(2, 2, 17, 1280),
        torch.cat([torch.zeros(1, 1, 512), rows(1, 1, 512)]),
    ]
    pooled, hidden, face = (entry.features("b") for entry in ipadpt.read(made, "b", LARGE))
    assert isinstance(pooled, ImageFeatures) and pooled.penultimate is None
    assert pooled.negative_pooled is not None and torch.equal(pooled.negative_pooled, made[0][0])
    assert isinstance(hidden, ImageFeatures) and hidden.pooled is None and hidden.count == 2
    assert isinstance(face, FaceFeatures) and torch.equal(face.identity, made[2][1])


def test_a_negative_face_is_refused() -> None:
    (entry,) = ipadpt.read([rows(2, 1, 512)], "b", LARGE)
    with pytest.raises(BrokenFile, match="negative face that is not zero"):
        entry.features("b")


def through_a_file(made: Tensor) -> Any:
    buffer = io.BytesIO()
    torch.save([made], buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("reader", [STANDARD, PLUS], ids=["standard", "plus"])
def test_what_is_written_is_read_again(reader: AdapterSpec) -> None:
    features = picture()
    made = ipadpt.write(features, reader, "a", "")
    pair = features.pair(reader.feature)
    assert pair is not None
    assert torch.equal(made, torch.stack((pair[1], pair[0])))
    (entry,) = ipadpt.read(through_a_file(made), "a", LARGE)
    back = entry.features("a")
    assert isinstance(back, ImageFeatures)
    again = back.pair(reader.feature)
    assert again is not None and all(map(torch.equal, again, pair))


@pytest.mark.parametrize("count", [1, 3, 257])
@pytest.mark.parametrize("reader", [None, STANDARD, PLUS], ids=["none", "standard", "plus"])
def test_a_negative_that_equals_the_positive_comes_back(
    reader: AdapterSpec | None, count: int
) -> None:
    one = rows(count, 1024)
    hidden = rows(count, 5, 1280) if reader is PLUS else None
    made = ipadpt.write(ImageFeatures(one, hidden, one, hidden, "ViT-H"), reader, "a", "")
    (entry,) = ipadpt.read(through_a_file(made), "a", LARGE)
    back = entry.features("a")
    assert isinstance(back, ImageFeatures)
    pair = back.pair(Feature.PENULTIMATE if reader is PLUS else Feature.POOLED)
    wanted = one if hidden is None else hidden
    assert pair is not None and all(torch.equal(half, wanted) for half in pair)


def test_an_adapter_decides_how_a_face_is_written() -> None:
    face = FaceFeatures(rows(2, 512) * 20, picture(), "buffalo_l")
    normed = ipadpt.write(face, FACEID, "a", "")
    assert normed.shape == (2, 2, 512) and not normed[0].any()
    assert torch.allclose(normed[1].norm(dim=-1), torch.ones(2))
    raw = ipadpt.write(face, RAW, "a", "")
    assert raw.shape == (2, 2, 1, 512) and torch.equal(raw[1, :, 0], face.identity)


def test_one_sort_of_features_needs_no_adapter() -> None:
    both = picture()
    pooled = ImageFeatures(both.pooled, None, both.negative_pooled, None, "ViT-H")
    assert torch.equal(ipadpt.write(pooled, None, "", ""), ipadpt.write(both, STANDARD, "a", ""))
    unit = torch.nn.functional.normalize(rows(2, 512), dim=-1)
    made = ipadpt.write(FaceFeatures(unit, None, "a"), None, "", "")
    assert torch.equal(made[1], unit) and not made[0].any()


@pytest.mark.parametrize(
    ("features", "reader", "words"),
    [
        (picture(), None, "two sorts of features of ViT-H"),
        (FaceFeatures(rows(1, 512) * 20, None, "buffalo_l"), None, "in two forms"),
        (FaceFeatures(rows(1, 512), picture(1), "buffalo_l"), FACEID_PLUS, "FaceID plus"),
        (FaceFeatures(torch.zeros(0, 512), None, "buffalo_l"), FACEID, "hold nobody"),
        (ImageFeatures(rows(1, 8), None, None, None, "ViT-H"), None, "no whole pair"),
        (ImageFeatures(rows(1, 512), None, rows(1, 512), None, "ViT-B"), None, "from a face"),
        (
            ImageFeatures(None, rows(1, 1, 8), None, rows(1, 1, 8), "ViT-H"),
            None,
            "features, 1 x 1 x 8; an .ipadpt cannot tell them from pooled ones",
        ),
        (ImageFeatures(rows(1, 8) / 0, None, rows(1, 8), None, "ViT-H"), None, "not finite"),
    ],
)
def test_what_diffusers_takes_otherwise_is_not_written(
    features: Any, reader: AdapterSpec | None, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        ipadpt.write(features, reader, "a.safetensors", "")


@pytest.mark.parametrize(
    ("features", "reader", "words"),
    [
        (ImageFeatures(rows(1, 1024), None, rows(1, 1024), None, "ViT-H"), PLUS, "no penultimate"),
        (
            ImageFeatures(None, rows(1, 17, 1280), None, rows(1, 17, 1280), "ViT-H"),
            STANDARD,
            "no pooled",
        ),
        (picture(), FACEID, "hold no face"),
        (FaceFeatures(rows(1, 512), None, "buffalo_l"), STANDARD, "no picture"),
    ],
)
def test_features_for_another_adapter_are_refused_in_one_sentence(
    features: Any, reader: AdapterSpec, words: str
) -> None:
    with pytest.raises(WrongEncoder, match=words):
        ipadpt.write(features, reader, "a.safetensors", "Encode again")


@pytest.mark.parametrize("given", [False, True])
def test_siglip_without_a_negative_image_comes_back_without_one(given: bool) -> None:
    hidden, mean = rows(1, 729, 1152), rows(1, 729, 1152)
    features = ImageFeatures(None, hidden, None, mean, "SigLIP", negative_given=given)
    (entry,) = ipadpt.read([ipadpt.write(features, None, "a", "")], "a", LARGE)
    back = entry.features("a")
    assert isinstance(back, ImageFeatures) and back.negative_given is given
    assert back.negative_penultimate is not None
    assert torch.equal(back.negative_penultimate, mean if given else torch.zeros_like(mean))
