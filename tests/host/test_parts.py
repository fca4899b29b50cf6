"""Parts of a picture: masks follow tiles, references parts of a batch, or a sentence says no.

The behaviours of Tiled Diffusion, Tiled KSampler, Ultimate SD Upscale and Impact Pack's Detailer
are written anew here. The right value: each tile is a run of its own, step by step, with a MODEL
whose mask was cut to it by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import comfy.context_windows
import comfy.patcher_extension
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced
from comfy_extras.nodes_rebatch import LatentRebatch
from kit.models import tiny
from kit.models.tiny import Twins
from pack.ip_models.attention.call import BatchMode
from pack.ip_models.attention.masks import MaskRule
from pack.ip_models.errors import UnknownPlace
from pack.ip_models.weights.gains import Weights
from pack.ip_models.weights.schedule import Ramp
from pack.nodes.host.model import patches
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.bind import mark
from torch import Tensor

import nodes

ROUNDING, EFFECT = 2e-5, 0.01
SIDE, TILE = 24, 16
CORNERS = [(top, left) for top in (0, 8) for left in (0, 8)]  # tiles overlap
FEATURES = tiny.random_features(1, seed=21)
SEVERAL = tiny.random_features(3, seed=22)
Conditioning = list[list[Any]]
Corner = tuple[int, int]


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    tensors = tiny.adapter_tensors(twin(), "standard", seed=5)
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tensors)


def prompt(seed: int, **values: Any) -> Conditioning:
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, 8, 768, generator=generator), values]]


YES, NO = prompt(1), prompt(2)


def noise(batch: int = 1, height: int = SIDE, width: int = SIDE) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(batch, 4, height, width, generator=generator)


def mask(count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.rand(count, 8 * SIDE, 8 * SIDE, generator=generator)


def sigmas(steps: int = 2) -> Tensor:
    sampling = twin().model.get_model_object("model_sampling")
    return comfy.samplers.calculate_sigmas(sampling, "normal", steps)


def sample(
    model: Any,
    start: Tensor,
    cfg: float = 1.0,
    levels: Tensor | None = None,
    latent: Tensor | None = None,
    positive: Conditioning = YES,
) -> Tensor:
    return comfy.sample.sample_custom(
        model,
        start,
        cfg,
        comfy.samplers.sampler_object("euler"),
        sigmas() if levels is None else levels,
        positive,
        NO,
        torch.zeros_like(start) if latent is None else latent,
        disable_pbar=True,
        seed=1,
    )


def shifted(step: int, shifts: Sequence[Corner]) -> Corner:
    return shifts[step % len(shifts)]


def tiled(model: Any, tiles_at_once: int = 1, shifts: Sequence[Corner] = ((0, 0),)) -> Any:
    """As Tiled Diffusion: tiles of the call's latents, several at once, and their mean.

    Args:
        shifts: how far the picture is rolled in each step, as SpotDiffusion does.
    """
    patched, calls = model.clone(), [0]

    def wrapper(call: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
        shift = shifted(calls[0], shifts)
        calls[0] += 1
        x = given["input"].roll(shift, (2, 3))
        height, width = min(TILE, x.shape[2]), min(TILE, x.shape[3])
        corners = [c for c in CORNERS if c[0] + height <= x.shape[2] and c[1] + width <= x.shape[3]]
        total, weight = torch.zeros_like(x), torch.zeros_like(x)
        for first in range(0, len(corners), tiles_at_once):
            batch = corners[first : first + tiles_at_once]
            parts = [
                (slice(None), slice(None), slice(top, top + height), slice(left, left + width))
                for top, left in batch
            ]
            rows = torch.cat([x[part] for part in parts])
            repeated = {
                key: value.repeat(len(batch), *[1] * (value.ndim - 1))
                if isinstance(value, Tensor)
                else value
                for key, value in given["c"].items()
            }
            out = call(rows, given["timestep"].repeat(len(batch)), **repeated)
            for part, tile in zip(parts, out.chunk(len(batch)), strict=True):
                total[part] += tile
                weight[part] += 1
        return (total / weight).roll((-shift[0], -shift[1]), (2, 3))

    patched.set_model_unet_function_wrapper(wrapper)
    return patched


def by_hand(
    tile_model: Callable[[Tensor], Any],
    masks: Tensor,
    start: Tensor,
    cfg: float,
    shifts: Sequence[Corner] = ((0, 0),),
) -> Tensor:
    """Each tile in each step as a run of its own.

    Args:
        tile_model: a MODEL for the masks of a tile.
    """
    levels = sigmas()
    x = start * torch.sqrt(1 + levels[0] ** 2)
    x = twin().model.model.latent_format.process_out(x)
    for step in range(len(levels) - 1):
        shift = shifted(step, shifts)
        rolled = x.roll(shift, (2, 3))
        planes = masks.roll((8 * shift[0], 8 * shift[1]), (1, 2))
        total, weight = torch.zeros_like(x), torch.zeros_like(x)
        for top, left in CORNERS:
            part = (..., slice(top, top + TILE), slice(left, left + TILE))
            cut = planes[:, 8 * top : 8 * (top + TILE), 8 * left : 8 * (left + TILE)]
            tile = rolled[part].contiguous()
            nothing = torch.zeros_like(tile)
            total[part] += sample(tile_model(cut), nothing, cfg, levels[step : step + 2], tile)
            weight[part] += 1
        x = (total / weight).roll((-shift[0], -shift[1]), (2, 3))
    return x


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize(("tiles_at_once", "batch"), [(1, 1), (4, 1), (3, 2)])
def test_a_mask_is_cut_to_each_tile(
    adapter: LoadedAdapter, cfg: float, tiles_at_once: int, batch: int
) -> None:
    def referred(masks: Tensor) -> Any:
        return apply(twin().model, adapter, FEATURES, Settings(mask=masks))

    start, masks = noise(batch), mask()
    ours = sample(tiled(referred(masks), tiles_at_once), start, cfg)
    assert tiny.relative(ours, by_hand(referred, masks, start, cfg)) < ROUNDING
    assert tiny.relative(ours, sample(tiled(twin().model, tiles_at_once), start, cfg)) > EFFECT


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("tiles_at_once", [1, 4])
def test_each_picture_of_a_batch_in_tiles_has_its_reference_and_mask(
    adapter: LoadedAdapter, cfg: float, tiles_at_once: int
) -> None:
    def referred(masks: Tensor) -> Any:
        settings = Settings(mask=masks, batch=BatchMode.LOOP)
        return apply(twin().model, adapter, SEVERAL, settings)

    start, masks = noise(3), mask(2)
    ours = sample(tiled(referred(masks), tiles_at_once), start, cfg)
    assert tiny.relative(ours, by_hand(referred, masks, start, cfg)) < ROUNDING
    alone = apply(twin().model, adapter, FEATURES, Settings(mask=masks[:1]))
    assert tiny.relative(ours, sample(tiled(alone, tiles_at_once), start, cfg)) > EFFECT


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_references_without_a_mask_are_heard_in_every_tile(
    adapter: LoadedAdapter, cfg: float
) -> None:
    def referred(masks: Tensor) -> Any:
        return apply(twin().model, adapter, FEATURES, Settings())

    start = noise(2)
    ours = sample(tiled(referred(mask()), 4), start, cfg)
    assert tiny.relative(ours, by_hand(referred, mask(), start, cfg)) < ROUNDING
    assert tiny.relative(ours, sample(tiled(twin().model, 4), start, cfg)) > EFFECT


@pytest.mark.parametrize("rule", list(MaskRule))
def test_a_mask_goes_on_at_the_other_side_of_a_shifted_picture(
    adapter: LoadedAdapter, rule: MaskRule
) -> None:
    shifts = ((5, 0), (0, 11))

    def referred(masks: Tensor) -> Any:
        return apply(twin().model, adapter, FEATURES, Settings(mask=masks, mask_rule=rule))

    start, masks = noise(), mask()
    ours = sample(tiled(referred(masks), 4, shifts), start)
    theirs = by_hand(referred, masks, start, 1.0, shifts)
    # The rule of diffusers blackens or whitens after resizing, which the cut mask is not.
    assert tiny.relative(ours, theirs) < (ROUNDING if rule is MaskRule.AREA else 0.05)
    assert tiny.relative(ours, sample(tiled(twin().model, 4, shifts), start)) > EFFECT


def test_a_mask_of_another_size_is_stretched_over_the_picture_not_over_a_tile(
    adapter: LoadedAdapter,
) -> None:
    model, start = twin().model, noise()
    small = torch.zeros(1, 3, 3)
    small[:, 1:] = 1
    large = small.repeat_interleave(8 * SIDE // 3, 1).repeat_interleave(8 * SIDE // 3, 2)
    results = [
        sample(tiled(apply(model, adapter, FEATURES, Settings(mask=planes)), 4), start)
        for planes in (small, large)
    ]
    assert tiny.relative(*results) < ROUNDING


def test_tiles_of_areas(adapter: LoadedAdapter) -> None:
    """White over one prompt's area and black over the other's: as if bound to the first."""
    model, half = twin().model, SIDE // 2
    top, bottom = ({"area": (half, SIDE, place, 0)} for place in (0, half))
    first, second = prompt(1, **top), prompt(3, **bottom)
    upper = torch.zeros(1, 8 * SIDE, 8 * SIDE)
    upper[:, : 8 * half] = 1
    masked = apply(model, adapter, FEATURES, Settings(mask=upper))
    binding = object()
    bound = apply(model, adapter, FEATURES, Settings(binding=binding))
    ours = sample(tiled(masked, 4), noise(), positive=first + second)
    theirs = sample(tiled(bound, 4), noise(), positive=mark(first, binding) + second)
    assert tiny.relative(ours, theirs) < ROUNDING
    without = sample(tiled(model, 4), noise(), positive=first + second)
    assert tiny.relative(ours, without) > EFFECT


def wrapped(
    model: Any, change: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]
) -> Any:
    """A pack that samples something else than a part of the latent."""
    patched = model.clone()
    patched.set_model_unet_function_wrapper(
        lambda call, given: back(call(change(given["input"]), given["timestep"], **given["c"]))
    )
    return patched


def halved(x: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(x, 3, stride=1)[..., ::2, ::2][..., :8, :8]


def doubled(x: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(x, size=(SIDE, SIDE))


def test_a_part_that_is_no_copy_is_refused_for_masks_only(adapter: LoadedAdapter) -> None:
    plain = apply(twin().model, adapter, FEATURES, Settings())
    ours = sample(wrapped(plain, halved, doubled), noise())
    assert tiny.relative(ours, sample(wrapped(twin().model, halved, doubled), noise())) > EFFECT
    masked = apply(twin().model, adapter, FEATURES, Settings(mask=mask()))
    with pytest.raises(UnknownPlace, match="a part of 8 x 8 latent pixels.* has 24 x 24.* mask"):
        sample(wrapped(masked, halved, doubled), noise())


def test_where_everything_is_alike_the_place_is_not_guessed(adapter: LoadedAdapter) -> None:
    masked = apply(twin().model, adapter, FEATURES, Settings(mask=mask()))
    flat = torch.zeros_like(noise())
    with pytest.raises(UnknownPlace, match="it is no part of it that could be found"):
        sample(tiled(masked), flat)


def one_by_one(model: Any) -> Any:
    """A pack that saves memory: each latent of a call is a call of its own."""
    patched = model.clone()

    def wrapper(call: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
        outputs = []
        for i, row in enumerate(given["input"].split(1)):
            one = {
                key: value[i : i + 1] if isinstance(value, Tensor) else value
                for key, value in given["c"].items()
            }
            outputs.append(call(row, given["timestep"][i : i + 1], **one))
        return torch.cat(outputs)

    patched.set_model_unet_function_wrapper(wrapper)
    return patched


@pytest.mark.parametrize(
    "settings",
    [
        Settings(batch=BatchMode.REPEAT_LAST),
        Settings(mask=mask(2)),
        Settings(weights=Weights(frames=(Ramp(0.0, 1.0),))),
    ],
)
def test_a_batch_that_is_taken_apart_is_refused_for_one_per_picture(
    adapter: LoadedAdapter, settings: Settings
) -> None:
    model = one_by_one(apply(twin().model, adapter, SEVERAL, settings))
    with pytest.raises(UnknownPlace, match="with 1 of the 3 pictures of the batch"):
        sample(model, noise(3))


def test_a_batch_that_is_taken_apart_goes_on_with_one_reference_and_mask(
    adapter: LoadedAdapter,
) -> None:
    model = apply(twin().model, adapter, FEATURES, Settings(mask=mask()))
    ours = sample(one_by_one(model), noise(3))
    assert tiny.relative(ours, sample(model, noise(3))) < ROUNDING


def corner_only(executor: Any, model: Any, conds: Any, x: Tensor, *rest: Any) -> list[Tensor]:
    """A pack that cuts the latent before the host sees it."""
    return [doubled(out) for out in executor(model, conds, x[..., 8:, 8:], *rest)]


@pytest.mark.parametrize("outside", [False, True])
def test_what_is_cut_before_the_host_is_found_if_the_whole_was_seen(
    adapter: LoadedAdapter, outside: bool
) -> None:
    kind = comfy.patcher_extension.WrappersMP.CALC_COND_BATCH

    def cut(model: Any) -> Any:
        patched = model.clone()
        tables = patched.model_options["transformer_options"].setdefault("wrappers", {})
        table = tables.setdefault(kind, {})
        tables[kind] = (
            {"them": [corner_only], **table} if outside else {**table, "them": [corner_only]}
        )
        return patched

    model, plain = twin().model, apply(twin().model, adapter, FEATURES, Settings())
    assert tiny.relative(sample(cut(plain), noise()), sample(cut(model), noise())) > EFFECT
    black = torch.zeros(1, 8 * SIDE, 8 * SIDE)
    black[:, :64] = 1  # above the part
    masked = cut(apply(model, adapter, FEATURES, Settings(mask=black)))
    if outside:
        with pytest.raises(UnknownPlace, match="a part of 16 x 16 latent pixels"):
            sample(masked, noise())
    else:
        assert torch.equal(sample(masked, noise()), sample(cut(model), noise()))


@pytest.mark.parametrize("dim", [2, 3])
def test_context_windows_over_lines_or_columns(adapter: LoadedAdapter, dim: int) -> None:
    def windows(model: Any) -> Any:
        patched = model.clone()
        handler = comfy.context_windows.IndexListContextHandler(
            context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
            fuse_method=comfy.context_windows.get_matching_fuse_method("flat"),
            context_length=8,
            context_overlap=0,
            dim=dim,
        )
        handler.causal_window_fix = False  # later versions put a line before the window
        patched.model_options["context_handler"] = handler
        return patched

    model = twin().model
    planes = torch.zeros(1, 8 * SIDE, 8 * SIDE)
    planes.movedim(dim - 1, 0)[64:128] = 1  # the second of three windows
    ours = sample(windows(apply(model, adapter, FEATURES, Settings(mask=planes))), noise())
    without = sample(windows(model), noise())
    everywhere = sample(windows(apply(model, adapter, FEATURES, Settings())), noise())
    second = slice(8, 16)
    ours, without, everywhere = (x.movedim(dim, 0) for x in (ours, without, everywhere))
    assert tiny.relative(ours[second], everywhere[second]) < ROUNDING
    assert torch.equal(ours[:8], without[:8])
    assert torch.equal(ours[16:], without[16:])
    assert tiny.relative(ours[second], without[second]) > EFFECT


class TiledSampler:
    """As Tiled KSampler: a run for each tile, told nothing of its place."""

    def sample_common(self, model: Any, samples: Tensor, positive: Conditioning = YES) -> Tensor:
        out = torch.zeros_like(samples)
        for tile_h, tile_w in ((0, 0), (0, 8), (8, 0), (8, 8)):
            tile_h_len = tile_w_len = TILE
            part = (..., slice(tile_h, tile_h + tile_h_len), slice(tile_w, tile_w + tile_w_len))
            tiled_latent = samples[part].contiguous()
            out[part] = sample(model, tiled_latent, 4.0, positive=positive)
        return out


class Upscaler:
    """As Ultimate SD Upscale: regions in pixels, made larger, one in a run or several."""

    regions = ((0, 0, 96, 96), (96, 0, 192, 96), (40, 72, 136, 168))

    def process_images(self, model: Any, init_image: Any, enlarge: float = 1.0) -> list[Tensor]:
        out, positive_cropped = [], YES
        for crop_region in self.regions:
            tile_size = tuple(int(enlarge * (crop_region[i + 2] - crop_region[i])) for i in (0, 1))
            start = noise(1, tile_size[1] // 8, tile_size[0] // 8)
            out.append(sample(model, start, 4.0, positive=positive_cropped))
        return out

    def _process_batch_tiles(self, model: Any, images: list[Any], count: int) -> Tensor:
        batch_crop_regions = [region for _ in images for region in self.regions[:count]]
        batch_tile_sizes = [(96, 96) for _ in batch_crop_regions]
        return sample(model, noise(len(batch_tile_sizes), 12, 12), 4.0)

    def in_batches(self, model: Any, images: list[Any], count: int) -> Tensor:
        return self._process_batch_tiles(model, images, count)


class Picture:
    """As much of a picture as an upscaler looks at."""

    size = (8 * SIDE, 8 * SIDE)


class Segment:
    """As much of a found face as a detailer looks at."""

    crop_region = (30, 50, 126, 146)


def do_detail(model: Any, image: Tensor, segs: Sequence[Segment]) -> list[Tensor]:
    """As Impact Pack's Detailer: what was found is cut out, made larger and sampled."""
    out = []
    for seg in segs:
        assert seg
        out.append(sample(model, noise(1, 16, 16), 4.0))
    return out


