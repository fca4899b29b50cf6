"""EMBEDS: the tensors, files and formulae of ComfyUI_IPAdapter_plus, without its NaN and code."""

from __future__ import annotations

import inspect
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from kit.models import checkpoints, encoders
from kit.models.tiny import Twins, adapter_tensors, twins
from kit.plus_original import original_nodes, schema
from pack.ip_models.errors import BadInput, BrokenFile, MissingModel
from pack.nodes.host.embeds import bare
from pack.nodes.plus import embeds
from pack.nodes.plus.objects.pipeline import Pipeline
from torch import Tensor

# Relative difference allowed to the original's numbers, in single precision.
SAME = 5e-6


@cache
def sd1() -> Twins:
    return twins("sd1")


def adapter(kind: str) -> dict[str, Any]:
    """Form B, as any pack makes it."""
    tensors = adapter_tensors(sd1(), kind)
    return {half: dict(part) for half, part in checkpoints.nest(tensors).items()}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small one that takes 224 pixels, as nodes of this pack and of the original need it."""
    folder = tmp_path_factory.mktemp("encoder")
    state, config = encoders.clip_state(224)
    return encoders.comfy_encoder(folder, config, state)


def pictures(count: int = 2, height: int = 60, width: int = 80, seed: int = 0) -> Tensor:
    rows = [encoders.picture(height, width, seed + i) for i in range(count)]
    return encoders.batch(*rows)


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm().clamp_min(1e-12))


# Encoding


@pytest.mark.parametrize(
    ("kind", "rank"),
    [
        ("standard", 2),
        ("plus", 3),
        ("full face", 3),
        ("FaceID", 2),
        ("FaceID plus", 3),
        ("FaceID portrait unnormed", 3),
    ],
)
def test_the_adapter_decides_about_the_rows(encoder: Any, kind: str, rank: int) -> None:
    positive, negative = embeds.Encoder().encode(adapter(kind), pictures(3), 1.0, None, encoder)
    assert positive.ndim == negative.ndim == rank and len(positive) == 3
    assert len(negative) == (3 if rank == 2 else 1)
    assert bool(negative.any()) is (rank == 3), "zeros for pooled rows, a black picture for hidden"
    assert positive.dtype == negative.dtype == torch.float32 and positive.device.type == "cpu"


def test_a_weight_counts_for_the_positive_rows_only(encoder: Any) -> None:
    held = adapter("plus")
    one = embeds.Encoder().encode(held, pictures(1), 1.0, clip_vision=encoder)
    other = embeds.Encoder().encode(held, pictures(1), -0.7, clip_vision=encoder)
    assert torch.equal(other[0], one[0] * -0.7) and torch.equal(other[1], one[1])
    one[0].mul_(0)
    again = embeds.Encoder().encode(held, pictures(1), 1.0, clip_vision=encoder)
    assert bool(again[0].any()), "writing into what came out changes nothing that is remembered"


def test_the_encoder_of_the_pipeline_is_used(encoder: Any) -> None:
    held = Pipeline(
        clipvision={"file": "c", "model": encoder},
        ipadapter={"file": "a", "model": adapter("plus")},
    )
    expected = embeds.Encoder().encode(adapter("plus"), pictures(1), 1.0, clip_vision=encoder)
    assert torch.equal(embeds.Encoder().encode(held, pictures(1), weight=1.0)[0], expected[0])


@pytest.mark.parametrize("kind", ["plus", "FaceID"])
def test_a_missing_encoder_is_said(kind: str) -> None:
    with pytest.raises((BadInput, MissingModel), match="Load CLIP Vision"):
        embeds.Encoder().encode(adapter(kind), pictures(1), 1.0)


CASES = {
    "plain": dict(size=(60, 80), count=2, weight=1.0, mask=None),
    "large": dict(size=(300, 260), count=1, weight=0.7, mask=None),
    "mask": dict(size=(224, 224), count=1, weight=1.0, mask=(100, 90)),
    "mask of the size": dict(size=(90, 120), count=2, weight=-1.0, mask=(224, 224)),
}


@pytest.mark.parametrize("kind", ["standard", "plus", "full face", "FaceID plus"])
@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_the_original_s(encoder: Any, case: str, kind: str) -> None:
    theirs = original_nodes()["IPAdapterEncoder"]()
    found, expected = (encoded(node, encoder, case, kind) for node in (embeds.Encoder(), theirs))
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and relative(one, other) <= SAME


# Made by the original's own class with the same pictures: mean, deviation and one value.
RECORDED: dict[tuple[str, str], tuple[float, float, float]] = {
    ("plain", "standard"): (0.1082485, 1.164764, 0.5454596),
    ("plain", "plus"): (0.04264584, 4.945181, -3.837178),
    ("large", "standard"): (0.0693053, 0.8200172, 0.3967661),
    ("large", "plus"): (0.03343064, 3.45067, -2.63394),
    ("mask", "standard"): (0.09727623, 1.166931, 0.5519954),
    ("mask", "plus"): (0.04237223, 4.960134, -3.704713),
    ("mask of the size", "standard"): (-0.1059875, 1.159991, -0.54811),
    ("mask of the size", "plus"): (-0.05185487, 4.959017, 3.797851),
}


@pytest.mark.parametrize(("case", "kind"), RECORDED)
def test_the_numbers_are_those_recorded(encoder: Any, case: str, kind: str) -> None:
    positive, _ = encoded(embeds.Encoder(), encoder, case, kind)
    assert summary(positive) == pytest.approx(RECORDED[case, kind], rel=1e-4, abs=1e-6)


def encoded(node: Any, encoder: Any, case: str, kind: str) -> tuple[Tensor, Tensor]:
    how: dict[str, Any] = CASES[case]
    mask = None
    if how["mask"]:
        height, width = how["mask"]
        mask = torch.linspace(0, 1, height * width).reshape(1, height, width)
    given = pictures(how["count"], *how["size"])
    return node.encode(adapter(kind), given, how["weight"], mask=mask, clip_vision=encoder)


def summary(rows: Tensor) -> tuple[float, float, float]:
    return float(rows.mean()), float(rows.std()), float(rows.flatten()[7])


def version_1(encoder: Any, **more: Any) -> Tensor:
    given = {"image_1": pictures(1), "ipadapter_plus": False, "noise": 0.0, "weight_1": 1.0}
    return embeds.EncoderV1().preprocess(encoder, **given | more)[0]


@pytest.mark.parametrize("plus", [False, True])
def test_the_encoder_of_version_1(encoder: Any, plus: bool) -> None:
    kind = "plus" if plus else "standard"
    one, two = pictures(1), pictures(2, seed=5)
    rows = version_1(
        encoder,
        image_1=one,
        image_2=two,
        ipadapter_plus=plus,
        weight_1=0.7,
        weight_2=0.4,
        weight_3=0.1,
    )
    expected, nothing = embeds.Encoder().encode(
        adapter(kind), torch.cat((one, two)), 1.0, clip_vision=encoder
    )
    weights = torch.tensor([0.49, 0.16, 0.16]).view(-1, *[1] * (expected.ndim - 1))
    assert rows.shape == (2, 3, *expected.shape[1:])
    assert relative(rows[0], expected * weights) <= SAME
    assert torch.equal(rows[1], nothing.expand_as(expected))


def test_pictures_of_other_sizes_take_that_of_the_first(encoder: Any) -> None:
    wide = pictures(1, 60, 80)
    tall = torch.zeros(1, 120, 80, 3)
    tall[:, 30:90] = wide  # the centre of the shape of the first; scaled by nothing
    rows = version_1(encoder, image_1=wide, image_2=tall)
    assert relative(rows[0, 1], rows[0, 0]) <= SAME
    other = version_1(encoder, image_1=wide, image_3=pictures(1, 30, 40))
    assert other.shape == rows.shape


def test_noise_makes_the_negative_rows(encoder: Any) -> None:
    plain, noisy = version_1(encoder), version_1(encoder, noise=0.5)
    assert torch.equal(plain[0], noisy[0]) and not plain[1].any()
    assert torch.equal(version_1(encoder, noise=0.5), noisy), "the same noise each time"
    assert relative(noisy[1], plain[0]) > 0.01 and bool(noisy[1].any())


# Mixing


def rows(count: int, seed: int = 0, width: int = 6) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


METHODS = ["concat", "add", "subtract", "average", "norm average", "max", "min"]


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_mixed(method: str) -> None:
    one, two, three = rows(2), rows(1, 1), rows(1, 2)
    (found,) = embeds.CombineEmbeds().batch(one, method, embed3=two, embed5=three)
    joined = torch.cat((one, two, three))
    expected = {
        "concat": joined,
        "add": joined.sum(0, keepdim=True),
        "subtract": joined[:1] - joined[1:].mean(0, keepdim=True),
        "average": joined.mean(0, keepdim=True),
        "norm average": (joined / joined.pow(2).sum(0).sqrt()).mean(0, keepdim=True),
        "max": joined.max(0, keepdim=True).values,
        "min": joined.min(0, keepdim=True).values,
    }[method]
    assert torch.allclose(found, expected, atol=1e-6) and found.shape == expected.shape


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(6,), (5, 6)])
def test_mixes_are_the_original_s(method: str, shape: tuple[int, ...]) -> None:
    theirs = original_nodes()["IPAdapterCombineEmbeds"]()
    one, two = torch.randn(2, *shape), torch.randn(1, *shape)
    for more in ((one,), (one, method, two), (two, method, None, one, two, two)):
        given = (more[0], method, *more[2:])
        if method == "subtract" and len(more) == 1 and len(one) == 1:
            continue
        (found,), (expected,) = embeds.CombineEmbeds().batch(*given), theirs.batch(*given)
        assert found.shape == expected.shape and relative(found, expected) <= SAME


def test_one_row_alone_is_never_no_number() -> None:
    (found,) = embeds.CombineEmbeds().batch(rows(1), "subtract")
    assert torch.equal(found, rows(1))
    (found,) = embeds.CombineEmbeds().batch(torch.zeros(2, 4), "norm average")
    assert torch.equal(found, torch.zeros(1, 4)), "negative rows are zeros"


def test_a_lone_embed_comes_back_as_it_is() -> None:
    one = rows(3)
    assert embeds.CombineEmbeds().batch(one, "concat")[0] is one


def test_pairs_of_version_1_are_joined_reference_by_reference() -> None:
    one, two = torch.randn(2, 1, 6), torch.randn(2, 3, 6)
    (found,) = embeds.BatchEmbeds().batch(one, two)
    assert torch.equal(found, torch.cat((one, two), dim=1))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: embeds.CombineEmbeds().batch(rows(1), "add", torch.zeros(1, 7)), "have shapes"),
        (lambda: embeds.CombineEmbeds().batch(rows(1), "add", torch.zeros(1, 2, 6)), "have shapes"),
        (lambda: embeds.CombineEmbeds().batch(rows(1), "mix"), "method"),
        (lambda: embeds.CombineEmbeds().batch([1], "add"), "embed1 is a list"),
        (lambda: embeds.BatchEmbeds().batch(rows(1)[0], rows(1)[0]), "have shapes"),
        (lambda: embeds.SaveEmbeds().save({}, "x"), "embeds is a table"),
    ],
)
def test_what_does_not_fit_is_said(call: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        call()


# Files


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
        getattr(folder_paths, f"set_{name}_directory")
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return tmp_path


def test_files_get_the_next_number(places: Path) -> None:
    node = embeds.SaveEmbeds()
    for _ in range(3):
        assert node.save(embeds=rows(2), filename_prefix="embeds/IP") == (None,)
    home = places / "output" / "embeds"
    assert sorted(os.listdir(home)) == [f"IP_0000{i}.ipadpt" for i in (1, 2, 3)]
    saved = torch.load(home / "IP_00001.ipadpt", weights_only=True)
    assert type(saved) is Tensor and torch.equal(saved, rows(2))


def test_a_view_is_saved_alone(places: Path) -> None:
    embeds.SaveEmbeds().save(torch.zeros(1000, 1000)[:1], "small")
    assert (places / "output" / "small_00001.ipadpt").stat().st_size < 20_000


@pytest.mark.parametrize("prefix", ["../out", "/elsewhere/x", "a/../../x"])
def test_a_prefix_stays_in_the_output_directory(places: Path, prefix: str) -> None:
    with pytest.raises(BadInput, match="leads out of"):
        embeds.SaveEmbeds().save(rows(1), prefix)
    assert not (places / "out_00001.ipadpt").exists()


def put(places: Path, name: str = "embeds/a.ipadpt", content: Any = None) -> Path:
    path = places / "input" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(rows(2) if content is None else content, path)
    return path


def test_files_are_listed_and_loaded(places: Path) -> None:
    put(places)
    put(places, "b.ipadpt")
    put(places, "no.pt")
    names = ["b.ipadpt", os.path.join("embeds", "a.ipadpt")]
    assert embeds.LoadEmbeds.INPUT_TYPES() == {"required": {"embeds": [names]}}
    for name in (*names, "embeds/a.ipadpt", r"embeds\a.ipadpt", "b.ipadpt [input]"):
        assert embeds.LoadEmbeds.VALIDATE_INPUTS(embeds=name) is True
        (found,) = embeds.LoadEmbeds().load(embeds=name)
        assert torch.equal(found, rows(2)) and not found.requires_grad
    assert embeds.LoadEmbeds.VALIDATE_INPUTS() is True


def test_what_was_saved_can_be_loaded(places: Path) -> None:
    embeds.SaveEmbeds().save(rows(3), "x")
    (found,) = embeds.LoadEmbeds().load("x_00001.ipadpt [output]")
    assert torch.equal(found, rows(3))
    shutil.copy(places / "output" / "x_00001.ipadpt", places / "input" / "x.ipadpt")
    assert torch.equal(embeds.LoadEmbeds().load("x.ipadpt")[0], rows(3))


def test_a_replaced_file_is_loaded_again(places: Path) -> None:
    put(places)
    before = embeds.LoadEmbeds.IS_CHANGED(embeds="embeds/a.ipadpt")
    put(places, content=rows(5, 1))
    assert embeds.LoadEmbeds.IS_CHANGED(embeds="embeds/a.ipadpt") != before
    assert embeds.LoadEmbeds.IS_CHANGED(embeds="gone") == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.ipadpt", '"gone.ipadpt" is not in'),
        ("../secret.ipadpt", "leads out of"),
        (r"..\secret.ipadpt", "leads out of|is not in"),
        ("/etc/passwd", "leads out of"),
        (7, "is not in"),
    ],
)
def test_a_name_stays_in_the_input_directory(places: Path, name: Any, said: str) -> None:
    torch.save(rows(1), places / "secret.ipadpt")
    found = embeds.LoadEmbeds.VALIDATE_INPUTS(embeds=name)
    with pytest.raises((BadInput, MissingModel), match=said) as refused:
        embeds.LoadEmbeds().load(name)
    assert found == str(refused.value)


class Danger:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("danger",)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": torch.zeros(1)}, Danger(), 3])
def test_a_file_of_something_else_is_refused(
    places: Path, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places)
    put(places, content=content)
    with pytest.raises(BrokenFile, match=r"a\.ipadpt holds"):
        embeds.LoadEmbeds().load("embeds/a.ipadpt")
    assert not (places / "danger").exists()


# Schemas


@pytest.mark.parametrize(
    "name", [one for one in embeds.NODES if not one.endswith("V1") and "Batch" not in one]
)
def test_the_schema_is_that_of_the_original(places: Path, name: str) -> None:
    put(places)
    assert schema(embeds.NODES[name]) == schema(original_nodes()[name])


SHARE = ["FLOAT", {"default": 1.0, "min": 0, "max": 1.0, "step": 0.01}]


@pytest.mark.parametrize(
    ("name", "required", "optional", "outputs"),
    [
        (
            "IPAdapterEncoder",
            {
                "ipadapter": ["IPADAPTER"],
                "image": ["IMAGE"],
                "weight": ["FLOAT", {"default": 1.0, "min": -1.0, "max": 3.0, "step": 0.01}],
            },
            {"mask": ["MASK"], "clip_vision": ["CLIP_VISION"]},
            ["pos_embed", "neg_embed"],
        ),
        (
            "IPAdapterEncoderV1",
            {
                "clip_vision": ["CLIP_VISION"],
                "image_1": ["IMAGE"],
                "ipadapter_plus": ["BOOLEAN", {"default": False}],
                "noise": ["FLOAT", {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.01}],
                "weight_1": SHARE,
            },
            {
                **{f"image_{i}": ["IMAGE"] for i in (2, 3, 4)},
                **{f"weight_{i}": SHARE for i in (2, 3, 4)},
            },
            ["EMBEDS"],
        ),
        (
            "IPAdapterCombineEmbeds",
            {"embed1": ["EMBEDS"], "method": [METHODS]},
            {f"embed{i}": ["EMBEDS"] for i in (2, 3, 4, 5)},
            ["EMBEDS"],
        ),
        ("IPAdapterBatchEmbeds", {"embed1": ["EMBEDS"], "embed2": ["EMBEDS"]}, None, ["EMBEDS"]),
        (
            "IPAdapterSaveEmbeds",
            {"embeds": ["EMBEDS"], "filename_prefix": ["STRING", {"default": "IP_embeds"}]},
            None,
            [],
        ),
        ("IPAdapterLoadEmbeds", {"embeds": [[]]}, None, ["EMBEDS"]),
    ],
)
def test_the_schema(
    places: Path, name: str, required: Any, optional: Any, outputs: list[str]
) -> None:
    found = schema(embeds.NODES[name])
    assert found["input"]["required"] == required and found["input"].get("optional") == optional
    assert list(found["input"]["required"]) == list(required)
    assert found["output_name"] == outputs and set(found["output"]) <= {"EMBEDS"}
    assert found["output_node"] is (name == "IPAdapterSaveEmbeds")
    old = name in ("IPAdapterEncoderV1", "IPAdapterBatchEmbeds")
    assert found["category"] == ("ipadapter" if old else "ipadapter/embeds")
    assert name in embeds.TITLES


def test_methods_can_be_called_by_position() -> None:
    for method, names in (
        (embeds.Encoder.encode, ["ipadapter", "image", "weight", "mask", "clip_vision"]),
        (embeds.CombineEmbeds.batch, ["embed1", "method", *(f"embed{i}" for i in (2, 3, 4, 5))]),
        (embeds.SaveEmbeds.save, ["embeds", "filename_prefix"]),
        (embeds.LoadEmbeds.load, ["embeds"]),
    ):
        found = list(inspect.signature(method).parameters)
        assert found[1:-1] == names


def test_names_are_found_again_by_the_module_that_reads_them(places: Path) -> None:
    put(places, "x/y/z.ipadpt")
    assert [bare.find(name) for name in bare.names()] == [str(places / "input/x/y/z.ipadpt")]
