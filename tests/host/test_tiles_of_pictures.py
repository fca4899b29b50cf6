"""A picture and its tiles are one reference wherever pictures are told apart."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from kit.models import companions, encoders, tiny
from kit.models.encoders import comfy_encoder, picture, randomise, reference_of
from kit.models.tiny import Twins
from pack.ip_models.attention.prompt import BatchMode
from pack.ip_models.pictures.tiles import TileMerge, Tiling
from pack.ip_models.references.combine import Combine, combine
from pack.ip_models.references.features import Features, ImageFeatures, Region, Regions
from pack.nodes.host.encoder.encode import encode
from pack.nodes.host.files import folders
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.stored import LoadEmbeds, SaveEmbeds
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

ROUNDING, EFFECT = 1e-5, 0.01
ONE_PER_PICTURE = [mode for mode in BatchMode if mode is not BatchMode.ALL]
TILED = Tiling(2)
# Which of three references each of seven pictures hears.
EXPECTED = {
    BatchMode.REPEAT_LAST: [0, 1, 2, 2, 2, 2, 2],
    BatchMode.LOOP: [0, 1, 2, 0, 1, 2, 0],
    BatchMode.SPREAD: [0, 0, 0, 1, 1, 2, 2],
}


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module", params=["standard", "plus"])
def adapter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    tensors = tiny.adapter_tensors(twin(), request.param, seed=5)
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tensors, request.param)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """As wide as ViT-H and small otherwise."""
    config: dict[str, Any] = dict(
        hidden_size=tiny.ENCODER_WIDTH,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        projection_dim=tiny.POOLED_WIDTH,
        num_channels=3,
        hidden_act="gelu",
    )
    theirs = CLIPVisionModelWithProjection(CLIPVisionConfig(**config)).eval()
    with torch.no_grad():
        randomise(theirs)
    config["model_type"] = "clip_vision_model"
    return comfy_encoder(tmp_path_factory.mktemp("clip"), config, theirs.state_dict())


def photos(count: int = 3) -> list[Tensor]:
    return [picture(90, 70, seed) for seed in range(count)]


def encoded(encoder: Any, *pictures: Tensor, **options: Any) -> ImageFeatures:
    return encode(encoder, reference_of(*pictures, **{"tiling": TILED, **options}))


def heard(model: Any, pictures: int = 7) -> Tensor:
    """(2, pictures, ...): the UNet's output for uncond and cond."""
    out = tiny.run_comfy(model, tiny.make_call(twin(), batch=pictures))
    return out.unflatten(0, (2, pictures))


def expected(adapter: LoadedAdapter, singles: list[ImageFeatures], places: list[int]) -> Tensor:
    """Each picture as independent patches make it, which know its own reference alone."""
    models = [
        companions.oracle(twin().model, companions.Reference(adapter, one)) for one in singles
    ]
    every = [heard(model, len(places)) for model in models]
    return torch.stack([every[place][:, i] for i, place in enumerate(places)], dim=1)


@pytest.mark.parametrize("mode", ONE_PER_PICTURE)
def test_each_picture_hears_its_own_reference_with_its_tiles(
    mode: BatchMode, adapter: LoadedAdapter, encoder: Any
) -> None:
    together = encoded(encoder, *photos())
    assert together.count == 6
    singles = [encoded(encoder, one) for one in photos()]
    out = heard(apply(twin().model, adapter, together, Settings(batch=mode)))
    assert tiny.relative(out, expected(adapter, singles, EXPECTED[mode])) < ROUNDING
    wholes = [encoded(encoder, one, tiling=Tiling()) for one in photos()]
    assert tiny.relative(out, expected(adapter, wholes, EXPECTED[mode])) > EFFECT
    others = [*EXPECTED[mode][1:], 0]
    assert tiny.relative(out, expected(adapter, singles, others)) > EFFECT


def test_in_every_picture_all_of_them_are_heard_as_before(
    adapter: LoadedAdapter, encoder: Any
) -> None:
    together = encoded(encoder, *photos())
    out = heard(apply(twin().model, adapter, together, Settings()))
    reference = companions.Reference(adapter, together)
    assert tiny.relative(out, heard(companions.oracle(twin().model, reference))) < ROUNDING
    # Whose tiles they are changes no bit of it.
    rows = replace(together, picture_of=())
    assert torch.equal(out, heard(apply(twin().model, adapter, rows, Settings())))
    assert tiny.relative(out, heard(twin().model)) > EFFECT


def test_a_negative_picture_for_each_belongs_to_its_tiles_too(
    adapter: LoadedAdapter, encoder: Any
) -> None:
    negatives = encoders.batch(*[picture(50, 50, seed) for seed in (7, 8, 9)])
    together = encoded(encoder, *photos(), negative=negatives)
    singles = [
        encoded(encoder, one, negative=negatives[i : i + 1]) for i, one in enumerate(photos())
    ]
    mode = BatchMode.LOOP
    out = heard(apply(twin().model, adapter, together, Settings(batch=mode)))
    assert tiny.relative(out, expected(adapter, singles, EXPECTED[mode])) < ROUNDING


