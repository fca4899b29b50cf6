"""Old nodes make the pixels they always made: of recorded numbers, and of the original itself."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import comfy.clip_vision
import pytest
import torch
from kit.models import encoders
from kit.plus_original import original_module, original_nodes, schema, version_1
from pack.ip_models.errors import BadInput
from pack.nodes.plus.pictures import NODES
from pack.nodes.plus.pixels import enhance, noise, prepare, tiles
from pack.nodes.plus.pixels.mask import masked_pixels, masked_square
from plus.pixel_cases import ROUNDING, Case, cases, mask, picture, sample
from torch import Tensor

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "recorded" / "pixels.json").read_text("utf-8")
)
# Random numbers, filters and sums of another processor; a grey level is 4e-3.
FROM_ELSEWHERE = 1e-4
SIZE, POOLED = 224, 36


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A host's encoder with 4 x 4 patches of a picture of 224."""
    config = {**encoders.CONFIG, "image_size": SIZE, "patch_size": 56, "projection_dim": POOLED}
    return encoders.random_encoder(tmp_path_factory.mktemp("clip"), **config)


def test_every_case_is_recorded() -> None:
    assert [case.name for case in cases()] == list(RECORDED)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_as_recorded(case: Case) -> None:
    made, kept = sample(case.ours()), RECORDED[case.name]
    assert made["shape"] == kept["shape"]
    assert made["mean"] == pytest.approx(kept["mean"], abs=FROM_ELSEWHERE)
    assert made["values"] == pytest.approx(kept["values"], abs=FROM_ELSEWHERE)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_as_the_original(case: Case) -> None:
    theirs, ours = case.theirs(), case.ours()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    assert (ours.double() - theirs.double()).abs().max() <= case.tolerance


@pytest.mark.parametrize("name", NODES)
def test_schema_and_signature_as_the_original(name: str) -> None:
    nodes = original_nodes()
    theirs = nodes[name] if name in nodes else version_1().NODE_CLASS_MAPPINGS[name]
    ours = NODES[name]
    assert schema(ours) == schema(theirs)
    method = theirs.FUNCTION
    accepted = inspect.signature(getattr(ours, method)).parameters
    for word, parameter in inspect.signature(getattr(theirs, method)).parameters.items():
        assert accepted[word].default == parameter.default
    assert [*accepted][:-1] == [*inspect.signature(getattr(theirs, method)).parameters]


