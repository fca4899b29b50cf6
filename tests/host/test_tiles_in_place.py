"""A reference cut into tiles, each heard where it was, against crops and masks by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.models import encoders, tiny
from kit.models.encoders import picture, random_encoder, reference_of
from kit.models.tiny import Twins
from pack.ip_models.errors import BadInput
from pack.ip_models.references.features import Region, Regions
from pack.nodes.combined.tiles import Tiles
from pack.nodes.host.encoder.encode import encode
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor

ROUNDING, EFFECT = 1e-5, 0.01
HEIGHT, WIDTH = 64, 128  # so that it becomes two tiles
HALVES = (slice(None, 64), slice(64, None))


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module", params=["standard", "plus"])
def adapter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    tensors = tiny.adapter_tensors(twin(), request.param, seed=5)
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tensors, request.param)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = {**encoders.CONFIG, "hidden_size": tiny.ENCODER_WIDTH, "num_hidden_layers": 2}
    folder: Path = tmp_path_factory.mktemp("clip")
    return random_encoder(folder, **config, projection_dim=tiny.POOLED_WIDTH)


def panorama(seed: int = 0) -> Any:
    return picture(HEIGHT, WIDTH, seed)


def by_hand(encoder: Any, pictures: list[Any], mask: Tensor | None = None, **more: Any) -> Regions:
    regions: list[Region] = []
    for half in HALVES:
        place = torch.zeros(1, HEIGHT, WIDTH)
        place[..., half] = 1
        crops = [one[:, half] for one in pictures]
        features = encode(encoder, reference_of(*crops, **more))
        regions.append(Region(features, place if mask is None else place * mask, 1.0))
    return Regions(tuple(regions))


def heard(adapter: LoadedAdapter, embeds: Any) -> Tensor:
    return tiny.run_comfy(
        apply(twin().model, adapter, embeds, Settings()), tiny.make_call(twin(), batch=2)
    )


def test_tiles_are_crops_with_the_masks_of_their_places(
    adapter: LoadedAdapter, encoder: Any
) -> None:
    image = encoders.batch(panorama())
    embeds, tiles, masks = Tiles.execute(encoder, image, 0, 0.0, preview=False).args
    assert torch.equal(tiles, torch.cat([image[:, :, half] for half in HALVES]))
    assert torch.equal(
        masks, torch.cat([one.mask for one in by_hand(encoder, [panorama()]).regions])
    )
    out = heard(adapter, embeds)
    assert tiny.relative(out, heard(adapter, by_hand(encoder, [panorama()]))) < ROUNDING
    whole = encode(encoder, reference_of(panorama()))
    assert tiny.relative(out, heard(adapter, whole)) > EFFECT


def test_batches_negatives_and_masks_go_to_every_tile(adapter: LoadedAdapter, encoder: Any) -> None:
    pictures, negatives = [panorama(1), panorama(2)], [picture(50, 50, 8), picture(50, 50, 9)]
    mask = torch.rand(2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3))
    embeds = Tiles.execute(
        encoder, encoders.batch(*pictures), 1, 0.0, encoders.batch(*negatives), mask, False
    ).args[0]
    wanted = by_hand(encoder, pictures, mask, negative=encoders.batch(*negatives))
    out = heard(adapter, embeds)
    assert tiny.relative(out, heard(adapter, wanted)) < ROUNDING
    assert tiny.relative(out, heard(adapter, by_hand(encoder, pictures, mask))) > EFFECT
    assert tiny.relative(out, heard(adapter, by_hand(encoder, pictures))) > EFFECT


def test_the_node_shows_the_tiles_and_how_it_cut(encoder: Any) -> None:
    node = Tiles.execute(encoder, encoders.batch(panorama()), 2, 0.25)
    assert len(node.ui["images"]) == 2 * 5
    assert node.ui["text"][0].startswith("5 x 2 tiles of 37 x 37 pixels")


def test_what_is_no_reference_is_refused(encoder: Any) -> None:
    with pytest.raises(BadInput, match="overlap is 0.9"):
        Tiles.execute(encoder, encoders.batch(panorama()), 2, 0.9)
    with pytest.raises(BadInput, match="negative_image has 3 pictures"):
        Tiles.execute(encoder, encoders.batch(panorama()), 2, 0.0, torch.rand(3, 9, 9, 3))
