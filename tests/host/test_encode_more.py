"""Tiles, other input sizes and long batches, from pixels to features; nothing is encoded twice."""

from __future__ import annotations

import copy
import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.clip_model
import comfy.clip_vision
import comfy.model_management
import comfy.utils
import numpy
import pytest
import torch
from kit.models import tiny
from kit.models.encoders import (
    CONFIG,
    EFFECT,
    POOLED,
    SIZE,
    TOKENS,
    TOLERANCE,
    WIDTH,
    Pair,
    batch,
    comfy_encoder,
    make_pair,
    make_siglip,
    negative_of,
    picture,
    pooled_of,
    reference_of,
)
from pack.ip_models.errors import BadInput
from pack.ip_models.pictures.fit import Fit, fit_images
from pack.ip_models.pictures.tiles import TileMerge, Tiling
from pack.ip_models.references.features import ImageFeatures
from pack.nodes.encode import EncodeImage
from pack.nodes.host.encoder import row_cache, size
from pack.nodes.host.encoder.encode import Unconditional, encode
from pack.nodes.host.encoder.identity import fingerprint
from pack.nodes.host.encoder.row_cache import RowCache
from PIL import Image
from torch import Tensor
from torchvision.models.vision_transformer import interpolate_embeddings
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

DOUBLE, GRID = 2 * SIZE, SIZE // 14


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    row_cache.forget()
    yield
    row_cache.forget()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each run of the network got."""
    counts: list[int] = []
    original = comfy.clip_model.CLIPVision.forward

    def counted(self: Any, pixel_values: Tensor, *args: Any, **kwargs: Any) -> Any:
        counts.append(len(pixel_values))
        return original(self, pixel_values, *args, **kwargs)

    monkeypatch.setattr(comfy.clip_model.CLIPVision, "forward", counted)
    return counts


def cache_of(encoder: Any) -> RowCache:
    """What is kept of an encoder, at all of its sizes."""
    known = row_cache.known_rows(encoder, SIZE)
    assert known is not None
    return known.cache


def equal(one: ImageFeatures, other: ImageFeatures) -> bool:
    names = ("pooled", "penultimate", "negative_pooled", "negative_penultimate")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def of_tiles(pair: Pair, source: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Transformers on parts of a square resized by hand, pooled to the grid by torch."""
    opened, side = Image.fromarray(source.numpy()), len(source) / count
    corners = [(side * x, side * y) for y in range(count) for x in range(count)]
    tiles = [
        opened.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=(x, y, x + side, y + side))
        for x, y in corners
    ]
    parts = [pair.of_picture(torch.from_numpy(numpy.array(tile))) for tile in tiles]
    pooled, hidden = (torch.cat(rows) for rows in zip(*parts, strict=True))
    patches = hidden[:, 1:].reshape(count, count, GRID, GRID, WIDTH)
    laid = patches.permute(4, 0, 2, 1, 3).reshape(1, WIDTH, count * GRID, count * GRID)
    shrunk = torch.nn.functional.adaptive_avg_pool2d(laid.double(), GRID).flatten(2).movedim(1, 2)
    return pooled.mean(0, True), torch.cat([hidden[None, :, 0].double().mean(1, True), shrunk], 1)


def test_one_tile_is_the_encoder_as_it_is(pair: Pair) -> None:
    sources = [picture(60, 80, seed) for seed in range(3)]
    features = encode(pair.ours, reference_of(*sources))
    squares = fit_images(batch(*sources), SIZE, Fit.CROP_CENTRE, (0.0, 0.0, 0.0))
    out = pair.ours.encode_image(squares, crop=False)
    assert torch.equal(features.penultimate, out["penultimate_hidden_states"].float())
    assert torch.equal(pooled_of(features), out["image_embeds"].float())
    for other in (Tiling(1, 0.5, TileMerge.BLEND, 0.1), Tiling(1, 0.0, TileMerge.CONCAT, 0.9)):
        row_cache.forget()
        assert equal(encode(pair.ours, reference_of(*sources, tiling=other)), features)