def rows(encoder: Any, images: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Hidden and pooled."""
    squares = comfy.clip_vision.clip_preprocess(images, size=SIZE).float()
    out = encoder.model(pixel_values=masked_pixels(squares, seen), intermediate_output=-2)
    return out[1], out[2]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("parts", "ratio"), [(2, 0.3), (3, 1.0), (2, 0.0)])
def test_enhanced_rows_as_the_original(encoder: Any, count: int, parts: int, ratio: float) -> None:
    image = picture(130, 100, count=count)
    theirs = original_module("utils").encode_image_masked(encoder, image, tiles=parts, ratio=ratio)
    hidden, pooled = rows(encoder, image)
    hidden_parts, pooled_parts = rows(encoder, enhance.split(image, parts))
    ours = enhance.mixed(hidden, enhance.merged_hidden(hidden_parts, parts), ratio)
    scale = theirs.penultimate_hidden_states.norm()
    assert (ours - theirs.penultimate_hidden_states).norm() <= ROUNDING * scale
    ours = enhance.mixed(pooled, enhance.merged_pooled(pooled_parts, parts), ratio)
    assert (ours - theirs.image_embeds).norm() <= ROUNDING * theirs.image_embeds.norm()


@pytest.mark.parametrize("count", [1, 3])
def test_masked_rows_as_the_original(encoder: Any, count: int) -> None:
    image, seen = picture(130, 100, count=2), mask(90, 120, count)
    node = original_nodes()["IPAdapterEncoder"]()
    theirs, _ = node.encode({"image_proj": {}}, image, 1.0, seen, encoder)
    _, ours = rows(encoder, image, seen)
    assert (ours - theirs).norm() <= ROUNDING * theirs.norm()
    assert (ours - rows(encoder, image)[1]).norm() > 0.01 * theirs.norm()


def test_one_picture_gets_a_second_row_and_several_are_blended() -> None:
    whole, parts = torch.full((2, 3), 4.0), torch.full((2, 3), 8.0)
    assert enhance.mixed(whole[:1], parts[:1], 0.5).tolist() == [[2.0] * 3, [8.0] * 3]
    assert enhance.mixed(whole, parts, 0.25).tolist() == [[7.0] * 3] * 2


@pytest.mark.parametrize("size", [(60, 50), (30, 140), (300, 100), (512, 512)])
def test_tiles_cover_the_picture(size: tuple[int, int]) -> None:
    parts = tiles.cut(picture(*size), None, 0.0)
    assert {tile.pictures.shape[1:3] for tile in parts} == {(256, 256)}
    assert all(tile.masks.sum().item() == pytest.approx(256 * 256) for tile in parts)
    assert (sum(tile.masks for tile in parts) > 0.999).all()


def test_the_global_generator_stays_as_it_is() -> None:
    before = torch.get_rng_state()
    image = picture(40, 50)
    for kind in noise.KINDS:
        first = noise.make_noise(kind, 0.5, 0, image)
        assert torch.equal(first, noise.make_noise(kind, 0.5, 0, image))
    noise.noisy_negative(image, 0.5)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("old", "now"),
    [("lanczos", "LANCZOS"), ("bicubic", "BICUBIC"), ("bilinear", "BILINEAR")]
    + [("nearest", "NEAREST"), ("nearest-exact", "NEAREST"), ("area", "BOX")],
)
def test_filters_by_their_names_of_2023(old: str, now: str) -> None:
    node, image = NODES["PrepImageForClipVision"](), picture(40, 61)
    (made,) = node.prep_image(image, old, "top", 0.1, add_weight=True)
    assert torch.equal(made, node.prep_image(image, now, "top", 0.1)[0])


def test_values_outside_wrap_around_as_they_do_there() -> None:
    image = picture(40, 61) * 2
    theirs = original_nodes()["PrepImageForClipVision"]().prep_image(image)[0]
    assert torch.equal(NODES["PrepImageForClipVision"]().prep_image(image)[0], theirs)


def test_the_border_of_faces_is_white() -> None:
    made = prepare.prepare_face(picture(40, 61), "center", 0.0, True)
    assert made.shape == (1, 640, 640, 3)
    assert (made[:, :30] == 1).all() and (made[:, :, -30:] == 1).all() and made.min() < 0.5


NAN = picture(9, 9) * torch.nan
LINE = torch.zeros(1, 1, 20_000, 3)
REFUSED: dict[str, Any] = {
    "no picture at all": lambda: prepare.prepare(None, "BOX", "top", 0.0),  # pyright: ignore
    "rank 3": lambda: prepare.prepare(picture(9, 9)[0], "BOX", "top", 0.0),
    "five channels": lambda: noise.make_noise("fade", 1.0, 0, picture(9, 9, 5)),
    "no pixels": lambda: tiles.cut(picture(9, 9)[:0], None, 0.0),
    "not finite": lambda: prepare.prepare_face(NAN, "top", 0.0, True),
    "bytes": lambda: prepare.prepare(picture(9, 9).byte(), "BOX", "top", 0.0),
    "unknown filter": lambda: prepare.prepare(picture(9, 9), "sinc", "top", 0.0),
    "unknown place": lambda: prepare.prepare(picture(9, 9), "BOX", "middle", 0.0),
    "pad for faces": lambda: prepare.prepare_face(picture(9, 9), "pad", 0.0, True),
    "too sharp": lambda: prepare.prepare(picture(9, 9), "BOX", "top", 1.5),
    "unknown noise": lambda: noise.make_noise("rain", 1.0, 0, None),
    "too strong": lambda: noise.make_noise("fade", 1.5, 0, None),
    "half a pixel": lambda: noise.make_noise("fade", 1.0, 0.5, None),  # pyright: ignore
    "a line, padded": lambda: prepare.prepare(LINE, "BOX", "pad", 0.0),
    "a line in tiles": lambda: tiles.cut(LINE, None, 0.0),
    "a line in masked tiles": lambda: tiles.masked_tiles(LINE, 1, 0.6),
    "no tiles": lambda: tiles.masked_tiles(picture(9, 9), 0, 0.6),
    "mask of four axes": lambda: tiles.cut(picture(9, 9), picture(9, 9), 0.0),
    "two masks": lambda: masked_pixels(torch.zeros(2, 3, 9, 9), mask(9, 9, 2)),
    "fewer pixels than tiles": lambda: enhance.split(picture(3, 9), 4),
    "too many tiles": lambda: enhance.split(picture(99, 99), 17),
    "a row that is no square": lambda: enhance.merged_pooled(torch.zeros(4, 1280), 2),
    "patches in no square": lambda: enhance.merged_hidden(torch.zeros(4, 8, 5), 2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_sentence_for_what_nothing_can_be_made_of(name: str) -> None:
    with pytest.raises(BadInput) as raised:
        REFUSED[name]()
    assert "\n" not in str(raised.value) and str(raised.value).endswith(".")


def test_a_mask_without_batch_is_one_mask() -> None:
    assert torch.equal(masked_square(mask(30, 20)[0], SIZE), masked_square(mask(30, 20), SIZE))


def test_bfloat16_pictures_are_prepared_as_floats() -> None:
    image = picture(9, 12).bfloat16()
    made = prepare.prepare(image, "BOX", "top", 0.3)
    assert torch.equal(made, prepare.prepare(image.float(), "BOX", "top", 0.3))