def merged(encoder: Any) -> tuple[ImageFeatures, list[ImageFeatures]]:
    """Three pictures, of which the first and the last have tiles."""
    first, second, third = photos()
    parts = [
        encoded(encoder, first),
        encoded(encoder, second, tiling=Tiling()),
        encoded(encoder, third, tiling=Tiling(3)),
    ]
    together = combine(parts, [1.0, 1.0, 1.0], Combine.CONCAT)
    assert isinstance(together, ImageFeatures)
    return together, parts


@pytest.mark.parametrize("mode", ONE_PER_PICTURE)
def test_merged_pictures_with_and_without_tiles(
    mode: BatchMode, adapter: LoadedAdapter, encoder: Any
) -> None:
    together, parts = merged(encoder)
    assert together.pictures == (0, 0, 1, 2, 2)
    out = heard(apply(twin().model, adapter, together, Settings(batch=mode)))
    assert tiny.relative(out, expected(adapter, parts, EXPECTED[mode])) < ROUNDING


def test_merged_again_and_weighed(adapter: LoadedAdapter, encoder: Any) -> None:
    pairs = [encoded(encoder, *photos(2)), encoded(encoder, photos()[2])]
    together = combine(pairs, [0.5, 1.0], Combine.CONCAT)
    twice = combine([together, pairs[1]], [1.0, 1.0], Combine.CONCAT)
    assert isinstance(twice, ImageFeatures)
    assert twice.pictures == (0, 1, 0, 1, 2, 2, 3, 3)
    singles = [combine([encoded(encoder, one)], [0.5], Combine.CONCAT) for one in photos(2)]
    singles += [pairs[1], pairs[1]]
    model = apply(twin().model, adapter, twice, Settings(batch=BatchMode.REPEAT_LAST))
    right = expected(adapter, singles, [0, 1, 2, 3, 3])  # pyright: ignore[reportArgumentType]
    assert tiny.relative(heard(model, 5), right) < ROUNDING


@pytest.mark.parametrize("method", [one for one in Combine if one is not Combine.CONCAT])
def test_a_mix_is_one_reference(method: Combine, encoder: Any) -> None:
    parts = [encoded(encoder, *photos(2)), encoded(encoder, photos()[2])]
    mixed = combine(parts, [1.0, 1.0], method)
    assert isinstance(mixed, ImageFeatures)
    assert mixed.count == 1 and tuple(mixed.pictures) == (0,)


def test_blended_tiles_are_no_references(encoder: Any) -> None:
    blended = encoded(encoder, *photos(), tiling=Tiling(2, merge=TileMerge.BLEND))
    assert tuple(blended.pictures) == (0, 1, 2) and blended.count == 3


def test_regions_keep_whose_tiles_they_are(adapter: LoadedAdapter, encoder: Any) -> None:
    left = torch.zeros(1, 16, 16)
    left[..., :8] = 1
    together = encoded(encoder, *photos())
    regions = Regions((Region(together, left, 1.0), Region(together, 1 - left, 1.0)))
    again = combine([regions], [1.0], Combine.CONCAT)
    settings = Settings(batch=BatchMode.LOOP)
    whole = heard(apply(twin().model, adapter, together, settings))
    for embeds in (regions, again):
        parts = heard(apply(twin().model, adapter, embeds, settings))
        assert tiny.relative(parts, whole) < ROUNDING


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {"custom_nodes": ([], set[str]())})
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    folders.register()
    return tmp_path / folders.EMBEDS


def test_a_file_says_whose_tiles_they_are(home: Path, adapter: LoadedAdapter, encoder: Any) -> None:
    together, _ = merged(encoder)
    other = encoded(encoder, photos()[0])
    regions = Regions((Region(together, None, 1.0), Region(other, None, 0.5)))
    for name, embeds in (("plain", together), ("regions", regions)):
        SaveEmbeds.execute(embeds={"embeds0": embeds}, name=name)
        loaded = LoadEmbeds.execute(f"{name}.safetensors").args[0]
        settings = Settings(batch=BatchMode.SPREAD)
        outs = [heard(apply(twin().model, adapter, one, settings)) for one in (embeds, loaded)]
        assert torch.equal(*outs)


def test_what_has_no_tiles_is_written_as_ever(home: Path, encoder: Any) -> None:
    plain: Features = encoded(encoder, *photos(), tiling=Tiling())
    SaveEmbeds.execute(embeds={"embeds0": plain}, name="plain")
    assert b"picture_of" not in (home / "plain.safetensors").read_bytes()
    SaveEmbeds.execute(embeds={"embeds0": encoded(encoder, *photos())}, name="tiled")
    assert b"picture_of" in (home / "tiled.safetensors").read_bytes()