@pytest.mark.parametrize("area", [None, (12, 8, 4, 8)])
def test_runs_of_tiled_ksampler_cut_the_mask(adapter: LoadedAdapter, area: Any) -> None:
    samples, planes, model = noise(2), mask(), twin().model
    prompts = prompt(1) + (prompt(3, area=area) if area else [])
    masked = apply(model, adapter, FEATURES, Settings(mask=planes))
    ours = TiledSampler().sample_common(masked, samples, prompts)
    theirs = torch.zeros_like(samples)
    for top, left in CORNERS:
        part = (..., slice(top, top + TILE), slice(left, left + TILE))
        cut = planes[:, 8 * top : 8 * (top + TILE), 8 * left : 8 * (left + TILE)]
        tile = apply(model, adapter, FEATURES, Settings(mask=cut))
        theirs[part] = sample(tile, samples[part].contiguous(), 4.0, positive=prompts)
    assert tiny.relative(ours, theirs) < ROUNDING
    assert tiny.relative(ours, TiledSampler().sample_common(model, samples, prompts)) > EFFECT


def cut_to(region: Sequence[int], planes: Tensor) -> Tensor:
    left, top, right, bottom = region
    return planes[:, top:bottom, left:right]


@pytest.mark.parametrize("enlarge", [1.0, 4 / 3])
def test_runs_of_ultimate_upscale_cut_the_mask(adapter: LoadedAdapter, enlarge: float) -> None:
    model, planes = twin().model, mask()
    masked = apply(model, adapter, FEATURES, Settings(mask=planes))
    ours = Upscaler().process_images(masked, Picture, enlarge)
    without = Upscaler().process_images(model, Picture, enlarge)
    for region, tile, plain in zip(Upscaler.regions, ours, without, strict=True):
        cut = apply(model, adapter, FEATURES, Settings(mask=cut_to(region, planes)))
        side = int(12 * enlarge)
        assert tiny.relative(tile, sample(cut, noise(1, side, side), 4.0)) < ROUNDING
        assert tiny.relative(tile, plain) > EFFECT


