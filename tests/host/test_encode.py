"""From pictures to features and tokens: transformers' and diffusers' numbers, from pixels on."""

from __future__ import annotations

import copy
import gc
import re
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.clip_vision
import comfy.model_management
import comfy.utils
import numpy
import pytest
import torch
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from kit.models import checkpoints, tiny
from kit.models.encoders import (
    EFFECT,
    POOLED,
    SIZE,
    TOKENS,
    TOLERANCE,
    WIDTH,
    Pair,
    batch,
    counted_encodings,
    make_pair,
    make_siglip,
    negative_of,
    picture,
    pooled_of,
    reference_of,
)
from pack.ip_models.errors import BadInput
from pack.ip_models.inputs import shown
from pack.ip_models.pictures.batches import CHUNK
from pack.ip_models.pictures.fit import Fit
from pack.ip_models.references.features import select
from pack.nodes.encode import EncodeImage
from pack.nodes.host.encoder import row_cache
from pack.nodes.host.encoder.encode import BLACK_WIDTH, Reference, Unconditional, encode
from pack.nodes.prepare import PrepareImage
from PIL import Image
from torch import Tensor


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call of the real `encode_image` got."""
    return counted_encodings(monkeypatch)


@pytest.mark.parametrize(
    "size", [(SIZE, SIZE), (480, 640), (641, 479), (57, 55), (3, 200), (20, 20), (1, 1)], ids=str
)
def test_features_from_pixels_are_those_of_transformers(pair: Pair, size: tuple[int, int]) -> None:
    source = picture(*size)
    features = encode(pair.ours, reference_of(source))
    pooled, hidden = pair.of_picture(source)
    assert hidden.shape == (1, TOKENS, WIDTH) and pooled.shape == (1, POOLED)
    assert features.penultimate.dtype is pooled_of(features).dtype is torch.float32
    assert tiny.relative(features.penultimate, hidden) < TOLERANCE
    assert tiny.relative(pooled_of(features), pooled) < TOLERANCE


def test_the_tolerance_would_notice_another_picture_another_crop_and_one_grey_level(
    pair: Pair,
) -> None:
    source = picture(90, 60)
    exact = encode(pair.ours, reference_of(source))
    brighter = source.clone()
    brighter[20:60] += 1
    for other in (
        reference_of(picture(90, 60, seed=1)),
        reference_of(source, fit=Fit.CROP_TOP),
        reference_of(source, fit=Fit.SQUASH),
        reference_of(brighter),
    ):
        features = encode(pair.ours, other)
        assert tiny.relative(features.penultimate, exact.penultimate) > 100 * TOLERANCE
        assert tiny.relative(pooled_of(features), pooled_of(exact)) > 100 * TOLERANCE


def test_no_picture_is_zero_pixels_and_a_pooled_zero(pair: Pair) -> None:
    features = encode(pair.ours, reference_of(picture(60, 80)))
    _, hidden = pair.reference(torch.zeros(1, 3, SIZE, SIZE))
    assert features.negative_penultimate.shape == (1, TOKENS, WIDTH)
    assert tiny.relative(features.negative_penultimate, hidden) < TOLERANCE
    assert negative_of(features).shape == (1, POOLED)
    assert not negative_of(features).any()


def test_a_black_image_is_black_before_normalisation(pair: Pair) -> None:
    source = reference_of(picture(60, 80), unconditional=Unconditional.BLACK_IMAGE)
    features = encode(pair.ours, source)
    _, hidden = pair.of_picture(torch.zeros(SIZE, SIZE, 3, dtype=torch.uint8))
    _, zero = pair.reference(torch.zeros(1, 3, SIZE, SIZE))
    assert tiny.relative(features.negative_penultimate, hidden) < TOLERANCE
    assert tiny.relative(hidden, zero) > EFFECT
    assert not negative_of(features).any()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """With a pooled feature as wide as ViT-L's."""
    return make_pair(tmp_path_factory.mktemp("large"), BLACK_WIDTH)


@pytest.mark.parametrize("unconditional", Unconditional)
def test_a_black_picture_of_vit_l_is_a_picture(large: Pair, unconditional: Unconditional) -> None:
    features = encode(
        large.ours, reference_of(picture(60, 80), picture(60, 80, 1), unconditional=unconditional)
    )
    black, _ = large.of_picture(torch.zeros(480, 640, 3, dtype=torch.uint8))
    zero, _ = large.reference(torch.zeros(1, 3, SIZE, SIZE))
    assert features.black_pooled is not None and features.black_pooled.shape == (1, BLACK_WIDTH)
    assert tiny.relative(features.black_pooled, black) < 1e-6
    assert tiny.relative(black, zero) > EFFECT
    assert not negative_of(features).any() and not features.negative_given


