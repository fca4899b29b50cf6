"""What encoders say: every formula against plain loops, and features of the wrong encoder."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy
import pytest
import torch
from kit.models.checkpoints import as_published, load_table
from numpy.typing import NDArray
from pack.ip_models.adapter.encoders import name_encoder
from pack.ip_models.adapter.recognise import read_spec
from pack.ip_models.adapter.spec import AdapterSpec, Family, Feature, Kind
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.errors import BadInput, WrongEncoder
from pack.ip_models.references.combine import Combine, combine, warning
from pack.ip_models.references.features import (
    FaceFeatures,
    ImageFeatures,
    Region,
    Regions,
    inputs,
    select,
)
from pack.ip_models.references.report import describe, details
from torch import Tensor

Array = NDArray[numpy.float64]

COUNTS = (2, 1, 3)
WEIGHTS = (0.5, -1.25, 2.0)
MIXES = [method for method in Combine if method is not Combine.CONCAT]
HINT = "Encode again with ViT-H"


def rows(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def part(
    count: int, seed: int = 0, pooled: int | None = 6, width: int = 8, sequence: int = 3
) -> ImageFeatures:
    return ImageFeatures(
        pooled=None if pooled is None else rows(count, pooled, seed=4 * seed),
        penultimate=rows(count, sequence, width, seed=4 * seed + 1),
        negative_pooled=None if pooled is None else rows(1, pooled, seed=4 * seed + 2),
        negative_penultimate=rows(1, sequence, width, seed=4 * seed + 3),
        source="ViT-H",
    )


def parts() -> list[ImageFeatures]:
    return [part(count, seed) for seed, count in enumerate(COUNTS, 1)]


def weighted(features: list[Tensor], weights: tuple[float, ...]) -> list[Array]:
    """Every reference of every part, times the weight of its part, in order."""
    return [
        numpy.asarray(reference) * weight
        for references, weight in zip(features, weights, strict=True)
        for reference in references
    ]


def expected(method: Combine, references: list[Array]) -> Array:
    """Section 4, row 10 of the specification, value by value."""
    count = len(references)
    if method is Combine.CONCAT:
        return numpy.stack(references)
    if method is Combine.ADD:
        return sum(references[1:], references[0])[None]
    if method in (Combine.MAX, Combine.MIN):
        choose = max if method is Combine.MAX else min
        out = numpy.zeros_like(references[0])
        for place in numpy.ndindex(out.shape):
            out[place] = choose(float(reference[place]) for reference in references)
        return out[None]
    if method is Combine.AVERAGE:
        return sum(references[1:], references[0])[None] / count
    if method is Combine.SUBTRACT:
        if count == 1:
            return references[0][None]
        return (references[0] - sum(references[2:], references[1]) / (count - 1))[None]
    out = numpy.zeros_like(references[0])
    for place in numpy.ndindex(out.shape):
        values = [float(reference[place]) for reference in references]
        size = math.sqrt(sum(value * value for value in values))
        out[place] = sum(value / size for value in values) / count if size else 0.0
    return out[None]


def close(one: Tensor | None, other: Array) -> bool:
    assert one is not None
    assert one.shape == other.shape
    return bool(numpy.abs(one.numpy() - other).max() < 1e-14)


def pooled_of(features: list[ImageFeatures]) -> list[Tensor]:
    return [one.pooled for one in features if one.pooled is not None]


def spec_of(name: str) -> AdapterSpec:
    return read_spec(canonical(as_published(load_table(name)), name), name)


def encoded_by(pooled: int | None, width: int, count: int = 2) -> ImageFeatures:
    features = part(count, 1, pooled, width)
    return replace(features, source=name_encoder(pooled, width))


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), WEIGHTS], ids=str)
@pytest.mark.parametrize("method", Combine)
def test_each_method_follows_its_formula(method: Combine, weights: tuple[float, ...]) -> None:
    joined = combine(parts(), weights, method)
    hidden = [one.penultimate for one in parts()]
    assert close(joined.pooled, expected(method, weighted(pooled_of(parts()), weights)))
    assert close(joined.penultimate, expected(method, weighted(hidden, weights)))
    assert joined.count == (sum(COUNTS) if method is Combine.CONCAT else 1)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("method", Combine)
def test_the_references_of_a_single_part_are_combined_too(method: Combine, count: int) -> None:
    one = part(count)
    joined = combine([one], [0.5], method)
    assert close(joined.penultimate, expected(method, weighted([one.penultimate], (0.5,))))


def test_the_methods_differ_from_each_other() -> None:
    mixed = [combine(parts(), WEIGHTS, method).penultimate for method in MIXES]
    for i, one in enumerate(mixed):
        assert all((one - other).norm() > 0.1 * one.norm() for other in mixed[:i])


@pytest.mark.parametrize("method", MIXES)
def test_a_mix_has_the_negative_of_the_first_reference(method: Combine) -> None:
    first, *others = parts()
    own = replace(
        first,
        negative_pooled=rows(2, 6, seed=90),
        negative_penultimate=rows(2, 3, 8, seed=91),
    )
    joined = combine([own, *others], WEIGHTS, method)
    assert own.negative_pooled is not None and joined.negative_pooled is not None
    assert torch.equal(joined.negative_pooled, own.negative_pooled[:1])
    assert torch.equal(joined.negative_penultimate, own.negative_penultimate[:1])


def test_concat_keeps_the_negative_of_each_reference_and_does_not_weigh_it() -> None:
    first, second, third = parts()
    third = replace(third, negative_penultimate=rows(3, 3, 8, seed=92))
    joined = combine([first, second, third], WEIGHTS, Combine.CONCAT)
    assert joined.negative_pooled is not None
    one, two = first.negative_penultimate, second.negative_penultimate
    assert torch.equal(
        joined.negative_penultimate, torch.cat([one, one, two, third.negative_penultimate])
    )
    assert joined.negative_pooled.shape == (sum(COUNTS), 6)
    assert torch.equal(joined.negative_pooled[1], joined.negative_pooled[0])


def test_norm_average_of_a_value_that_is_zero_everywhere_is_zero() -> None:
    one = part(2)
    one.penultimate[:, 0, 0] = 0
    joined = combine([one], [1.0], Combine.NORM_AVERAGE)
    assert joined.penultimate[0, 0, 0] == 0
    assert bool(torch.isfinite(joined.penultimate).all())


def test_combining_leaves_its_parts_alone() -> None:
    before, after = parts(), parts()
    for method in Combine:
        combine(after, WEIGHTS, method)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.penultimate, other.penultimate)
        assert torch.equal(one.negative_penultimate, other.negative_penultimate)


def test_combining_combined_references_keeps_their_order() -> None:
    first, second, third = parts()
    left = combine([first, second], [1.0, 1.0], Combine.CONCAT)
    joined = combine([left, third], [1.0, 1.0], Combine.CONCAT)
    straight = combine([first, second, third], [1.0] * 3, Combine.CONCAT)
    assert torch.equal(joined.penultimate, straight.penultimate)
    assert torch.equal(joined.negative_penultimate, straight.negative_penultimate)


@pytest.mark.parametrize("method", Combine)
def test_an_encoder_without_pooled_features_can_be_combined(method: Combine) -> None:
    joined = combine([part(2, 1, pooled=None), part(1, 2, pooled=None)], [1.0, 1.0], method)
    assert joined.pooled is None and joined.negative_pooled is None
    assert joined.penultimate.shape[1:] == (3, 8)


@pytest.mark.parametrize(
    "stranger",
    [
        part(1, pooled=5),
        part(1, pooled=None),
        part(1, width=9),
        part(1, sequence=4),
    ],
    ids=["pooled width", "no pooled", "width", "sequence"],
)
@pytest.mark.parametrize("method", Combine)
def test_embeds_of_two_encoders_are_not_mixed(stranger: ImageFeatures, method: Combine) -> None:
    other = replace(stranger, source="ViT-bigG")
    with pytest.raises(WrongEncoder) as refused:
        combine([part(1), part(2, 2), other], [1.0] * 3, method)
    assert "ViT-H" in refused.value.found and "ViT-bigG" in refused.value.found


def test_nothing_cannot_be_combined() -> None:
    with pytest.raises(BadInput, match="no embeds"):
        combine([], [], Combine.ADD)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0, 1.0]], ids=len)
def test_a_weight_is_needed_for_each_part(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="shorter|longer"):
        combine([part(1), part(1, 2)], weights, Combine.ADD)


@pytest.mark.parametrize(
    ("file", "feature"),
    [
        ("ip-adapter_sd15", Feature.POOLED),
        ("ip-adapter-plus_sd15", Feature.PENULTIMATE),
        ("ip-adapter-full-face_sd15", Feature.PENULTIMATE),
        ("ip-adapter_sdxl_vit-h", Feature.POOLED),
    ],
)
def test_an_adapter_gets_the_rows_it_was_trained_on(file: str, feature: Feature) -> None:
    features = encoded_by(1024, 1280)
    chosen = select(features, spec_of(file), file, HINT)
    pair = features.pair(feature)
    assert pair is not None
    assert chosen.shape[:2] == (2, 2)
    assert torch.equal(chosen[0], pair[0])
    assert torch.equal(chosen[1], pair[1])
    assert torch.equal(chosen[1, 0], chosen[1, 1])


def test_each_reference_may_have_its_own_negative() -> None:
    own = replace(encoded_by(1024, 1280), negative_penultimate=rows(2, 3, 1280, seed=93))
    chosen = select(own, spec_of("ip-adapter-plus_sd15"), "a", HINT)
    assert torch.equal(chosen[1], own.negative_penultimate)


@pytest.mark.parametrize(
    ("file", "widths", "found", "needed"),
    [
        ("ip-adapter_sd15", (1280, 1664), "ViT-bigG", "ViT-H"),
        ("ip-adapter_sd15", (768, 1024), "ViT-L", "ViT-H"),
        ("ip-adapter_sd15", (None, 1280), "ViT-H with no pooled", "ViT-H with 1024"),
        ("ip-adapter_sd15_vit-G", (1024, 1280), "ViT-H", "ViT-bigG"),
        ("ip-adapter-plus_sd15", (1280, 1664), "ViT-bigG", "ViT-H"),
        ("ip-adapter-plus_sdxl_vit-h", (None, 1152), "SigLIP", "ViT-H"),
        ("ip-adapter-full-face_sd15", (7, 77), "7 and 77 wide", "ViT-H"),
    ],
)
def test_features_of_another_encoder_are_refused_by_name(
    file: str, widths: tuple[int | None, int], found: str, needed: str
) -> None:
    with pytest.raises(WrongEncoder) as refused:
        select(encoded_by(*widths), spec_of(file), file, HINT)
    assert found in refused.value.found
    assert file in refused.value.needed and needed in refused.value.needed
    assert str(refused.value).endswith(f". {HINT}.")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("pooled", "penultimate", "name"),
    [
        (1024, 1280, "ViT-H"),
        (1280, 1664, "ViT-bigG"),
        (768, 1024, "ViT-L"),
        (None, 1280, "ViT-H"),
        (None, 1152, "SigLIP"),
    ],
)
def test_known_encoders_are_called_by_their_names(
    pooled: int | None, penultimate: int, name: str
) -> None:
    assert name_encoder(pooled, penultimate) == name


@pytest.mark.parametrize("widths", [(1024, 1664), (1024, 1408), (None, 64), (768, 1280)], ids=str)
def test_unknown_encoders_are_described_by_their_widths(widths: tuple[int | None, int]) -> None:
    name = name_encoder(*widths)
    assert all(str(width) in name for width in widths if width is not None)
    assert not name.startswith("ViT")


def test_an_unknown_encoder_without_pooled_features_is_described_in_words() -> None:
    assert "None" not in name_encoder(None, 64)


def region(features: ImageFeatures, value: float, scale: float = 1.0) -> Region:
    return Region(features, torch.full((1, 4, 4), value), scale)


def test_merged_regions_keep_their_masks_and_scales() -> None:
    first, second, third = parts()
    left = Regions((region(first, 0.2, 0.7),))
    right = Regions((region(second, 0.4), Region(third, None, 0.3)))
    joined = combine([left, right], [2.0, -0.5], Combine.CONCAT)
    assert isinstance(joined, Regions)
    assert [one.scale for one in joined.regions] == [0.7, 1.0, 0.3]
    masks = [one.mask for one in joined.regions]
    assert masks[0] is left.regions[0].mask and masks[1] is right.regions[0].mask
    assert masks[2] is None
    for one, own, weight in zip(
        joined.regions, (first, second, third), (2.0, -0.5, -0.5), strict=True
    ):
        assert isinstance(one.features, ImageFeatures)
        assert one.features.penultimate is not None and own.penultimate is not None
        assert torch.equal(one.features.penultimate, own.penultimate * weight)


def test_what_comes_with_regions_is_heard_together_in_the_whole_picture() -> None:
    first, second, third = parts()
    joined = combine([first, Regions((region(second, 1.0),)), third], WEIGHTS, Combine.CONCAT)
    together = combine([first, third], [WEIGHTS[0], WEIGHTS[2]], Combine.CONCAT)
    assert isinstance(joined, Regions) and isinstance(together, ImageFeatures)
    whole, masked = joined.regions
    assert whole.mask is None and masked.mask is not None
    assert isinstance(whole.features, ImageFeatures)
    assert whole.features.penultimate is not None and together.penultimate is not None
    assert torch.equal(whole.features.penultimate, together.penultimate)


def test_an_input_that_is_connected_twice_beside_regions_is_heard_twice_not_four_times() -> None:
    first, second, _ = parts()
    joined = combine(
        [first, Regions((region(second, 1.0),)), first], [1.0, 0.5, 0.25], Combine.CONCAT
    )
    assert isinstance(joined, Regions)
    assert [one.features.count for one in joined.regions] == [2 * first.count, second.count]


@pytest.mark.parametrize("method", MIXES)
def test_regions_cannot_become_one_reference(method: Combine) -> None:
    with pytest.raises(BadInput, match=f"the method is {method.value}"):
        combine([part(1), Regions((region(part(1, 2), 1.0),))], [1.0, 1.0], method)


def pooled_only(count: int, seed: int) -> ImageFeatures:
    return replace(part(count, seed), penultimate=None, negative_penultimate=None)


@pytest.mark.parametrize("method", Combine)
def test_features_that_only_some_hold_are_left_out(method: Combine) -> None:
    """A file written by diffusers holds one sort of feature."""
    joined = combine([part(2, 1), pooled_only(1, 2)], [1.0, 0.5], method)
    both = combine([part(2, 1), part(1, 2)], [1.0, 0.5], method)
    assert isinstance(joined, ImageFeatures) and isinstance(both, ImageFeatures)
    assert joined.penultimate is None and joined.negative_penultimate is None
    assert joined.pooled is not None and both.pooled is not None
    assert torch.equal(joined.pooled, both.pooled) and joined.count == both.count


def test_nothing_in_common_is_refused() -> None:
    hidden_only = replace(part(1, 2), pooled=None, negative_pooled=None)
    with pytest.raises(WrongEncoder, match="with and without"):
        combine([pooled_only(1, 1), hidden_only], [1.0, 1.0], Combine.CONCAT)


def test_the_encoder_is_kept_and_two_of_one_shape_are_named() -> None:
    one, other = replace(part(1), encoder="a1"), replace(part(1, 2), encoder="b2")
    same = combine([one, replace(other, encoder="a1")], [1.0, 1.0], Combine.AVERAGE)
    mixed = combine([one, other], [1.0, 1.0], Combine.AVERAGE)
    assert isinstance(same, ImageFeatures) and isinstance(mixed, ImageFeatures)
    assert (same.encoder, mixed.encoder) == ("a1", "")
    assert warning([one, replace(other, encoder="a1"), part(1)]) == ""
    assert "2 encoders" in warning([one, other])


def test_the_report_names_encoder_references_tokens_masks_and_size() -> None:
    one = encoded_by(1024, 1280, count=3)
    lines = describe(one).split("\n")
    assert lines[0] == "3 references of ViT-H"
    assert lines[1] == "works with: standard, light, plus, plus face, full face, composition"
    assert details(one) == "pooled 1024, penultimate 3 x 1280"
    numbers = sum(rows.numel() for rows in (one.pooled, one.penultimate) if rows is not None)
    numbers += 1024 + 3 * 1280  # one row for the negative prompt
    assert lines[-1] == f"{numbers * 8 / 2**20:.1f} MB"
    regions = describe(Regions((Region(one, torch.zeros(1, 6, 8), 0.5), Region(one, None, 1.0))))
    assert "1: 3 references of ViT-H, scale 0.5, mask 8 x 6" in regions
    assert "2: 3 references of ViT-H, scale 1, whole picture" in regions
    tiled = replace(one, picture_of=(0, 1, 0))
    assert describe(tiled).startswith("3 references of ViT-H, from 2 pictures\n")
    face = Region(FaceFeatures(rows(1, 512, seed=1), None, "buffalo_l"), None, 1.0)
    mixed = describe(Regions((Region(one, None, 1.0), face)))
    assert "plus face" in mixed and "FaceID portrait" in mixed


def test_the_report_says_which_face_adapters_can_hear_a_face() -> None:
    face = FaceFeatures(rows(1, 512, seed=1), None, "buffalo_l")
    assert "1 face of buffalo_l" in describe(face) and "plus" not in describe(face)
    assert "FaceID plus" in describe(replace(face, crops=part(1)))


FLUX, SD3 = Family.FLUX, Family.SD3


def transformer(family: Family, kind: Kind, feature: Feature, width: int) -> AdapterSpec:
    return AdapterSpec(family, kind, 4, feature, width, 0, (0,), (64,), "SigLIP", False)


XLABS = transformer(FLUX, Kind.XLABS, Feature.POOLED, 6)
INSTANTX = transformer(FLUX, Kind.INSTANTX, Feature.POOLED, 6)
LARGE = transformer(SD3, Kind.INSTANTX, Feature.PENULTIMATE, 8)
BLACK = rows(1, 6, seed=77)


def encoded(
    count: int = 2, given: bool = False, black: bool = True, seed: int = 0
) -> ImageFeatures:
    """As Encode Image gives them: zero is what no negative image gives."""
    made = replace(part(count, seed), black_pooled=BLACK if black else None, negative_given=given)
    assert made.negative_pooled is not None
    return made if given else replace(made, negative_pooled=torch.zeros_like(made.negative_pooled))


def read(features: ImageFeatures, spec: AdapterSpec) -> Tensor:
    (pair,) = inputs(features, spec, "a", HINT)
    return pair


def test_without_a_negative_image_each_adapter_hears_its_own_nothing() -> None:
    features = encoded()
    assert torch.equal(read(features, XLABS)[1], BLACK.expand(2, 6))
    assert torch.equal(read(features, INSTANTX)[1], features.pooled)
    assert not read(features, LARGE)[1].any() and bool(features.negative_penultimate.any())
    for spec in (XLABS, INSTANTX):
        assert torch.equal(read(features, spec)[0], features.pooled)
    assert torch.equal(read(features, LARGE)[0], features.penultimate)


def test_a_negative_image_is_heard_by_all() -> None:
    features = encoded(given=True, black=False)
    assert features.negative_pooled is not None and features.negative_penultimate is not None
    for spec in (XLABS, INSTANTX):
        assert torch.equal(read(features, spec)[1], features.negative_pooled.expand(2, 6))
    assert torch.equal(read(features, LARGE)[1], features.negative_penultimate.expand(2, 3, 8))


def test_adapters_for_unets_hear_what_they_always_heard() -> None:
    features = encoded()
    standard = replace(XLABS, family=Family.SD1, kind=Kind.STANDARD)
    plus = replace(LARGE, family=Family.SD1, kind=Kind.PLUS)
    assert not read(features, standard)[1].any()
    assert torch.equal(read(features, plus)[1], features.negative_penultimate.expand(2, 3, 8))


def test_without_a_black_picture_xlabs_asks_for_it() -> None:
    with pytest.raises(WrongEncoder, match="ViT-H were made without a black picture.*Encode"):
        read(encoded(black=False), XLABS)
    assert read(encoded(black=False), INSTANTX).shape == (2, 2, 6)


def test_merged_references_keep_their_own_negatives() -> None:
    one, other = encoded(2, given=True, black=False, seed=1), encoded(1, seed=2)
    joined = combine([other, one], [1.0, 0.5], Combine.CONCAT)
    assert joined.negative_given and joined.black_pooled is BLACK
    assert one.negative_pooled is not None and one.negative_penultimate is not None
    heard = read(joined, XLABS)[1]
    assert torch.equal(heard[:1], BLACK)
    assert torch.equal(heard[1:], one.negative_pooled.expand(2, 6))
    heard = read(joined, INSTANTX)[1]
    assert torch.equal(heard[:1], other.pooled)
    assert torch.equal(heard[1:], one.negative_pooled.expand(2, 6))
    heard = read(joined, LARGE)[1]
    assert not heard[:1].any()
    assert torch.equal(heard[1:], one.negative_penultimate.expand(2, 3, 8))


@pytest.mark.parametrize("method", MIXES)
def test_a_mix_hears_the_negative_of_the_first(method: Combine) -> None:
    one, other = encoded(1, given=True, seed=1), encoded(2, seed=2)
    assert combine([one, other], [1.0, 1.0], method).negative_given
    joined = combine([other, one], [1.0, 1.0], method)
    assert not joined.negative_given and joined.black_pooled is BLACK
    assert torch.equal(read(joined, XLABS)[1], BLACK)


def test_regions_keep_both() -> None:
    side = Regions((region(encoded(given=True, seed=1), 0.2),))
    joined = combine([side, encoded(seed=2)], [1.0, 1.0], Combine.CONCAT)
    assert isinstance(joined, Regions)
    given = [one.features for one in joined.regions]
    assert all(isinstance(one, ImageFeatures) and one.black_pooled is BLACK for one in given)
    assert [one.negative_given for one in given if isinstance(one, ImageFeatures)] == [True, False]


def test_the_report_says_which_adapters_of_transformers_read_them() -> None:
    lines = describe(replace(encoded(), source="ViT-L"))
    assert "works with: XLabs for Flux, plus" in lines
    lines = describe(replace(encoded(black=False), source="SigLIP"))
    assert "works with: InstantX for Flux, InstantX for SD3.5" in lines