def test_several_tiles_in_a_run_of_ultimate_upscale(adapter: LoadedAdapter) -> None:
    model, images = twin().model, [Picture, Picture]
    masked = apply(model, adapter, FEATURES, Settings(mask=mask()))
    with pytest.raises(UnknownPlace, match="Set batch_size there to 1"):
        Upscaler().in_batches(masked, images, 2)
    one = Upscaler().in_batches(masked, images, 1)
    cut = apply(model, adapter, FEATURES, Settings(mask=cut_to(Upscaler.regions[0], mask())))
    assert tiny.relative(one, sample(cut, noise(2, 12, 12), 4.0)) < ROUNDING
    each = apply(model, adapter, SEVERAL, Settings(batch=BatchMode.REPEAT_LAST))
    ours = Upscaler().in_batches(each, images, 2)
    for picture in range(2):
        alone = apply(model, adapter, reference(picture), Settings())
        rows = slice(2 * picture, 2 * picture + 2)
        theirs = sample(alone, noise(4, 12, 12), 4.0)
        assert tiny.relative(ours[rows], theirs[rows]) < ROUNDING


def test_a_detailer_cuts_the_mask(adapter: LoadedAdapter) -> None:
    model, image, planes = twin().model, torch.zeros(1, 8 * SIDE, 8 * SIDE, 3), mask()
    masked = apply(model, adapter, FEATURES, Settings(mask=planes))
    (ours,) = do_detail(masked, image, [Segment()])
    cut = apply(model, adapter, FEATURES, Settings(mask=cut_to(Segment.crop_region, planes)))
    assert tiny.relative(ours, sample(cut, noise(1, 16, 16), 4.0)) < ROUNDING
    assert tiny.relative(ours, sample(model, noise(1, 16, 16), 4.0)) > EFFECT