@pytest.mark.parametrize("count", [2, 3])
def test_concat_is_whole_pictures_then_tiles(pair: Pair, count: int) -> None:
    sources = [picture(count * SIZE, count * SIZE, seed) for seed in (1, 2)]
    features = encode(pair.ours, reference_of(*sources, tiling=Tiling(count)))
    assert features.count == 4 and features.penultimate.shape == (4, TOKENS, WIDTH)
    for i, source in enumerate(sources):
        whole, tiles = pair.of_picture(source), of_tiles(pair, source, count)
        for row, (pooled, hidden) in ((i, whole), (2 + i, tiles)):
            assert tiny.relative(pooled_of(features)[row], pooled[0]) < TOLERANCE
            assert tiny.relative(features.penultimate[row], hidden[0]) < TOLERANCE
        assert tiny.relative(whole[1], tiles[1]) > EFFECT
        assert tiny.relative(whole[0], tiles[0]) > EFFECT


def test_blend_is_one_reference_in_between(pair: Pair) -> None:
    source = picture(DOUBLE, DOUBLE)
    both = encode(pair.ours, reference_of(source, tiling=Tiling(2, 0.25)))
    for ratio in (0.0, 0.3, 1.0):
        tiling = Tiling(2, 0.25, TileMerge.BLEND, ratio)
        one = encode(pair.ours, reference_of(source, tiling=tiling))
        assert one.count == 1
        for ours, rows in ((one.penultimate, both.penultimate), (one.pooled, both.pooled)):
            assert ours is not None and rows is not None
            expected = rows[:1] * ratio + rows[1:] * (1 - ratio)
            assert tiny.relative(ours, expected) < 1e-6


@pytest.mark.parametrize("fit", [Fit.PAD, Fit.SQUASH, Fit.CROP_LEFT])
def test_tiles_are_cut_from_the_fitted_square_at_its_own_resolution(pair: Pair, fit: Fit) -> None:
    source = picture(DOUBLE, DOUBLE + 40)
    side = DOUBLE if fit is Fit.CROP_LEFT else DOUBLE + 40
    square = fit_images(batch(source), side, fit, tuple(pair.ours.image_mean))[0]
    features = encode(pair.ours, reference_of(source, fit=fit, tiling=Tiling(2)))
    _, expected = of_tiles(pair, (square * 255).round().to(torch.uint8), 2)
    assert tiny.relative(features.penultimate[1:], expected) < TOLERANCE
    small = fit_images(batch(source), DOUBLE - 20, fit, tuple(pair.ours.image_mean))[0]
    _, other = of_tiles(pair, (small * 255).round().to(torch.uint8), 2)
    assert tiny.relative(features.penultimate[1:], other) > EFFECT