def test_the_black_picture_is_encoded_once(large: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    row_cache.forget()
    counts = counted_encodings(monkeypatch)
    first = encode(large.ours, reference_of(picture(60, 80)))
    assert counts == [1, 1, 1], "picture, zero pixels, black"
    again = encode(large.ours, reference_of(picture(60, 80, 1)))
    assert counts == [1, 1, 1, 1]
    assert first.black_pooled is not None and again.black_pooled is not None
    assert torch.equal(first.black_pooled, again.black_pooled)
    again.black_pooled.fill_(7)
    third = encode(large.ours, reference_of(picture(60, 80)))
    assert third.black_pooled is not None and torch.equal(first.black_pooled, third.black_pooled)
    row_cache.forget()
    counts.clear()
    black = Unconditional.BLACK_IMAGE
    same = encode(large.ours, reference_of(picture(60, 80), unconditional=black))
    assert counts == [1, 1], "the picture, and black for both"
    assert same.black_pooled is not None
    assert tiny.relative(same.black_pooled, first.black_pooled) < TOLERANCE


def test_what_needs_no_black_picture_has_none(
    pair: Pair, large: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_cache.forget()
    counts = counted_encodings(monkeypatch)
    assert encode(pair.ours, reference_of(picture(60, 80))).black_pooled is None
    assert counts == [1, 1]
    counts.clear()
    given = encode(large.ours, reference_of(picture(60, 80), negative=batch(picture(50, 70, 3))))
    assert given.black_pooled is None and given.negative_given
    assert counts == [1, 1]


@pytest.mark.parametrize("unconditional", Unconditional)
def test_a_negative_image_replaces_both_negatives(pair: Pair, unconditional: Unconditional) -> None:
    other = picture(50, 70, seed=3)
    source = reference_of(
        picture(60, 80), picture(60, 80, 1), negative=batch(other), unconditional=unconditional
    )
    features = encode(pair.ours, source)
    pooled, hidden = pair.of_picture(other)
    assert tiny.relative(features.negative_penultimate, hidden) < TOLERANCE
    assert tiny.relative(negative_of(features), pooled) < TOLERANCE
    assert features.count == 2


def test_each_reference_may_have_a_negative_image_of_its_own(pair: Pair) -> None:
    others = [picture(60, 60, seed) for seed in (3, 4)]
    source = reference_of(picture(60, 80), picture(60, 80, 1), negative=batch(*others))
    features = encode(pair.ours, source)
    for row, other in enumerate(others):
        pooled, hidden = pair.of_picture(other)
        assert tiny.relative(features.negative_penultimate[row], hidden[0]) < TOLERANCE
        assert tiny.relative(negative_of(features)[row], pooled[0]) < TOLERANCE


@pytest.mark.parametrize("count", [1, 17, 33])
def test_a_batch_of_any_length_is_its_pictures_one_by_one(
    pair: Pair, calls: list[int], count: int
) -> None:
    pictures = [picture(70, 60, seed) for seed in range(count)]
    features = encode(pair.ours, reference_of(*pictures))
    assert features.count == count and sum(calls) >= count and max(calls) <= CHUNK
    for row in {0, count // 2, count - 1}:
        pooled, hidden = pair.of_picture(pictures[row])
        assert tiny.relative(features.penultimate[row], hidden[0]) < TOLERANCE
        assert tiny.relative(pooled_of(features)[row], pooled[0]) < TOLERANCE
    distinct = {round(float(row.sum()), 4) for row in features.penultimate}
    assert len(distinct) == count


def test_the_empty_encoding_is_made_once_for_each_encoder(tmp_path: Path, calls: list[int]) -> None:
    one, other = make_pair(tmp_path).ours, make_pair(tmp_path).ours
    first = encode(one, reference_of(picture(60, 80)))
    assert calls == [1, 1]
    second = encode(one, reference_of(picture(60, 80, 1)))
    assert calls == [1, 1, 1]
    assert torch.equal(second.negative_penultimate, first.negative_penultimate)
    for seed in (2, 3):  # other pictures, because the same ones are not encoded again either
        black = reference_of(picture(60, 80, seed), unconditional=Unconditional.BLACK_IMAGE)
        encode(one, black)
    assert calls == [1] * 6
    encode(other, reference_of(picture(60, 80, 4)))
    assert calls == [1] * 8
    encode(one, reference_of(picture(60, 80, 5), negative=batch(picture(9, 9))))
    assert calls == [1] * 10


def test_the_empty_encoding_is_freed_with_its_encoder(tmp_path: Path) -> None:
    encoder = make_pair(tmp_path).ours
    features = encode(encoder, reference_of(picture(60, 80)))
    known = row_cache.known_rows(encoder, SIZE)
    assert known is not None and len(known.cache) == 2
    rows, alive = weakref.ref(known.cache), weakref.ref(encoder)
    del known
    del encoder
    comfy.model_management.cleanup_models()
    gc.collect()
    assert alive() is None
    assert rows() is None
    assert features.negative_penultimate.any()


def test_the_encoder_is_left_as_it_was(tmp_path: Path) -> None:
    encoder = make_pair(tmp_path).ours
    image = batch(picture(SIZE, SIZE))
    before, attributes = encoder.encode_image(image)["image_embeds"], dict(vars(encoder))
    kept = copy.deepcopy((encoder.image_mean, encoder.image_std, encoder.config))
    state = {key: value.clone() for key, value in encoder.get_sd().items()}
    for unconditional in Unconditional:
        encode(encoder, reference_of(picture(60, 80), unconditional=unconditional))
    assert vars(encoder) == attributes
    assert (encoder.image_mean, encoder.image_std, encoder.config) == kept
    assert all(torch.equal(encoder.get_sd()[key], value) for key, value in state.items())
    assert torch.equal(encoder.encode_image(image)["image_embeds"], before)


def test_the_pictures_are_left_as_they_were(pair: Pair) -> None:
    images = batch(picture(60, 80))
    before = images.clone()
    encode(pair.ours, Reference(images, Fit.PAD, mask=torch.zeros(60, 80), negative=images))
    assert torch.equal(images, before)


def test_a_white_mask_shows_everything_and_a_black_one_nothing(pair: Pair) -> None:
    source = picture(60, 80)
    whole = encode(pair.ours, reference_of(source))
    white = encode(pair.ours, reference_of(source, mask=torch.ones(1, 30, 40)))
    assert torch.equal(white.penultimate, whole.penultimate)
    black = encode(pair.ours, reference_of(source, mask=torch.zeros(60, 80)))
    mean = [round(255 * channel) for channel in pair.ours.image_mean]
    _, hidden = pair.of_picture(torch.tensor(mean, dtype=torch.uint8).expand(9, 9, 3).contiguous())
    assert tiny.relative(black.penultimate, hidden) < TOLERANCE
    assert tiny.relative(black.penultimate, whole.penultimate) > EFFECT


@pytest.mark.parametrize(
    ("black", "words"),
    [
        ([], None),
        ([0], "the mask hides the whole of image 1; white is the part to look at"),
        ([0, 2], "the mask hides the whole of images 1, 3; white is the part to look at"),
        ([0, 1, 2], "the mask hides the whole of every image; white is the part to look at"),
    ],
)
def test_a_mask_that_hides_whole_pictures_is_named(
    pair: Pair, black: list[int], words: str | None
) -> None:
    """As LoadImage gives with an opaque picture: 64 x 64, black."""
    images, masks = batch(*(picture(60, 80, seed) for seed in range(3))), torch.zeros(3, 64, 64)
    for i in set(range(3)) - set(black):
        masks[i, 5, 5] = 0.5
    for node in (
        EncodeImage.execute(pair.ours, images, mask=masks),
        PrepareImage.execute(images, mask=masks),
    ):
        ui = node.ui if isinstance(node.ui, dict) else node.ui.as_dict()
        lines = ui["text"][0].splitlines()
        assert [line for line in lines if "mask" in line] == ([words] if words else [])


def test_one_mask_for_all_pictures_is_named_too(pair: Pair) -> None:
    images = batch(*(picture(60, 80, seed) for seed in range(12)))
    plane = torch.zeros(64, 64)
    for mask, count, words in (
        (plane, 12, "of every image;"),
        (plane[None], 1, "of image 1;"),
        (torch.eye(12)[:, :, None], 12, None),
        (
            torch.eye(12)[11].expand(1, 1, 12).movedim(2, 0),
            12,
            "images 1, 2, 3, 4, 5, 6, 7, 8 and others;",
        ),
    ):
        lines = list(Reference(images[:count], Fit.PAD, mask=mask).lines)
        assert [words in line for line in lines] == ([True] if words else [])


def test_the_half_that_a_mask_hides_does_not_matter(pair: Pair) -> None:
    left, right = picture(56, 28), picture(56, 28, 1)
    mask = torch.zeros(56, 56)
    mask[:, :28] = 1
    one = encode(pair.ours, reference_of(torch.cat([left, right], dim=1), mask=mask))
    other = encode(pair.ours, reference_of(torch.cat([left, left], dim=1), mask=mask))
    assert torch.equal(one.penultimate, other.penultimate)


def test_a_negative_image_is_not_masked(pair: Pair) -> None:
    source = reference_of(
        picture(60, 80), negative=batch(picture(60, 80, 1)), mask=torch.zeros(60, 80)
    )
    _, hidden = pair.of_picture(picture(60, 80, 1))
    features = encode(pair.ours, source)
    assert tiny.relative(features.negative_penultimate, hidden) < TOLERANCE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": torch.zeros(0, 8, 8, 3)}, "image has shape 0 x 8 x 8 x 3"),
        ({"images": torch.zeros(8, 8, 3)}, "image has shape 8 x 8 x 3"),
        ({"images": torch.full((1, 8, 8, 3), float("nan"))}, "image 1 of 1"),
        ({"negative": torch.zeros(1, 0, 8, 3)}, "negative_image has shape 1 x 0 x 8 x 3"),
        ({"negative": torch.zeros(3, 8, 8, 3)}, "negative_image has 3 pictures for 2 references"),
        ({"mask": torch.zeros(3, 8, 8)}, "mask has shape 3 x 8 x 8"),
        ({"mask": torch.zeros(8)}, "mask has shape 8"),
    ],
)
def test_unusable_input_is_refused_before_anything_is_encoded(
    pair: Pair, calls: list[int], change: dict[str, Tensor], words: str
) -> None:
    good = Reference(torch.zeros(2, 8, 8, 3), Fit.CROP_CENTRE)
    with pytest.raises(BadInput) as refused:
        encode(pair.ours, replace(good, **change))
    assert words in str(refused.value)
    assert calls == []


@pytest.mark.parametrize("thing", [None, object(), "clip", torch.nn.Linear(1, 1)])
def test_what_is_no_encoder_is_refused_by_its_class(thing: Any) -> None:
    with pytest.raises(BadInput, match=re.escape(f"clip_vision is {shown(thing)};")):
        encode(thing, reference_of(picture(8, 8)))


def test_encoding_moves_the_progress_bar_to_its_end(pair: Pair) -> None:
    shown: list[tuple[int, int]] = []
    comfy.utils.set_progress_bar_global_hook(
        lambda value, total, *_, **__: shown.append((value, total))
    )
    try:
        many = batch(*(picture(8, 8, seed) for seed in range(CHUNK + 1)))
        encode(pair.ours, Reference(many, Fit.SQUASH, negative=many))
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    assert shown[0] == (1, 4) and shown[-1] == (4, 4)  # the host skips what comes too fast


def test_encoding_can_be_stopped_and_tried_again(pair: Pair, calls: list[int]) -> None:
    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        encode(pair.ours, reference_of(picture(8, 8)))
    assert calls == []
    assert encode(pair.ours, reference_of(picture(8, 8))).count == 1


def test_an_encoder_of_the_siglip_kind_has_a_penultimate_and_no_pooled_feature(
    tmp_path: Path,
) -> None:
    siglip = make_siglip(tmp_path)
    source = picture(90, 60)
    square = Image.fromarray(source.numpy()).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    pixels = (torch.from_numpy(numpy.array(square)).movedim(-1, 0).float() / 255 - 0.5) / 0.5
    features = encode(siglip.ours, reference_of(source, fit=Fit.SQUASH))
    both = torch.stack([pixels, torch.zeros_like(pixels)])
    hidden, empty = siglip.theirs(both, output_hidden_states=True).hidden_states[-2].split(1)
    assert features.pooled is None and features.negative_pooled is None
    assert features.penultimate.shape == (1, TOKENS - 1, WIDTH)
    assert tiny.relative(features.penultimate, hidden) < TOLERANCE
    assert tiny.relative(features.negative_penultimate, empty) < TOLERANCE


@pytest.mark.parametrize("kind", ["standard", "plus", "full face"])
def test_tokens_from_pixels_are_those_of_diffusers(pair: Pair, tmp_path: Path, kind: str) -> None:
    width = POOLED if kind == "standard" else WIDTH
    count = 4 if kind == "standard" else 16
    tensors = checkpoints.tiny_adapter(kind, [64, 128], 768, width, count, dim=128, heads=2)
    adapter = tiny.load_tensors(tmp_path, tensors, kind)
    projection = {
        key.removeprefix("image_proj."): value.clone()
        for key, value in tensors.items()
        if key.startswith("image_proj.")
    }
    theirs = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers(
        projection, low_cpu_mem_usage=False
    )
    sources = [picture(80, 60, seed) for seed in (1, 2)]
    features = encode(pair.ours, reference_of(*sources))
    rows = select(features, adapter.spec, adapter.name, "")
    pooled, hidden = (
        torch.cat(parts) for parts in zip(*map(pair.of_picture, sources), strict=True)
    )
    _, empty = pair.reference(torch.zeros(1, 3, SIZE, SIZE))
    positive, negative = (
        (pooled, torch.zeros_like(pooled))
        if kind == "standard"
        else (hidden, empty.repeat(2, 1, 1))
    )
    for side, expected in zip(rows, (positive, negative), strict=True):
        ours = adapter.patcher.model.tokens(side)
        assert ours.shape == (2, TOKENS if kind == "full face" else count, 768)
        assert tiny.relative(ours, theirs(expected)) < TOLERANCE
    assert tiny.relative(theirs(positive), theirs(negative)) > EFFECT