def test_tiles_of_tiles_are_refused_for_masks(adapter: LoadedAdapter) -> None:
    def do_detail(model: Any, image: Tensor, segs: Sequence[Segment]) -> Tensor:
        for seg in segs:
            assert seg
            return TiledSampler().sample_common(model, noise())
        raise AssertionError

    image = torch.zeros(1, 8 * SIDE, 8 * SIDE, 3)
    masked = apply(twin().model, adapter, FEATURES, Settings(mask=mask()))
    with pytest.raises(UnknownPlace, match="Tiled KSampler samples a part of a picture"):
        do_detail(masked, image, [Segment()])


def test_tiles_that_cannot_be_read_are_refused_for_masks_only(adapter: LoadedAdapter) -> None:
    class Other:
        """A later version, which keeps something else there."""

        crop_region = None

    image = torch.zeros(1, 8 * SIDE, 8 * SIDE, 3)
    plain = apply(twin().model, adapter, FEATURES, Settings())
    assert do_detail(plain, image, [Other()])  # type: ignore[list-item]
    masked = apply(twin().model, adapter, FEATURES, Settings(mask=mask()))
    with pytest.raises(UnknownPlace, match="Detailer of Impact Pack samples a part of a picture"):
        do_detail(masked, image, [Other()])  # type: ignore[list-item]