@pytest.mark.parametrize("fit", [Fit.PAD, Fit.SQUASH])
@pytest.mark.parametrize("count", [1, 2])
def test_long_pictures_do_not_take_gigabytes(pair: Pair, fit: Fit, count: int) -> None:
    source = reference_of(picture(8, 8000), fit=fit, tiling=Tiling(count))
    tracemalloc.start()
    try:
        features = encode(pair.ours, source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert features.count == count and peak < 3 * 4096**2 * 2.5  # torch's own is not counted


def test_a_mask_hides_its_part_from_the_tiles_too(pair: Pair) -> None:
    source = picture(DOUBLE, DOUBLE)
    mask = torch.ones(DOUBLE, DOUBLE)
    mask[:, SIZE:] = 0
    masked = encode(pair.ours, reference_of(source, mask=mask, tiling=Tiling(2)))
    mean = torch.tensor([round(255 * one) for one in pair.ours.image_mean], dtype=torch.uint8)
    covered = source.clone()
    covered[:, SIZE:] = mean
    _, expected = of_tiles(pair, covered, 2)
    assert tiny.relative(masked.penultimate[1:], expected) < TOLERANCE
    assert tiny.relative(expected, of_tiles(pair, source, 2)[1]) > EFFECT


def test_negative_images_have_no_tiles_and_go_with_both_references(pair: Pair) -> None:
    sources, others = ([picture(60, 60, seed + i) for i in range(2)] for seed in (1, 5))
    source = reference_of(*sources, negative=batch(*others), tiling=Tiling(2))
    features, plain = encode(pair.ours, source), encode(pair.ours, reference_of(*others))
    assert torch.equal(features.negative_penultimate, plain.penultimate.repeat(2, 1, 1))
    assert torch.equal(negative_of(features), pooled_of(plain).repeat(2, 1))
    blend = replace(source, tiling=Tiling(2, 0, TileMerge.BLEND))
    assert torch.equal(encode(pair.ours, blend).negative_penultimate, plain.penultimate)
    single = replace(source, negative=batch(others[0]))
    assert len(encode(pair.ours, single).negative_penultimate) == 1


def test_an_encoder_without_class_token_has_tiles(tmp_path: Path) -> None:
    siglip = make_siglip(tmp_path).ours
    source = picture(DOUBLE, DOUBLE)
    features = encode(siglip, reference_of(source, tiling=Tiling(2)))
    assert features.pooled is None and features.penultimate.shape == (2, GRID**2, WIDTH)
    corner = encode(siglip, reference_of(source[:SIZE, :SIZE].contiguous())).penultimate
    # The first quarter of the picture is the first tile, shrunk to half the grid.
    small = corner.reshape(1, GRID // 2, 2, GRID // 2, 2, WIDTH).mean((2, 4))
    merged = features.penultimate[1:].reshape(1, GRID, GRID, WIDTH)
    assert tiny.relative(merged[:, : GRID // 2, : GRID // 2], small) < TOLERANCE


def larger(pair: Pair, size: int) -> Any:
    """Transformers' model of that size, its position table grown by torchvision."""
    table = "vision_model.embeddings.position_embedding.weight"
    state = {k: v for k, v in pair.theirs.state_dict().items() if "position_ids" not in k}
    grown = interpolate_embeddings(size, 14, {"encoder.pos_embedding": state[table][None]})
    state[table] = grown["encoder.pos_embedding"][0]
    config = CLIPVisionConfig(projection_dim=POOLED, **{**CONFIG, "image_size": size})
    theirs = CLIPVisionModelWithProjection(config).eval()
    theirs.load_state_dict(state, strict=False)
    assert torch.equal(theirs.state_dict()[table], state[table])
    return theirs


@pytest.mark.parametrize("size", [DOUBLE, 84, 42])
def test_another_input_size_is_transformers_with_torchvisions_table(pair: Pair, size: int) -> None:
    source = picture(150, 130)
    features = encode(pair.ours, reference_of(source, size=size))
    theirs = larger(pair, size)
    square = {"height": size, "width": size}
    processor = type(pair.processor)(size={"shortest_edge": size}, crop_size=square)
    pooled, hidden = Pair(theirs, None, processor).of_picture(source)
    assert features.penultimate.shape == (1, 1 + (size // 14) ** 2, WIDTH)
    assert tiny.relative(features.penultimate, hidden) < TOLERANCE
    assert tiny.relative(pooled_of(features), pooled) < TOLERANCE
    empty = theirs(torch.zeros(1, 3, size, size), output_hidden_states=True).hidden_states[-2]
    assert tiny.relative(features.negative_penultimate, empty) < TOLERANCE
    assert tiny.relative(pooled_of(encode(pair.ours, reference_of(source))), pooled) > EFFECT


def test_another_interpolation_would_be_noticed(pair: Pair) -> None:
    table = pair.theirs.state_dict()["vision_model.embeddings.position_embedding.weight"]
    ours = size.interpolate(table, GRID, 2 * GRID)
    picture_of = table[1:].T.reshape(1, WIDTH, GRID, GRID)
    unaligned = torch.nn.functional.interpolate(picture_of, scale_factor=2.0, mode="bicubic")
    assert tiny.relative(unaligned.reshape(WIDTH, -1).T, ours[1:]) > EFFECT


def test_the_encoder_is_as_it_was_at_its_own_size_before_between_and_after(tmp_path: Path) -> None:
    encoder, image = make_pair(tmp_path).ours, batch(picture(SIZE, SIZE))
    before = encoder.encode_image(image)["penultimate_hidden_states"]
    state = {key: value.clone() for key, value in encoder.get_sd().items()}
    attributes, patched = dict(vars(encoder)), dict(encoder.patcher.object_patches)
    table = encoder.model.vision_model.embeddings.position_embedding
    loaded = comfy.model_management.current_loaded_models
    for side in (DOUBLE, 84, DOUBLE):
        encode(encoder, reference_of(picture(60, 80), size=side))
        # At once: a checkpoint would be saved like this.
        assert encoder.model.vision_model.embeddings.position_embedding is table
        now = encoder.get_sd()
        assert now.keys() == state.keys()
        assert all(torch.equal(now[key], value) for key, value in state.items())
        gc.collect()
        assert sum(one.model is encoder.patcher for one in loaded) == 1
        assert sum(one.model.model is encoder.model for one in loaded) == 1
        assert torch.equal(encoder.encode_image(image)["penultimate_hidden_states"], before)
    assert vars(encoder) == attributes and encoder.patcher.object_patches == patched
    assert not encoder.model._forward_hooks and not encoder.model._forward_pre_hooks


def test_the_host_may_put_weights_back_whenever_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does with small ones where it streams them to the GPU."""
    encoder, source = make_pair(tmp_path).ours, reference_of(picture(60, 80), size=DOUBLE)
    expected = encode(encoder, source)
    row_cache.forget()
    name = "vision_model.embeddings.position_embedding.weight"
    own, original = encoder.get_sd()[name].clone(), comfy.model_management.load_model_gpu
    loads: list[int] = []

    def loading(model: Any) -> None:
        original(model)
        comfy.utils.set_attr_param(model.model, name, own.clone())
        loads.append(1)

    monkeypatch.setattr(comfy.model_management, "load_model_gpu", loading)
    assert equal(encode(encoder, source), expected) and loads
    assert torch.equal(encoder.get_sd()[name], own)


def test_a_stopped_run_at_another_size_leaves_the_encoder_as_it_was(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pair.ours.model.vision_model.embeddings.position_embedding
    original, counts = comfy.clip_model.CLIPVision.forward, list[int]()

    def stopped(self: Any, *args: Any, **kwargs: Any) -> Any:
        counts.append(1)
        comfy.model_management.interrupt_current_processing(True)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(comfy.clip_model.CLIPVision, "forward", stopped)
    many = [picture(8, 8, seed) for seed in range(6)]
    for options in ({"size": DOUBLE}, {"tiling": Tiling(4)}):
        counts.clear()
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            encode(pair.ours, reference_of(*many, batch_size=2, **options))
        assert len(counts) == 1
        assert pair.ours.model.vision_model.embeddings.position_embedding is table


def test_a_run_that_fails_at_another_size_leaves_the_encoder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_pair(tmp_path).ours
    table = encoder.model.vision_model.embeddings.position_embedding

    def failing(self: Any, *_: Any, **__: Any) -> None:
        assert self.embeddings.position_embedding is not table
        raise torch.OutOfMemoryError("as on a small GPU")

    monkeypatch.setattr(comfy.clip_model.CLIPVision, "forward", failing)
    with pytest.raises(torch.OutOfMemoryError):
        encode(encoder, reference_of(picture(8, 8), size=DOUBLE))
    assert encoder.model.vision_model.embeddings.position_embedding is table
    assert not encoder.model._forward_hooks and not encoder.model._forward_pre_hooks


def test_a_siglip_encoder_runs_at_another_size(tmp_path: Path) -> None:
    siglip = make_siglip(tmp_path)
    features = encode(siglip.ours, reference_of(picture(90, 60), size=DOUBLE))
    assert features.penultimate.shape == (1, (2 * GRID) ** 2, WIDTH)
    table = siglip.theirs.state_dict()
    key = next(key for key in table if key.endswith("position_embedding.weight"))
    first = torch.cat([torch.zeros(1, WIDTH), table[key]])[None]  # torchvision wants a class token
    grown = interpolate_embeddings(DOUBLE, 14, {"encoder.pos_embedding": first})
    ours = size.interpolate(table[key], GRID, 2 * GRID)
    assert tiny.relative(ours, grown["encoder.pos_embedding"][0, 1:]) < 1e-6


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (100, "a multiple of 14 is needed, e.g. 98 or 112. Set encoder_size to 98"),
        (7, "a multiple of 14 is needed, e.g. 14. Set encoder_size to 14"),
        (1024, "e.g. 1022. Set encoder_size to 1022"),
        (2048, "a number from 0 to 1024 is needed"),
        (-14, "a number from 0 to 1024 is needed"),
        (112.5, "a whole number is needed"),
        (None, "encoder_size is nothing"),
        ("112", 'encoder_size is "112"'),
    ],
)
def test_sizes_the_encoder_cannot_have_are_refused(
    pair: Pair, runs: list[int], size: Any, words: str
) -> None:
    with pytest.raises(BadInput) as refused:
        encode(pair.ours, reference_of(picture(8, 8), size=size))
    assert words in str(refused.value) and runs == []


def test_an_encoder_without_such_a_table_is_refused(tmp_path: Path) -> None:
    encoder = make_pair(tmp_path).ours
    embeddings = encoder.model.vision_model.embeddings
    embeddings.position_embedding = torch.nn.Embedding(5, WIDTH)  # not of a square grid of patches
    with pytest.raises(BadInput, match="no position table that could be enlarged; .* to 0"):
        encode(encoder, reference_of(picture(8, 8), size=DOUBLE))


def test_the_length_of_a_run_can_be_chosen(pair: Pair, runs: list[int]) -> None:
    pictures = [picture(20, 20, seed) for seed in range(7)]
    usual = encode(pair.ours, reference_of(*pictures))
    runs.clear()
    for batch_size, expected in ((3, [3, 3, 1]), (1, [1] * 7), (256, [7]), (0, [7])):
        row_cache.forget()
        runs.clear()
        features = encode(pair.ours, reference_of(*pictures, batch_size=batch_size))
        assert runs == [*expected, 1]  # and no picture
        assert tiny.relative(features.penultimate, usual.penultimate) < 1e-6
    row_cache.forget()
    runs.clear()
    encode(pair.ours, reference_of(pictures[0], batch_size=5, tiling=Tiling(3)))
    assert runs == [1, 5, 4, 1]
    for wrong in (-1, 257, 1.5, None, "8"):
        with pytest.raises(BadInput, match="batch_size is|a whole number"):
            encode(pair.ours, reference_of(pictures[0], batch_size=wrong))


def test_the_same_pictures_are_not_encoded_again(pair: Pair, runs: list[int]) -> None:
    pictures = [picture(60, 80, seed) for seed in range(11)]
    source = reference_of(*pictures)
    first = encode(pair.ours, source)
    runs.clear()
    assert equal(encode(pair.ours, source), first) and runs == []
    assert equal(encode(pair.ours, replace(source, images=source.images.clone())), first)
    backwards = encode(pair.ours, replace(source, images=source.images.flip(0)))
    assert torch.equal(backwards.penultimate, first.penultimate.flip(0)) and runs == []
    pictures[4] = picture(60, 80, 99)
    changed = encode(pair.ours, reference_of(*pictures))
    assert runs == [1]
    same = [i for i in range(11) if i != 4]
    assert torch.equal(changed.penultimate[same], first.penultimate[same])
    _, hidden = pair.of_picture(pictures[4])
    assert tiny.relative(changed.penultimate[4], hidden[0]) < TOLERANCE
    assert tiny.relative(changed.penultimate[4], first.penultimate[4]) > EFFECT


def test_rows_are_those_of_no_memory_at_all(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    source = reference_of(*(picture(60, 80, seed) for seed in range(9)), tiling=Tiling(2))
    remembered = encode(pair.ours, source), encode(pair.ours, source)
    monkeypatch.setitem(vars(pair.ours), "encode_image", pair.ours.encode_image)
    assert row_cache.known_rows(pair.ours, SIZE) is None
    plain = encode(pair.ours, source)
    assert all(equal(one, plain) for one in remembered)


def test_other_pixels_fits_masks_sizes_and_encoders_are_encoded(
    pair: Pair, tmp_path: Path, runs: list[int]
) -> None:
    base = reference_of(picture(60, 80))
    encode(pair.ours, base)
    nudged = base.images.clone()
    nudged[0, 30, 40, 0] += 3 / 255
    softer = make_pair(tmp_path).ours
    softer.model.visual_projection.weight[0, 0] += 1
    single = make_pair(tmp_path).ours
    single.image_std = [0.5] * 3
    for encoder, source in (
        (pair.ours, replace(base, images=nudged)),
        (pair.ours, replace(base, fit=Fit.SQUASH)),
        (pair.ours, replace(base, mask=torch.full((1, 4, 4), 0.5))),
        (pair.ours, replace(base, size=DOUBLE)),
        (softer, base),
        (single, base),
    ):
        runs.clear()
        features = encode(encoder, source)
        assert runs[:1] == [1]
        assert tiny.relative(pooled_of(features), pooled_of(encode(pair.ours, base))) > 0


@pytest.mark.parametrize("setting", ["image_mean", "image_std"])
def test_the_same_network_with_other_colours_does_not_share_rows(
    pair: Pair, runs: list[int], setting: str
) -> None:
    """As where another pack, or a copy of the CLIP_VISION, has colours of its own."""
    source = reference_of(picture(60, 60))
    other = copy.copy(pair.ours)
    setattr(other, setting, [0.3, 0.4, 0.5])
    assert other.model is pair.ours.model
    plain, runs[:] = encode(pair.ours, source), []
    given = encode(other, source)
    assert runs == [1, 1]
    assert tiny.relative(pooled_of(given), pooled_of(plain)) > EFFECT
    row_cache.forget()
    assert equal(encode(other, source), given)
    runs.clear()
    assert equal(encode(other, source), given) and runs == []


def test_precisions_do_not_share_rows(tmp_path: Path) -> None:
    encoder = make_pair(tmp_path).ours
    half = row_cache.known_rows(encoder, SIZE)
    assert half == row_cache.known_rows(encoder, SIZE) is not None
    encoder.model.float()
    single = row_cache.known_rows(encoder, SIZE)
    assert single is not None and single != half


def unread(encoder: Any) -> tuple[Tensor, int]:
    """A weight, and which of its values the fingerprint does not read."""
    weight = encoder.model.visual_projection.weight
    for place in range(weight.numel()):
        other = copy.deepcopy(encoder.model)
        other.visual_projection.weight.view(-1)[place] += 1
        if fingerprint(SimpleNamespace(model=other)) == fingerprint(encoder):
            return weight, place
    raise AssertionError("every value is read")


def test_weights_that_differ_anywhere_do_not_share_rows(tmp_path: Path, runs: list[int]) -> None:
    source = reference_of(picture(60, 80))
    one, other = make_pair(tmp_path).ours, make_pair(tmp_path).ours
    weight, place = unread(other)
    weight.view(-1)[place] += 1
    assert fingerprint(one) == fingerprint(other)
    first, runs[:] = encode(one, source), []
    assert tiny.relative(pooled_of(encode(other, source)), pooled_of(first)) > EFFECT
    assert runs == [1, 1]
    weight.view(-1)[place] -= 1  # in place, after it was seen
    assert tiny.relative(pooled_of(encode(other, source)), pooled_of(first)) < TOLERANCE
    assert runs == [1, 1, 1, 1] and len(cache_of(one)) == len(cache_of(other)) == 2


def test_the_same_weights_configured_otherwise_do_not_share_rows(
    tmp_path: Path, runs: list[int]
) -> None:
    source, pair = reference_of(picture(60, 80)), make_pair(tmp_path)
    first, state = encode(pair.ours, source), pair.theirs.state_dict()
    for change in (
        {"hidden_act": "gelu"},
        {"num_attention_heads": 4},
    ):
        config = {**CONFIG, "projection_dim": POOLED, "model_type": "clip_vision_model", **change}
        other = comfy_encoder(tmp_path, config, state)
        runs.clear()
        features = encode(other, source)
        assert runs == [1, 1] and fingerprint(other) == fingerprint(pair.ours)
        assert tiny.relative(pooled_of(features), pooled_of(first)) > 1e-3


def test_no_picture_is_as_fresh_as_the_pictures(tmp_path: Path, runs: list[int]) -> None:
    encoder, source = make_pair(tmp_path).ours, reference_of(picture(60, 80))
    before = encode(encoder, source).negative_penultimate
    key = "vision_model.encoder.layers.0.mlp.fc1.weight"
    weight = encoder.model.state_dict()[key]
    encoder.patcher.add_patches({key: (torch.ones_like(weight),)}, 0.5)
    after = encode(encoder, source).negative_penultimate
    assert runs == [1] * 4 and tiny.relative(after, before) > EFFECT
    plain = make_pair(tmp_path).ours
    plain.model.get_parameter(key).add_(0.5)
    assert tiny.relative(after, encode(plain, source).negative_penultimate) < TOLERANCE
    after.zero_()
    runs.clear()
    assert encode(plain, source).negative_penultimate.any() and runs == []
    encode(plain, source).negative_penultimate.zero_()
    assert encode(plain, source).negative_penultimate.any() and runs == []


def test_an_encoder_that_others_changed_is_not_remembered(tmp_path: Path, runs: list[int]) -> None:
    source = reference_of(picture(60, 80), negative=batch(picture(9, 9)))

    def wrapped(encoder: Any) -> None:
        encoder.encode_image = encoder.encode_image

    def patched(encoder: Any) -> None:
        weight = encoder.model.visual_projection.weight
        key = {"visual_projection.weight": (torch.ones_like(weight),)}
        encoder.patcher.add_patches(key, 0.5)

    def replaced(encoder: Any) -> None:
        layer = encoder.model.vision_model.post_layernorm
        encoder.patcher.add_object_patch("vision_model.post_layernorm", layer)

    def rewritten(encoder: Any) -> None:
        encoder.model.forward = encoder.model.forward

    for change in (wrapped, patched, replaced, rewritten):
        encoder = make_pair(tmp_path).ours
        encode(encoder, source)
        change(encoder)
        runs.clear()
        encode(encoder, source)
        assert runs == [1, 1], change.__name__


def test_tiles_merged_otherwise_are_not_encoded_again(pair: Pair, runs: list[int]) -> None:
    source = reference_of(picture(60, 60), tiling=Tiling(3, 0.25))
    encode(pair.ours, source)
    runs.clear()
    for tiling in (Tiling(3, 0.25, TileMerge.BLEND, 0.2), Tiling(3, 0.25), Tiling()):
        encode(pair.ours, replace(source, tiling=tiling))
    assert runs == []
    encode(pair.ours, replace(source, tiling=Tiling(3, 0.3)))
    encode(pair.ours, replace(source, tiling=Tiling(2, 0.25)))
    assert runs == [8, 1, 4]


def test_equal_pictures_of_a_batch_are_encoded_once(pair: Pair, runs: list[int]) -> None:
    still, other = picture(60, 80), picture(60, 80, 1)
    encode(pair.ours, reference_of(picture(9, 9)))  # and zero pixels
    runs.clear()
    features = encode(pair.ours, reference_of(still, other, still, still))
    assert runs == [2]
    for row, source in ((0, still), (1, other), (3, still)):
        _, hidden = pair.of_picture(source)
        assert tiny.relative(features.penultimate[row], hidden[0]) < TOLERANCE


def test_writing_into_features_does_not_change_the_next_ones(pair: Pair) -> None:
    source = reference_of(picture(60, 80), negative=batch(picture(9, 9)), tiling=Tiling(2))
    first = encode(pair.ours, source)
    kept = first.penultimate.clone()
    for rows in (first.penultimate, pooled_of(first), first.negative_penultimate):
        rows.zero_()
    again = encode(pair.ours, source)
    assert torch.equal(again.penultimate, kept)
    assert pooled_of(again).any() and again.negative_penultimate.any()


def rows(value: float, length: int = 100) -> tuple[Tensor, Tensor]:
    return torch.full((1, length), float(value)), torch.full((1, 3, length), float(value))


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = RowCache(3 * 1600)
    for number in range(3):
        cache.put((number,), rows(number))
    assert cache.bytes == 3 * 1600 and cache.get((0,)) is not None
    cache.put((3,), rows(3))
    assert [cache.get((number,)) is not None for number in range(4)] == [True, False, True, True]
    cache.put((3,), rows(3))  # again: counted once
    assert cache.bytes == 3 * 1600 and len(cache) == 3
    cache.put((4,), rows(4, 1000))
    assert cache.get((4,)) is None and len(cache) == 3  # larger than all
    cache.put((4,), rows(4, 150))
    assert cache.bytes <= 3 * 1600 and cache.get((4,)) is not None


def test_a_kept_row_keeps_nothing_larger_alive() -> None:
    cache = RowCache(2**20)
    pooled, hidden = torch.rand(50, 10), torch.rand(50, 4, 10)
    cache.put((1,), (pooled[:1], hidden[:1]))
    kept = cache.get((1,))
    assert kept is not None and torch.equal(kept[1], hidden[:1])
    assert kept[1].untyped_storage().nbytes() == kept[1].nbytes == 160


def test_a_batch_that_does_not_fit_pushes_nothing_out(
    pair: Pair, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = (POOLED + TOKENS * WIDTH) * 4
    monkeypatch.setattr(row_cache, "MOST_BYTES", 5 * row)
    encode(pair.ours, reference_of(picture(20, 20)))
    cache = cache_of(pair.ours)
    encode(pair.ours, reference_of(*(picture(20, 20, seed) for seed in range(1, 7))))
    assert len(cache) == 2
    runs.clear()
    encode(pair.ours, reference_of(picture(20, 20)))
    assert runs == [] and cache.bytes == row + TOKENS * WIDTH * 4  # and no picture


@pytest.mark.parametrize("share", [0, 20])
def test_nothing_is_kept_while_ram_is_short(
    pair: Pair, runs: list[int], monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    """Less than a gigabyte in a small machine, than a twentieth in a large one."""
    source = reference_of(picture(60, 80))
    first = encode(pair.ours, source)
    assert len(cache_of(pair.ours)) == 2
    total = 2**40 if share else 2**33
    free = total // share - 1 if share else 2**30 - 1
    with monkeypatch.context() as short:
        short.setattr(comfy.model_management, "get_total_memory", lambda _device: total)
        short.setattr(comfy.model_management, "get_free_memory", lambda _device: free)
        runs.clear()
        again = encode(pair.ours, source)
        assert runs == [1, 1] and row_cache.known_rows(pair.ours, SIZE) is None
        assert equal(again, first)
    assert len(cache_of(pair.ours)) == 0
    encode(pair.ours, source)
    assert len(cache_of(pair.ours)) == 2


def test_rows_die_with_their_encoder(pair: Pair, tmp_path: Path) -> None:
    encoder = make_pair(tmp_path).ours
    encoder.model.visual_projection.weight[0, 0] += 1
    encode(pair.ours, reference_of(picture(60, 80)))
    encode(encoder, reference_of(picture(60, 80)))
    rows = weakref.ref(cache_of(encoder))
    kept = cache_of(pair.ours)
    del encoder
    comfy.model_management.cleanup_models()
    gc.collect()
    assert rows() is None
    assert len(kept) == 2 and kept.bytes == (POOLED + 2 * TOKENS * WIDTH) * 4


def test_the_node_passes_its_numbers_on_and_says_what_it_did(pair: Pair) -> None:
    names = [one.id for one in EncodeImage.define_schema().inputs]
    assert names[-7:] == [
        "tiles",
        "tile_overlap",
        "tile_merge",
        "tile_ratio",
        "batch_size",
        "encoder_size",
        "preview",
    ]
    source = picture(DOUBLE, DOUBLE)
    numbers = {"tile_overlap": 0.25, "tile_merge": "blend", "tile_ratio": 0.3, "batch_size": 2}
    out = EncodeImage.execute(pair.ours, batch(source), tiles=2, encoder_size=84, **numbers)
    tiling = Tiling(2, 0.25, TileMerge.BLEND, 0.3)
    assert equal(out.args[0], encode(pair.ours, reference_of(source, tiling=tiling, size=84)))
    text = out.ui["text"][0]
    assert "\n2 x 2 tiles, overlap 0.25, blend, 0.3 whole\nencoder input 84 x 84" in text
    plain = EncodeImage.execute(pair.ours, batch(source))
    assert "tiles" not in plain.ui["text"][0]
    assert equal(plain.args[0], encode(pair.ours, reference_of(source)))
    for wrong in ({"tile_merge": "mix"}, {"fit": None}, {"unconditional": 3}):
        with pytest.raises(BadInput, match="are known. Choose"):
            EncodeImage.execute(pair.ours, batch(source), **wrong)
    for wrong in ({"image": None}, {"image": "x"}, {"mask": 3}, {"negative_image": [1]}):
        with pytest.raises(BadInput, match=f"{next(iter(wrong))} is .* a link from"):
            EncodeImage.execute(**{"clip_vision": pair.ours, "image": batch(source), **wrong})


@pytest.mark.parametrize("unconditional", Unconditional)
def test_no_picture_is_known_for_each_size(pair: Pair, unconditional: Unconditional) -> None:
    source = reference_of(picture(60, 80), unconditional=unconditional)
    sizes = [
        encode(pair.ours, replace(source, size=size)).negative_penultimate.shape[1]
        for size in (0, 84, SIZE, DOUBLE, 84)
    ]
    assert sizes == [17, 37, 17, 65, 37]


@pytest.mark.parametrize(
    "shape", [(1, 30, 50, 3), (2, 50, 30, 3), (1, 31, 47, 4), (1, SIZE, SIZE, 3)]
)
def test_comfyuis_own_crop_is_what_the_host_makes_of_a_picture(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(3)) * 1.4 - 0.2
    plain = {"mean": [0.0] * 3, "std": [1.0] * 3}
    of_host = comfy.clip_model.clip_preprocess(images, size=SIZE, **plain).movedim(1, -1)
    ours = fit_images(images, SIZE, Fit.COMFYUI, (0.0, 0.0, 0.0))
    assert torch.equal(ours, of_host)
