"""The pack's own file of embeds: every bit comes back, and nothing it says is taken for granted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pack.ip_models.errors import BadInput, BrokenFile
from pack.ip_models.references.embeds_file import pack, unpack
from pack.ip_models.references.features import (
    FaceFeatures,
    Features,
    ImageFeatures,
    Region,
    Regions,
)
from pack.nodes.host.embeds.safe_name import safe_parts
from torch import Tensor

ODD = [-0.0, 0.0, 1e-45, 3.4e38, -1e-38, 1 / 3]


def rows(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape).to(dtype)


def picture(
    count: int = 2, negatives: int = 1, dtype: torch.dtype = torch.float32
) -> ImageFeatures:
    return ImageFeatures(
        pooled=rows(count, 6, dtype=dtype),
        penultimate=rows(count, 5, 8, dtype=dtype),
        negative_pooled=rows(negatives, 6, dtype=dtype),
        negative_penultimate=rows(negatives, 5, 8, dtype=dtype),
        source="ViT-H",
        encoder="00c0ffee",
    )


def face(count: int = 2, crops: bool = True) -> FaceFeatures:
    warnings = {"w600k_r50": "the recogniser is another one; Zoë's"}
    return FaceFeatures(
        rows(count, 512) * 20, picture(count) if crops else None, "bufalo", warnings
    )


def two_regions() -> Regions:
    shared = picture(1)
    mask = torch.rand(3, 10, 12)
    return Regions(
        (
            Region(shared, mask, 0.1 + 0.2),
            Region(shared, None, -1 / 3),
            Region(face(), mask[:1, ::2].transpose(1, 2), 1.0),
        )
    )


SAMPLES: dict[str, Callable[[], Features | Regions]] = {
    "picture": picture,
    "negative for each": lambda: picture(3, 3),
    "half": lambda: picture(dtype=torch.float16),
    "bfloat16": lambda: picture(dtype=torch.bfloat16),
    "double": lambda: picture(dtype=torch.float64),
    "pooled alone": lambda: ImageFeatures(rows(1, 6), None, rows(1, 6), None, "ViT-H"),
    "hidden alone": lambda: ImageFeatures(None, rows(1, 5, 8), None, rows(1, 5, 8), "SigLIP"),
    "without negative": lambda: ImageFeatures(None, rows(1, 5, 8), None, None, "ViT-H"),
    "face": lambda: face(crops=False),
    "face and crops": face,
    "regions": two_regions,
    "tiles": lambda: replace(picture(3, 3), picture_of=(0, 1, 0)),
    "black picture": lambda: replace(picture(), black_pooled=torch.tensor([ODD])),
    "black picture in half": lambda: replace(
        picture(dtype=torch.float16), black_pooled=rows(1, 6).half()
    ),
    "black picture in double": lambda: replace(
        picture(dtype=torch.float64), black_pooled=rows(1, 6).double() / 3
    ),
    "negative image": lambda: replace(picture(3, 3), negative_given=True),
    "face and crops, with all": lambda: replace(
        face(), crops=replace(picture(2), black_pooled=rows(1, 6), negative_given=True)
    ),
}


def tensors_of(thing: Any) -> list[Any]:
    """Everything inside, tensors and words, in order."""
    if isinstance(thing, Regions):
        return [x for one in thing.regions for x in tensors_of(one)]
    if isinstance(thing, Region):
        return [*tensors_of(thing.features), thing.mask, thing.scale]
    if isinstance(thing, FaceFeatures):
        return [thing.identity, *tensors_of(thing.crops), thing.source, dict(thing.warnings)]
    if thing is None:
        return [None]
    names = ("pooled", "penultimate", "negative_pooled", "negative_penultimate")
    rows = [getattr(thing, name) for name in names]
    said = thing.source, thing.encoder, thing.picture_of, thing.negative_given
    return [*rows, thing.black_pooled, *said]


def assert_same(one: Any, other: Any) -> None:
    """Equal to the last bit, of the same types and shapes."""
    left, right = tensors_of(one), tensors_of(other)
    assert type(one) is type(other) and len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        if isinstance(a, Tensor):
            assert a.dtype is b.dtype and a.shape == b.shape and torch.equal(a, b)
        else:
            assert a == b and type(a) is type(b)


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_bit_comes_back(sample: str) -> None:
    embeds = SAMPLES[sample]()
    assert_same(unpack(*pack(embeds), "a"), embeds)


def test_bits_that_comparing_numbers_would_not_see_come_back() -> None:
    odd = torch.tensor([[-0.0, 0.0, 1e-45, 3.4e38, -1e-38, 1.0]])
    back = unpack(*pack(ImageFeatures(odd, None, -odd, None, "a")), "a")
    assert isinstance(back, ImageFeatures) and back.pooled is not None
    assert torch.equal(back.pooled.view(torch.int32), odd.view(torch.int32))


def test_the_file_shares_no_memory_with_the_embeds() -> None:
    embeds = picture(1)
    assert embeds.pooled is not None
    wide = ImageFeatures(embeds.pooled.expand(4, 6), None, embeds.pooled, None, "a")
    tensors, _ = pack(wide)
    assert len({rows.untyped_storage().data_ptr() for rows in tensors.values()}) == 2
    assert all(rows.is_contiguous() for rows in tensors.values())
    assert tensors["0.pooled"].shape == (4, 6) and tensors["0.negative_pooled"].shape == (1, 6)


def test_masks_that_are_not_decimal_numbers_become_so() -> None:
    mask = torch.rand(1, 4, 4) > 0.5
    back = unpack(*pack(Regions((Region(picture(), mask, 1.0),))), "a")
    assert isinstance(back, Regions) and back.regions[0].mask is not None
    assert torch.equal(back.regions[0].mask, mask.float())


def test_whatever_is_written_can_be_read() -> None:
    odd = FaceFeatures(rows(1, 512), None, "a\nb\ud800" + "c" * 9999, {"w\0": "why\n"})
    region = Region(odd, rows(1, 4, 4).sigmoid().to(torch.float8_e4m3fn), -1e300)
    back = unpack(*pack(Regions((region,))), "a")
    assert isinstance(back, Regions) and back.regions[0].scale == -1e300
    assert back.source.startswith("a?b?ccc")


def test_earlier_readers_open_what_they_know() -> None:
    """They refuse tensors and shapes they do not know, and take no notice of other entries."""
    plain = picture(1)
    told = replace(plain, black_pooled=rows(1, 6), negative_given=True, picture_of=(0,))
    (before, old), (after, new) = pack(plain), pack(told)
    assert before.keys() == after.keys()
    (one,), (other,) = json.loads(old)["parts"], json.loads(new)["parts"]
    assert {key: other[key] for key in one} == one
    assert other.keys() - one.keys() == {"black_pooled", "negative_given", "picture_of"}


def test_a_file_without_the_newer_entries_lacks_what_they_say() -> None:
    back = unpack(*pack(picture()), "a")
    assert isinstance(back, ImageFeatures)
    assert back.black_pooled is None and back.negative_given is False


def test_one_content_has_one_text() -> None:
    embeds = two_regions()
    assert pack(embeds)[1] == pack(embeds)[1]


def test_the_text_says_what_is_inside() -> None:
    plan = json.loads(pack(two_regions())[1])
    first = plan["parts"][0]
    assert plan["version"] == 1 and plan.keys() == {"version", "regions", "parts"}
    assert first["source"] == "ViT-H" and first["encoder"] == "00c0ffee"
    assert first["references"] == 1 and first["mask"] == [3, 10, 12]
    assert first["shapes"]["penultimate"] == [1, 5, 8]


def test_a_file_that_names_the_version_of_its_pack_is_read() -> None:
    embeds = picture()
    tensors, text = pack(embeds)
    signed = json.dumps(json.loads(text) | {"pack": "ip-adapter-nodes 0.1.0"})
    assert_same(unpack(tensors, signed, "a"), embeds)


@pytest.mark.parametrize(
    ("embeds", "words"),
    [
        (FaceFeatures(torch.zeros(0, 512), None, "buffalo_l"), "hold nobody"),
        (Regions((Region(FaceFeatures(torch.zeros(0, 512), None, "a"), None, 1.0),)), "nobody"),
        (Regions((Region(picture(), None, math.nan),)), "scale nan"),
        (ImageFeatures(torch.full((1, 6), math.inf), None, None, None, "a"), "not finite"),
        (replace(picture(), black_pooled=torch.full((1, 6), math.nan)), "black_pooled.*not finite"),
    ],
)
def test_what_no_loader_would_take_is_not_written(embeds: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        pack(embeds)


Change = Callable[[dict[str, Any], dict[str, Tensor]], Any]


def part(plan: dict[str, Any]) -> dict[str, Any]:
    return plan["parts"][0]


def resized(key: str, *shape: int) -> Change:
    def change(plan: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        tensors[f"0.{key}"] = torch.zeros(shape)
        part(plan)["shapes"][key] = list(shape)

    return change


def wrong(key: str, value: Any) -> Change:
    return lambda plan, _: part(plan).update({key: value})


LIES: dict[str, tuple[Change, str]] = {
    "newer": (lambda plan, _: plan.update(version=2), "made by a newer version.*format 2"),
    "no version": (lambda plan, _: plan.pop("version"), "which version"),
    "version text": (lambda plan, _: plan.update(version="1"), "which version"),
    "version true": (lambda plan, _: plan.update(version=True), "which version"),
    "no parts": (lambda plan, _: plan.update(parts=[]), "what it holds"),
    "parts of text": (lambda plan, _: plan.update(parts="ab"), "what it holds"),
    "a part of text": (lambda plan, _: plan.update(parts=["ab"]), "a part of it"),
    "two parts": (lambda plan, _: plan["parts"].append(part(plan)), "2 parts"),
    "regions?": (lambda plan, _: plan.update(regions=None), "what it holds"),
    "sort": (wrong("sort", "sound"), 'unknown sort "sound"'),
    "sort list": (wrong("sort", []), "unknown sort"),
    "count": (wrong("references", 7), "says that it holds 7 references and holds 2"),
    "count text": (wrong("references", "2"), "says that it holds 2"),
    "no shapes": (wrong("shapes", None), "lacks shapes"),
    "empty shapes": (wrong("shapes", {}), "no references"),
    "source": (wrong("source", 3), "plain text"),
    "source of two lines": (wrong("source", "a\nb"), "plain text"),
    "long source": (wrong("source", "a" * 9999), "plain text"),
    "encoder": (wrong("encoder", None), "plain text"),
    "black text": (wrong("black_pooled", "black"), "what a black picture gives"),
    "black of another width": (wrong("black_pooled", [0.5] * 5), "what a black picture gives"),
    "black of words": (wrong("black_pooled", ["0.5"] * 6), "what a black picture gives"),
    "black true": (wrong("black_pooled", [True] * 6), "what a black picture gives"),
    "black nan": (wrong("black_pooled", [math.nan] * 6), "what a black picture gives"),
    "black too large": (wrong("black_pooled", [1e300] * 6), "what a black picture gives"),
    "shape": (lambda p, _: part(p)["shapes"].update(pooled=[2, 7]), r"says that 0.pooled is"),
    "shape text": (lambda p, _: part(p)["shapes"].update(pooled="2 x 6"), "says that 0.pooled"),
    "name": (lambda p, t: t.pop("0.pooled"), "names 0.pooled, which is not in it"),
    "more": (lambda p, t: t.update(x=torch.zeros(1)), "does not name"),
    "zero": (resized("pooled", 0, 6), "holds 0 and 2 references"),
    "rank 1": (resized("pooled", 2), "pooled features of shape"),
    "rank 0": (resized("pooled"), "pooled features of shape"),
    "rank 3": (resized("pooled", 2, 6, 1), "pooled features of shape"),
    "no width": (resized("penultimate", 2, 5, 0), "penultimate features of shape"),
    "counts": (resized("pooled", 3, 6), "holds 2 and 3 references"),
    "negatives": (resized("negative_pooled", 3, 6), "3 negative_pooled features for 2"),
    "negative width": (resized("negative_pooled", 1, 7), "negative_pooled features of shape"),
    "tiles text": (wrong("picture_of", "01"), "which references are tiles"),
    "tiles of one": (wrong("picture_of", [0]), "which references are tiles"),
    "tiles of none": (wrong("picture_of", [0, 2]), "which references are tiles"),
    "tiles below 0": (wrong("picture_of", [-1, 0]), "which references are tiles"),
    "tiles true": (wrong("picture_of", [False, True]), "which references are tiles"),
    "tiles in lists": (wrong("picture_of", [[0], [0]]), "which references are tiles"),
    "tiles none": (wrong("picture_of", None), "which references are tiles"),
    "nan": (lambda p, t: t["0.pooled"].fill_(math.nan), "not finite"),
    "whole numbers": (lambda p, t: t.update({"0.pooled": t["0.pooled"].long()}), "not finite"),
}


def reported(embeds: Features | Regions, change: Change) -> str:
    tensors, text = pack(embeds)
    plan = json.loads(text)
    change(plan, tensors)
    with pytest.raises(BrokenFile) as refused:
        unpack(tensors, json.dumps(plan), "ref.safetensors")
    said = str(refused.value)
    assert said.startswith("ref.safetensors ") and said.endswith(".") and "\n" not in said
    return said


@pytest.mark.parametrize("lie", LIES)
def test_a_description_that_lies_is_refused(lie: str) -> None:
    change, words = LIES[lie]
    assert re.search(words, reported(picture(), change))


def test_negative_rows_are_one_or_as_many_and_never_alone() -> None:
    assert "2 negative_pooled features for 3" in reported(
        picture(3), resized("negative_pooled", 2, 6)
    )

    def alone(plan: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        del tensors["0.pooled"], part(plan)["shapes"]["pooled"]

    assert "holds negative_pooled features of shape 1 x 6" in reported(picture(), alone)


def with_scale(value: Any) -> Change:
    return lambda plan, _: part(plan).update(scale=value)


@pytest.mark.parametrize("scale", [math.nan, math.inf, "1", None, True, 10**400])
def test_a_region_needs_a_scale(scale: Any) -> None:
    assert "scale" in reported(two_regions(), with_scale(scale))


def with_mask(mask: Tensor) -> Change:
    def change(plan: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        tensors["0.mask"] = mask
        part(plan)["mask"] = list(mask.shape)

    return change


@pytest.mark.parametrize(
    "mask", [torch.zeros(4), torch.zeros(0, 4, 4), torch.full((1, 4, 4), 255.0)], ids=str
)
def test_a_region_needs_a_mask_or_none(mask: Tensor) -> None:
    assert "has a mask nobody can use" in reported(two_regions(), with_mask(mask))


def test_faces_and_their_pictures_are_as_many() -> None:
    def change(plan: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        tensors["0.identity"] = torch.zeros(3, 512)
        part(plan)["shapes"]["identity"] = [3, 512]

    assert "3 faces and 2 pictures of them" in reported(face(), change)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"a"', "null", "[" * 100_000, "1" * 5000])
def test_a_description_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(BrokenFile, match="description"):
        unpack(pack(picture())[0], text, "a")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("reference", ("reference",)),
        ("people/anna", ("people", "anna")),
        ("people\\anna", ("people", "anna")),
        ("ref.safetensors", ("ref",)),
        ("ref.IPADPT", ("ref",)),
        ("Zoë 猫 🐈", ("Zoë 猫 🐈",)),
        ("v1.2/a.b", ("v1.2", "a.b")),
        ("console", ("console",)),
        ("a" * 200, ("a" * 200,)),
    ],
)
def test_names_that_are_taken(name: str, parts: tuple[str, ...]) -> None:
    assert safe_parts(name, (".safetensors", ".ipadpt")) == parts


BAD_NAMES = [
    None,
    3,
    [],
    "",
    "   ",
    "/etc/passwd",
    "\\\\server\\share",
    "C:\\a",
    "c:a",
    "..",
    "../a",
]
BAD_NAMES += ["a/../b", "a//b", "a/", "/", ".", "a/./b", ".hidden", "a/.git/b", "a.", "a ", "a /b"]
BAD_NAMES += ["a\0b", "a\nb", "a\x1b[0m", "a\u2028b", "\ud800", "a\x7f", "CON", "con.txt", "x/nul"]
BAD_NAMES += [
    "COM1",
    "lpt9.a.b",
    "com¹",
    "CONIN$",
    "a" * 201,
    "猫" * 100,
    ".safetensors",
    "a .ipadpt",
]
BAD_NAMES += ["anna\u202egnp", "an\u200bna", "\ufeffanna", "an\u00adna", ".ipadpt", "a/.ipadpt"]
BAD_NAMES += [f"a{letter}b" for letter in '<>:"|?*']


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_names_that_are_refused(name: Any) -> None:
    with pytest.raises(BadInput) as refused:
        safe_parts(name, (".safetensors", ".ipadpt"))
    said = str(refused.value)
    assert said.startswith("name is ") and "\n" not in said and len(said) < 300
    said.encode()


def test_a_name_that_is_only_an_ending_is_named() -> None:
    with pytest.raises(BadInput, match=r"^name is \.ipadpt alone; a name in front of it"):
        safe_parts(".ipadpt", (".safetensors", ".ipadpt"))