def reference(i: int) -> Any:
    return type(
        SEVERAL
    )(
        SEVERAL.pooled[i : i + 1],  # type: ignore[index]
        SEVERAL.penultimate[i : i + 1],
        SEVERAL.negative_pooled,
        SEVERAL.negative_penultimate,
        SEVERAL.source,
    )


def ksampler(model: Any, latent: dict[str, Any], **options: Any) -> Tensor:
    return nodes.common_ksampler(model, 5, 2, 4.0, "euler", "normal", YES, NO, latent, **options)[
        0
    ]["samples"]


def whole_batch(count: int = 5, side: int = 16) -> dict[str, Any]:
    return {"samples": torch.zeros(count, 4, side, side)}


def part(latent: dict[str, Any], first: int, length: int) -> dict[str, Any]:
    return nodes.LatentFromBatch().frombatch(latent, first, length)[0]


@pytest.mark.parametrize("mode", [BatchMode.REPEAT_LAST, BatchMode.LOOP])
@pytest.mark.parametrize(("first", "length"), [(0, 2), (1, 3), (3, 1), (4, 1)])
def test_a_part_of_a_batch_has_its_references(
    adapter: LoadedAdapter, mode: BatchMode, first: int, length: int
) -> None:
    model = apply(twin().model, adapter, SEVERAL, Settings(batch=mode))
    whole = ksampler(model, whole_batch())[first : first + length]
    ours = ksampler(model, part(whole_batch(), first, length))
    assert tiny.relative(ours, whole) < ROUNDING
    assert tiny.relative(ours, ksampler(twin().model, part(whole_batch(), first, length))) > EFFECT


