"""Attention maps show what the layers of a run have done, and a run does not know it is seen.

The right value: what a layer gives is read before and after its references, and the lengths of both
make the share. Where a reference is heard is known from masks, prompts, areas, tiles and windows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.context_windows
import comfy.model_management
import comfy.sample
import comfy.samplers
import node_helpers
import pytest
import torch
from bench.counter import OperatorLog
from kit.models import tiny, transformer_cases, transformers
from kit.models.tiny import Twins
from kit.models.transformer_cases import INSTANTX, SD3, XLABS, Given, Layout
from kit.models.transformers import Pair
from pack.ip_models.attention.call import BatchMode
from pack.ip_models.errors import BadInput, UnknownPlace
from pack.ip_models.references.features import Region, Regions
from pack.ip_models.weights.gains import Weights
from pack.ip_models.weights.schedule import Ramp
from pack.nodes.compare.attention import AttentionMap, ViewAttention
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones import transformer, unet_patch
from pack.nodes.host.model.bind import mark
from pack.nodes.weights import BlockWeights
from torch import Tensor
from torch.nn.functional import interpolate
from train.studio import Studio, references

ROUNDING = 1e-5
HEIGHT, WIDTH, STEPS = 16, 24, 3
FEATURES, OTHERS = tiny.random_features(1, seed=31), tiny.random_features(1, seed=32)
Conditioning = list[list[Any]]


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    tensors = tiny.adapter_tensors(twin(), "standard", seed=5)
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tensors)


def prompt(seed: int, **values: Any) -> Conditioning:
    generator = torch.Generator().manual_seed(100 + seed)
    return [[torch.randn(1, 8, 768, generator=generator), values]]


YES, NO, THIRD = prompt(1), prompt(2), prompt(3)


def part(top: int, bottom: int, left: int, right: int, count: int = 1) -> Tensor:
    """A mask that is white between these lines and columns of the latent."""
    mask = torch.zeros(count, HEIGHT, WIDTH)
    mask[:, top:bottom, left:right] = 1
    return mask.repeat_interleave(8, 1).repeat_interleave(8, 2)


LEFT, RIGHT = part(0, HEIGHT, 0, WIDTH // 2), part(0, HEIGHT, WIDTH // 2, WIDTH)


def sample(
    model: Any,
    positive: Conditioning = YES,
    batch: int = 1,
    seed: int = 4,
    callback: Any = None,
    cfg: float = 4.0,
) -> Tensor:
    start = torch.randn(batch, 4, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    kept = torch.zeros_like(start)
    more = {"callback": callback, "disable_pbar": True, "seed": seed}
    return comfy.sample.sample(
        model, start, STEPS, cfg, "euler", "normal", positive, NO, kept, **more
    )


def seen_in(
    model: Any, run: Callable[[Any], Tensor] = sample, **chosen: Any
) -> tuple[Tensor, Tensor]:
    """Shares (references, pictures, height, width) in pixels, and the latent of the run."""
    patched, view = ViewAttention.execute(model, **chosen).args
    latent = run(patched)
    _, masks = AttentionMap.execute(view, {"samples": latent}, brightness="share as it is").args
    return masks.unflatten(0, (-1, len(latent))), latent


class Spy:
    """Shares of each layer call, worked out from what the layer gives before and after."""

    def __init__(self) -> None:
        self.maps: list[Tensor] = []

    def note(self, before: Tensor, after: Tensor, grid: Any, conds: slice = slice(None)) -> None:
        added, text = (after - before).norm(dim=-1), before.norm(dim=-1)
        share = (added / (added + text))[conds].unflatten(1, grid[:2])
        self.maps.append(interpolate(share[:, None], (HEIGHT, WIDTH), mode="bilinear")[:, 0])

    def mean(self) -> Tensor:
        return interpolate(
            torch.stack(self.maps).mean(dim=0)[None], scale_factor=8, mode="bilinear"
        )[0]


def leave_memory(patch: pytest.MonkeyPatch, size: int) -> None:
    """With little of it the host calls the model for one conditioning at a time."""

    def free(device: Any = None, torch_free_too: bool = False) -> Any:
        return (size, size) if torch_free_too else size

    patch.setattr(comfy.model_management, "get_free_memory", free)


def test_a_map_is_the_mean_share_in_the_layers_of_a_unet(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy, add = Spy(), unet_patch.add_image_attention
    soft = torch.rand(1, 32, 48, generator=torch.Generator().manual_seed(1))
    model = apply(twin().model, adapter, FEATURES, Settings(scale=-0.7, mask=soft))

    def spied(text: Tensor, q: Tensor, heads: int, entries: Any, grid: Any, attention: Any) -> Any:
        out = add(text, q, heads, entries, grid, attention)
        spy.note(text, out, grid, slice(2, 4))  # two pictures: uncond first, then cond
        return out

    monkeypatch.setattr(unet_patch, "add_image_attention", spied)
    leave_memory(monkeypatch, 2**40)
    masks, latent = seen_in(model, lambda viewed: sample(viewed, batch=2))
    assert len(spy.maps) == 16 * STEPS
    assert masks.shape == (1, 2, 8 * HEIGHT, 8 * WIDTH)
    assert tiny.relative(masks[0], spy.mean()) < ROUNDING
    assert 0.05 < float(masks.min()) < float(masks.max()) < 0.95
    assert torch.equal(latent, sample(model, batch=2))  # nobody knows that it was looked at


CASES = [
    pytest.param(transformers.tiny_flux, XLABS, id="XLabs"),
    pytest.param(transformers.tiny_flux, INSTANTX, id="InstantX"),
    pytest.param(transformers.tiny_chroma, XLABS, id="Chroma"),
    pytest.param(transformers.tiny_sd3, SD3, id="SD3.5"),
]


@pytest.mark.parametrize(("build", "layout"), CASES)
def test_a_map_is_the_mean_share_in_the_blocks_of_a_transformer(
    build: Callable[[], Pair], layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, spy, add = build(), Spy(), transformer.add_to_rows
    half = torch.zeros(HEIGHT // 2, WIDTH // 2)
    half[:, : WIDTH // 4] = 1
    model = transformer_cases.patched(pair, layout, Given(scale=0.7, grid=half))

    def spied(out: Tensor, attended: Any, entries: Any, grid: Any, attention: Any) -> None:
        rows = slice(attended.before, attended.before + grid[0] * grid[1])
        before = out[:, rows].clone()
        add(out, attended, entries, grid, attention)
        spy.note(before, out[:, rows], grid)

    monkeypatch.setattr(transformer, "add_to_rows", spied)
    call = transformers.make_call(1, HEIGHT, WIDTH)

    def run(viewed: Any) -> Tensor:
        out = transformers.sample_host(pair, viewed, call, cfg=1.0, steps=2)
        return viewed.model.latent_format.process_out(out)

    (masks,), latent = seen_in(model, run)
    assert tiny.relative(masks, spy.mean()) < ROUNDING
    assert float(masks[..., : 3 * WIDTH].min()) > 0.01
    assert float(masks[..., 5 * WIDTH :].max()) == 0
    assert torch.equal(latent, run(model))
    only, _ = seen_in(model, run, blocks="1:1")
    assert not torch.allclose(only[0], masks)


def inside(masks: Tensor, where: Tensor) -> bool:
    """Whether much is heard where a mask is white, and little where it is black.

    Not nothing: the coarsest grid has cells of 8 latents, which the map makes smooth.
    """
    coarse = interpolate(where[:, None], size=(2, 3), mode="area")[:, 0]
    cells = interpolate(masks[:, None], size=(2, 3), mode="area")[:, 0]
    white, black = cells[coarse == 1], cells[coarse == 0]
    return bool(white.min() > 0.1 and white.min() > 3 * black.max())


def test_each_reference_and_picture_has_a_map_of_its_own(adapter: LoadedAdapter) -> None:
    """Two Applies, one of them with a mask for each picture; and a schedule over pictures."""
    first, second = part(0, HEIGHT, 0, 8), part(8, HEIGHT, 0, WIDTH)
    moving = torch.cat((first, second))
    model = apply(twin().model, adapter, FEATURES, Settings(mask=moving))
    fading = Settings(batch=BatchMode.LOOP, weights=Weights(frames=(Ramp(1.0, 0.0),)))
    model = apply(model, adapter, tiny.random_features(2, seed=33), fading)
    maps, _ = seen_in(model, lambda viewed: sample(viewed, batch=2))
    assert maps.shape[:2] == (2, 2)
    assert inside(maps[0], moving)
    assert float(maps[1, 0].min()) > 0.1
    assert float(maps[1, 1].max()) == 0


def test_a_reference_is_heard_where_its_prompt_is(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound reference counts as much at a place as its prompt does there; areas and masks."""
    regions = Regions((Region(FEATURES, None, 1.0), Region(OTHERS, None, 1.0)))
    bound = apply(twin().model, adapter, regions, Settings(binding="here"))
    here = mark(YES, "here")
    values = {"mask": LEFT, "mask_strength": 1.0, "set_area_to_bounds": False}
    left = node_helpers.conditioning_set_values(here, values)
    right = node_helpers.conditioning_set_values(THIRD, values | {"mask": RIGHT})
    area = node_helpers.conditioning_set_values(here, {"area": (16, 16, 0, 0)})
    rest = node_helpers.conditioning_set_values(THIRD, {"area": (16, 8, 0, 16)})
    everywhere, _ = seen_in(bound, lambda viewed: sample(viewed, here, cfg=1.0))
    for positive, where in ((left + right, LEFT), (area + rest, part(0, HEIGHT, 0, 16))):
        maps, _ = seen_in(bound, lambda viewed, one=positive: sample(viewed, one))
        assert maps.shape[:2] == (2, 1)
        assert inside(maps[0], where)
        assert inside(maps[1], where)
        strong = where[0] == 1
        ratio = float(maps[0, 0][strong].mean() / everywhere[0, 0][strong].mean())
        assert 0.9 < ratio < 1.1