@pytest.mark.parametrize("places", [[2, 4], [0, 2], [3, 1], [4, 0], [1, 1, 3]], ids=str)
def test_pictures_from_anywhere_in_a_batch_have_their_references(
    adapter: LoadedAdapter, places: list[int]
) -> None:
    """As Latent Batch joins what Latent From Batch has taken."""
    model = apply(twin().model, adapter, SEVERAL, Settings(batch=BatchMode.LOOP))
    latent = whole_batch(len(places)) | {"batch_index": places}
    assert tiny.relative(ksampler(model, latent), ksampler(model, whole_batch())[places]) < ROUNDING
    spread = apply(twin().model, adapter, SEVERAL, Settings(batch=BatchMode.SPREAD))
    with pytest.raises(UnknownPlace, match=f"this run has {len(places)} pictures of a larger"):
        ksampler(spread, latent)


def test_noise_of_two_origins_is_refused_where_pictures_differ(adapter: LoadedAdapter) -> None:
    model = apply(twin().model, adapter, SEVERAL, Settings(batch=BatchMode.LOOP))
    latent = whole_batch(2)
    mixed = comfy.sample.prepare_noise(latent["samples"], 5)
    mixed[1] = noise(1, 16, 16)[0]
    arguments = (2, 4.0, "euler", "normal", YES, NO, latent["samples"])
    with pytest.raises(UnknownPlace, match="1 of the 2 pictures of this run have no noise of its"):
        comfy.sample.sample(model, mixed, *arguments, disable_pbar=True, seed=5)


def test_a_batch_in_parts_of_other_nodes(adapter: LoadedAdapter) -> None:
    """Rebatch Latents, and the sampler that takes its noise from a node."""
    model = apply(twin().model, adapter, SEVERAL, Settings(batch=BatchMode.LOOP))
    whole = ksampler(model, whole_batch())
    (parts,) = LatentRebatch.execute([whole_batch()], [2]).result
    assert [len(one["samples"]) for one in parts] == [2, 2, 1]
    assert tiny.relative(torch.cat([ksampler(model, one) for one in parts]), whole) < ROUNDING

    def custom(model: Any, latent: dict[str, Any]) -> Tensor:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(YES, NO)
        guider.set_cfg(4.0)
        sampler = comfy.samplers.sampler_object("euler")
        return SamplerCustomAdvanced.execute(
            Noise_RandomNoise(5), guider, sampler, sigmas(), latent
        ).result[0]["samples"]

    ours = custom(model, part(whole_batch(), 3, 2))
    assert tiny.relative(ours, custom(model, whole_batch())[3:]) < ROUNDING


def test_a_part_of_a_batch_of_uneven_pictures(adapter: LoadedAdapter) -> None:
    """Noise of a number that torch does not draw in whole chunks."""
    latent = {"samples": torch.zeros(3, 4, 9, 9)}
    model = apply(twin().model, adapter, SEVERAL, Settings(batch=BatchMode.LOOP))
    for i in range(3):
        alone = apply(twin().model, adapter, reference(i), Settings())
        ours = ksampler(model, part(latent, i, 1))
        assert tiny.relative(ours, ksampler(alone, part(latent, i, 1))) < ROUNDING
    whole = ksampler(model, latent)
    for i in range(3):
        alone = apply(twin().model, adapter, reference(i), Settings())
        assert tiny.relative(whole[i], ksampler(alone, latent)[i]) < ROUNDING