def test_chunks_that_run_one_by_one_give_the_same_map(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = apply(twin().model, adapter, FEATURES, Settings(mask=LEFT))
    together, _ = seen_in(model, lambda viewed: sample(viewed, YES + THIRD))
    leave_memory(monkeypatch, 1)
    apart, _ = seen_in(model, lambda viewed: sample(viewed, YES + THIRD))
    assert torch.allclose(together, apart, atol=1e-4)


def test_windows_and_tiles_lie_where_they_are(adapter: LoadedAdapter) -> None:
    windows = comfy.context_windows
    frames = torch.cat([part(0, HEIGHT, 8 * (i % 3), 8 * (i % 3) + 8) for i in range(5)])
    handler = windows.IndexListContextHandler(
        context_schedule=windows.get_matching_context_schedule("standard_static"),
        fuse_method=windows.get_matching_fuse_method("flat"),
        context_length=2,
        context_overlap=1,
        dim=0,
    )
    model = apply(twin().model, adapter, FEATURES, Settings(mask=frames))
    model.model_options["context_handler"] = handler
    maps, _ = seen_in(model, lambda viewed: sample(viewed, batch=5))
    assert inside(maps[0], frames)
    # Tiles of one picture, as packs cut them: nobody says where they lie, they are found.
    plain = apply(twin().model, adapter, FEATURES, Settings())
    for one in (plain, apply(twin().model, adapter, FEATURES, Settings(mask=LEFT))):
        one.set_model_unet_function_wrapper(in_tiles)
    maps, _ = seen_in(one)
    assert inside(maps[0], LEFT)
    maps, _ = seen_in(plain)
    assert float(maps.min()) > 0.1


def in_tiles(function: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
    """Three tiles side by side."""
    x, out = given["input"], torch.zeros_like(given["input"])
    for left in (0, 8, 16):
        tile = x[..., left : left + 8]
        out[..., left : left + 8] = function(tile, given["timestep"], **given["c"])
    return out


def test_a_call_for_who_knows_what_is_sampled_and_not_shown(adapter: LoadedAdapter) -> None:
    model = apply(twin().model, adapter, FEATURES, Settings())

    def elsewhere(function: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
        half = interpolate(given["input"], scale_factor=0.5)
        small = function(half, given["timestep"], **given["c"])
        return interpolate(small, scale_factor=2.0)

    model.set_model_unet_function_wrapper(elsewhere)
    with pytest.raises(UnknownPlace, match="an attention map needs to know which part"):
        seen_in(model)


def test_blocks_and_steps_are_chosen(adapter: LoadedAdapter) -> None:
    """A reference that one block hears, and only in the first step."""
    sampling = twin().model.get_model_object("model_sampling")
    first, second, *_ = comfy.samplers.calculate_sigmas(sampling, "normal", STEPS).tolist()
    levels = (first + 1, (first + second) / 2)
    rule = ViewAttention.execute(twin().model, blocks="4:1").args[1].selection.slots
    assert rule is not None and len(rule) == 1
    (slot,) = rule
    model = apply(twin().model, adapter, FEATURES, Settings(levels=levels))
    every, _ = seen_in(model)
    early, _ = seen_in(model, end_at_step=1)
    late, _ = seen_in(model, start_at_step=1)
    assert tiny.relative(early, STEPS * every) < ROUNDING
    assert float(late.max()) == 0
    others = {place: one for place, one in every_slot(model).items() if place != slot}
    one_block, _ = seen_in(model, blocks="4:1")
    rest, _ = seen_in(model, blocks="0-3:1, 5-15:1")
    assert len(others) == 15
    assert tiny.relative(16 * every, one_block + 15 * rest) < 1e-3
    # Two views one after the other each see what they are to see.
    twice, first_view = ViewAttention.execute(model, blocks="4:1").args
    twice, second_view = ViewAttention.execute(twice, end_at_step=1).args
    latent = {"samples": sample(twice)}
    for view, expected in ((first_view, one_block), (second_view, early)):
        _, masks = AttentionMap.execute(view, latent, brightness="share as it is").args
        assert torch.equal(masks, expected[0])


def every_slot(model: Any) -> dict[Any, Any]:
    return model.model_options["transformer_options"]["ipadapter"].prompts[0].layers


def test_each_run_has_a_map_of_its_own(adapter: LoadedAdapter) -> None:
    """Two samplers in a row, a run that is stopped, a latent of somebody else."""
    model = apply(twin().model, adapter, FEATURES, Settings(mask=LEFT))
    patched, view = ViewAttention.execute(model).args
    with pytest.raises(BadInput, match="no run of the MODEL"):
        AttentionMap.execute(view, {"samples": torch.zeros(1, 4, 16, 24)})
    first = sample(patched)
    second = sample(patched, seed=5, batch=2)

    def stop(*_: Any) -> None:
        raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(patched, seed=6, callback=stop)
    for latent in (second, first):
        picture = torch.rand(len(latent), 64, 96, 3)
        shown, masks = AttentionMap.execute(view, {"samples": latent}, picture).args
        assert shown.shape == (len(latent), 64, 96, 3)
        assert 0.99 < float(masks.max()) <= 1
    assert len(view._runs) == 2
    with pytest.raises(BadInput, match="none of those that the MODEL"):
        AttentionMap.execute(view, {"samples": sample(patched.clone(), seed=7) * 1.1})
    with pytest.raises(BadInput, match="reference is 2; the MODEL has 1"):
        AttentionMap.execute(view, {"samples": first}, reference=2)
    with pytest.raises(BadInput, match="image holds 3 pictures and the latent 2"):
        AttentionMap.execute(view, {"samples": second}, torch.rand(3, 8, 8, 3))


def test_a_model_without_references_gives_a_dark_map(adapter: LoadedAdapter) -> None:
    silent = apply(twin().model, adapter, FEATURES, Settings(scale=0))
    maps, _ = seen_in(silent)
    assert float(maps.max()) == 0


def test_what_a_view_costs(adapter: LoadedAdapter) -> None:
    """Nothing where nobody looks; else a norm of what each layer has and of what is added."""
    model = apply(twin().model, adapter, FEATURES, Settings())
    model = apply(model, adapter, OTHERS, Settings(mask=LEFT))
    viewed, _ = ViewAttention.execute(model, blocks="4-6:1").args
    logs: list[OperatorLog] = []
    for one in (model, viewed):
        sample(one)
        with OperatorLog() as log:
            sample(one)
        logs.append(log)
    plain, seen = logs
    assert plain.kernels["linalg_vector_norm"] == 0
    assert seen.kernels["linalg_vector_norm"] == 3 * 3 * STEPS  # layers, lengths, steps
    attentions = [
        sum(count for name, count in log.kernels.items() if "scaled_dot_product" in name)
        for log in logs
    ]
    assert attentions[0] == attentions[1]
    assert plain.reads.total() <= seen.reads.total() <= plain.reads.total() + 4


def test_the_heat_lies_where_the_mask_is_and_in_the_blocks_that_hear() -> None:
    """The toy models, whose pictures show the same."""
    studio = Studio()
    drawings, _ = references(2, seed=3)
    embeds = [studio.embeds(one[None]) for one in drawings]
    across = torch.linspace(-1, 1, 128)
    disc = (across[None].square() + across[:, None].square() < 0.4).float()[None]
    rest = 1 - disc
    regions = Regions(tuple(map(Region, embeds, (disc, rest), (1.0, 1.0))))

    def run(viewed: Any) -> Tensor:
        return studio.latents(viewed, word=3, count=1, seed=7)

    (first, second), _ = seen_in(studio.apply("plus", regions), run)
    for maps, where in ((first, disc), (second, rest)):
        # The coarsest grid of a picture as small as this has four cells.
        assert float(maps[where > 0.5].mean()) > 3 * float(maps[where < 0.5].mean())
        assert float(maps[where > 0.5].mean()) > 0.4
    weights = BlockWeights.execute("custom", "4:1, 6:1").args[0]
    model = studio.apply("plus", embeds[0], block_weights=weights)
    loud, _ = seen_in(model, run, blocks="4:1, 6:1")
    silent, _ = seen_in(model, run, blocks="0-3:1, 5:1, 7-15:1")
    assert float(loud.min()) > 0.3
    assert float(silent.max()) == 0