def test_a_batch_of_one_noise_begins_where_it_was_cut(adapter: LoadedAdapter) -> None:
    """Latent Batch Seed Behaviour: all pictures have the noise of the first one."""
    model = apply(twin().model, adapter, SEVERAL, Settings(batch=BatchMode.LOOP))
    latent = whole_batch(3) | {"batch_index": [0, 0, 0]}
    ours = ksampler(model, latent)
    for i in range(3):
        alone = apply(twin().model, adapter, reference(i), Settings())
        assert tiny.relative(ours[i], ksampler(alone, latent)[i]) < ROUNDING


def test_other_noise_counts_from_the_first_picture_or_from_the_one_that_is_set(
    adapter: LoadedAdapter,
) -> None:
    latent = part(whole_batch(), 2, 1)
    latent["samples"] = noise(1, 16, 16)
    for first in (0, 2):
        settings = Settings(batch=BatchMode.LOOP, first_picture=first)
        model = apply(twin().model, adapter, SEVERAL, settings)
        alone = apply(twin().model, adapter, reference(first), Settings())
        ours = ksampler(model, latent, disable_noise=True)
        assert tiny.relative(ours, ksampler(alone, latent, disable_noise=True)) < ROUNDING


def test_a_set_first_picture_counts_before_the_noise(adapter: LoadedAdapter) -> None:
    settings = Settings(batch=BatchMode.LOOP, first_picture=1)
    model = apply(twin().model, adapter, SEVERAL, settings)
    alone = apply(twin().model, adapter, reference(1), Settings())
    latent = part(whole_batch(), 2, 1)
    assert tiny.relative(ksampler(model, latent), ksampler(alone, latent)) < ROUNDING


def test_masks_of_a_part_of_a_batch(adapter: LoadedAdapter) -> None:
    planes = mask(4)[:, :128, :128]
    model = apply(twin().model, adapter, FEATURES, Settings(mask=planes))
    ours = ksampler(model, part(whole_batch(), 2, 2))
    assert tiny.relative(ours, ksampler(model, whole_batch())[2:4]) < ROUNDING


@pytest.mark.parametrize(
    "settings",
    [Settings(batch=BatchMode.SPREAD), Settings(weights=Weights(frames=(Ramp(0.0, 1.0),)))],
)
def test_what_needs_the_number_of_all_pictures_is_refused_for_a_part(
    adapter: LoadedAdapter, settings: Settings
) -> None:
    model = apply(twin().model, adapter, SEVERAL, settings)
    assert torch.isfinite(ksampler(model, part(whole_batch(), 0, 2))).all()
    with pytest.raises(UnknownPlace, match="2 pictures of a larger batch, from number 3 on"):
        ksampler(model, part(whole_batch(), 2, 2))


def test_nothing_of_ours_is_among_the_hosts_patches(adapter: LoadedAdapter) -> None:
    """Ultimate SD Upscale stops at every object there that it does not know."""
    masked = apply(twin().model, adapter, FEATURES, Settings(mask=mask()))
    assert not masked.model_options["transformer_options"].get("patches")


@pytest.mark.parametrize("refused", [False, True])
def test_what_was_made_for_a_run_is_dropped_after_it(adapter: LoadedAdapter, refused: bool) -> None:
    masked = apply(twin().model, adapter, FEATURES, Settings(mask=mask()))
    (referred,) = patches.prompts_of(masked).prompts
    assert referred.mask is not None
    grids: list[int] = []

    def change(x: Tensor) -> Tensor:
        grids.append(len(referred.mask._on_grid))  # type: ignore[union-attr]
        return halved(x) if refused and len(grids) > 1 else x

    model = wrapped(masked, change, lambda x: x)
    if refused:
        with pytest.raises(UnknownPlace):
            sample(model, noise())
    else:
        sample(model, noise())
    assert grids[0] == 0 and grids[1] > 0
    assert not referred.mask._on_grid
