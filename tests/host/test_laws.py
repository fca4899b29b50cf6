"""What must hold whatever the numbers are, through ComfyUI's own sampler."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import pytest
import torch
from kit.models import tiny, transformer_cases, transformers
from kit.models.tiny import Twins
from kit.models.transformer_cases import Given, Layout
from kit.models.transformers import Pair
from kit.unet import parse_blocks
from pack.ip_models.attention.keyvalue import COND, UNCOND
from pack.ip_models.attention.stack import ActivePrompts
from pack.ip_models.attention.timed_keys import TimedKeys
from pack.ip_models.references.combine import Combine, combine
from pack.ip_models.references.features import ImageFeatures
from pack.ip_models.weights.gains import Weights
from pack.ip_models.weights.schedule import Ramp
from pack.nodes.host.model import patches, wrappers
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones import unet_patch
from pack.nodes.host.model.backbones.layers import attention_layers
from pack.nodes.host.model.call import calls
from torch import Tensor

ROUNDING, EFFECT = 1e-5, 0.01


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    tensors = tiny.adapter_tensors(twin(), "plus", seed=1)
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tensors)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    tensors = tiny.adapter_tensors(twin(), "standard", seed=2)
    return tiny.load_tensors(tmp_path_factory.mktemp("b"), tensors)


def sample(model: Any, cfg: float = 5.0, count: int = 3, batch: int = 1, rows: int = 16) -> Tensor:
    """A few steps of the real KSampler with fixed noise and prompts."""
    generator = torch.Generator().manual_seed(4)
    prompts = [torch.randn(1, 8, 768, generator=generator) for _ in range(2)]
    positive, negative = ([[prompt, {}]] for prompt in prompts)
    noise = torch.randn(1, 4, rows, 24, generator=generator).repeat(batch, 1, 1, 1)
    noise = noise * torch.linspace(1, 0.9, batch).view(-1, 1, 1, 1)
    return comfy.sample.sample(
        model,
        noise,
        count,
        cfg,
        "euler",
        "normal",
        positive,
        negative,
        torch.zeros_like(noise),
        disable_pbar=True,
        seed=1,
    )


def blocks(text: str) -> Weights:
    """What the Block Weights node makes of a text."""
    return Weights(blocks=(parse_blocks(text),))


FEATURES = tiny.random_features(1)
MORE = tiny.random_features(2, seed=9)


@cache
def plain() -> Tensor:
    return sample(twin().model)


@dataclass(frozen=True)
class Bed:
    """A model of one kind with two adapters, and how it is run.

    Attributes:
        features, more: one reference and two, as the first adapter reads them.
        others: two references, as the other one reads them.
        run: a few steps of the real sampler.
    """

    model: Any
    adapter: LoadedAdapter
    other: LoadedAdapter
    features: ImageFeatures
    more: ImageFeatures
    others: ImageFeatures
    run: Callable[..., Tensor]

    def on(self, settings: Settings | None = None, model: Any = None) -> Any:
        """The MODEL, or another one, with the first adapter and one reference."""
        return apply(model or self.model, self.adapter, self.features, settings or Settings())

    def with_other(self, settings: Settings, model: Any) -> Any:
        """A MODEL with the other adapter."""
        return apply(model, self.other, self.others, settings)

    @cached_property
    def plain(self) -> Tensor:
        """The picture without any adapter."""
        return self.run(self.model)


_TRANSFORMERS: dict[str, tuple[Callable[[], Pair], Layout, Layout]] = {
    "Flux, XLabs": (transformers.tiny_flux, transformer_cases.XLABS, transformer_cases.INSTANTX),
    "Flux, InstantX": (transformers.tiny_flux, transformer_cases.INSTANTX, transformer_cases.XLABS),
    "Chroma": (transformers.tiny_chroma, transformer_cases.XLABS, transformer_cases.XLABS),
    "SD3.5": (transformers.tiny_sd3, transformer_cases.SD3, transformer_cases.SD3),
}


@pytest.fixture(scope="module", params=["SD1.5", *_TRANSFORMERS])
def bed(request: pytest.FixtureRequest) -> Bed:
    if request.param == "SD1.5":
        one, two = (request.getfixturevalue(name) for name in ("adapter", "other"))
        return Bed(twin().model, one, two, FEATURES, MORE, MORE, sample)
    make, first, second = _TRANSFORMERS[request.param]
    pair = make()

    def run(model: Any, cfg: float = 3.0, count: int = 3, batch: int = 1) -> Tensor:
        call = transformers.make_call()
        louder = torch.linspace(1, 0.9, batch).repeat(2).view(-1, 1, 1, 1)
        x, context, pooled = (
            rows.repeat_interleave(batch, 0) for rows in (call.x, call.context, call.pooled)
        )
        call = transformers.Call(x * louder, call.sigma, context, pooled)
        return transformers.sample_host(pair, model, call, cfg, count)

    loaded = (
        transformer_cases.loaded(pair, layout, seed) for layout, seed in ((first, 1), (second, 2))
    )
    features = (
        transformer_cases.features(layout, Given(references=count, seed=seed))
        for layout, count, seed in ((first, 1, 3), (first, 2, 4), (second, 2, 5))
    )
    return Bed(pair.model, *loaded, *features, run)


def test_the_adapter_changes_the_picture(bed: Bed) -> None:
    assert tiny.relative(bed.run(bed.on(Settings())), bed.plain) > EFFECT


@pytest.mark.parametrize(
    "off",
    [
        Settings(scale=0.0),
        Settings(start_percent=0.0, end_percent=0.0),
        Settings(mask=torch.zeros(1, 32, 48)),
        Settings(weights=blocks("0: 0")),
    ],
    ids=["scale 0", "closed window", "black mask", "no block"],
)
def test_what_is_off_is_bit_for_bit_the_plain_model(bed: Bed, off: Settings) -> None:
    # A window from 0 to 0 is closed, also where its noise level is that of the first step.
    assert torch.equal(bed.run(bed.on(off)), bed.plain)


def test_two_halves_are_one_whole(bed: Bed) -> None:
    half = Settings(scale=0.5)
    halves = bed.on(half, bed.on(half))
    assert tiny.relative(bed.run(halves), bed.run(bed.on())) < ROUNDING


def test_the_same_reference_twice_is_one_reference(bed: Bed) -> None:
    twice = combine([bed.features, bed.features], [1.0, 1.0], Combine.CONCAT)
    assert isinstance(twice, ImageFeatures) and twice.count == 2
    both = apply(bed.model, bed.adapter, twice, Settings())
    if bed.adapter.spec.timed:  # image keys of SD3.5 share the attention with the tokens
        assert tiny.relative(bed.run(both), bed.plain) > EFFECT
    else:
        assert tiny.relative(bed.run(both), bed.run(bed.on())) < ROUNDING


def test_the_order_of_adapters_does_not_matter(bed: Bed) -> None:
    quiet = Settings(scale=0.6)
    ab = bed.run(bed.with_other(quiet, bed.on()))
    ba = bed.run(bed.on(model=bed.with_other(quiet, bed.model)))
    assert tiny.relative(ab, ba) < ROUNDING
    assert tiny.relative(ab, bed.run(bed.on())) > EFFECT


def test_mask_and_complement_are_the_whole(bed: Bed) -> None:
    mask = torch.rand(1, 40, 50)
    model = bed.on(Settings(mask=mask))
    assert tiny.relative(bed.run(model), bed.plain) > EFFECT
    both = bed.on(Settings(mask=1 - mask), model)
    assert tiny.relative(bed.run(both), bed.run(bed.on())) < ROUNDING


def test_a_mask_of_rank_two_and_of_rank_three_are_the_same(bed: Bed) -> None:
    mask = torch.rand(16, 24)
    flat, batched = (bed.on(Settings(mask=one)) for one in (mask, mask[None]))
    assert torch.equal(bed.run(flat), bed.run(batched))


def test_a_batch_is_its_pictures_one_by_one(bed: Bed) -> None:
    model = apply(bed.model, bed.adapter, bed.more, Settings())
    batch = bed.run(model, batch=3)
    assert tiny.relative(batch[:1], bed.run(model)) < ROUNDING
    assert tiny.relative(batch[2:], batch[:1]) > 1e-3


def test_siblings_and_repeats_never_touch_each_other(bed: Bed) -> None:
    first = bed.on()
    picture = bed.run(first)
    left = bed.run(bed.with_other(Settings(), first))
    for _ in range(10):
        right = bed.with_other(Settings(scale=0.3), first)
    assert torch.equal(bed.run(first), picture)
    assert torch.equal(bed.run(bed.with_other(Settings(), first)), left)
    assert tiny.relative(bed.run(right), left) > EFFECT
    assert torch.equal(bed.run(bed.model), bed.plain)
    assert len(patches.prompts_of(right).prompts) == 2


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_every_layer_fires_once_in_each_model_call(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = twin() if family == "sd1" else tiny.twins("sdxl")
    adapter = tiny.load_tensors(tmp_path, tiny.adapter_tensors(pair, "standard"))
    fired: Counter[Any] = Counter()
    original = unet_patch.add_image_attention

    def counted(text: Tensor, q: Tensor, heads: int, entries: Any, *rest: Any) -> Tensor:
        (slot,) = (slot for table in tables for slot, one in table.items() if one is entries)
        fired[slot] += 1
        return original(text, q, heads, entries, *rest)

    tables: list[Any] = []
    resolved = ActivePrompts.table

    def kept(active: ActivePrompts, *where: Any) -> Any:
        table = resolved(active, *where)
        if not any(one is table for one in tables):
            tables.append(table)
        return table

    monkeypatch.setattr(ActivePrompts, "table", kept)

    monkeypatch.setattr(unet_patch, "add_image_attention", counted)
    call = tiny.make_call(pair)
    tiny.run_comfy(apply(pair.model, adapter, FEATURES, Settings()), call)
    addresses = {layer.slot for layer in attention_layers(pair.model)}
    assert set(fired) == addresses
    assert set(fired.values()) == {1}
    assert len(tables) == 1
    assert len(addresses) == (16 if family == "sd1" else 70)


def test_without_guidance_only_the_positive_rows_run(bed: Bed) -> None:
    picture = bed.run(bed.on(), cfg=1.0)
    assert tiny.relative(picture, bed.run(bed.model, cfg=1.0)) > EFFECT


def test_a_pass_of_uncond_alone_gets_the_tokens_of_uncond(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[tuple[int, ...]] = []
    original = calls.active_prompts

    def watched(*args: Any) -> Any:
        active = original(*args)
        sources = [row.source for row in active.prompts[0].rows]
        rows.append(tuple(sources))
        return active

    def negative_again(args: dict[str, Any]) -> Tensor:
        # As self-attention guidance does: a pass of its own for the negative prompt.
        again = comfy.samplers.calc_cond_batch(
            args["model"], [args["uncond"]], args["input"], args["sigma"], args["model_options"]
        )[0]
        assert tiny.relative(again, args["uncond_denoised"]) < ROUNDING
        return args["denoised"]

    monkeypatch.setattr(wrappers, "active_prompts", watched)
    model = apply(twin().model, adapter, FEATURES, Settings())
    model.set_model_sampler_post_cfg_function(negative_again)
    sample(model, count=2)
    assert rows == [(UNCOND, COND), (UNCOND,)] * 2


def test_rows_computed_one_after_the_other_give_the_same_picture(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = apply(bed.model, bed.adapter, bed.more, Settings())
    together = bed.run(model, batch=2)

    def little(device: Any = None, torch_free_too: bool = False) -> Any:
        return (1, 1) if torch_free_too else 1  # the host then runs cond and uncond apart

    monkeypatch.setattr(comfy.model_management, "get_free_memory", little)
    assert tiny.relative(bed.run(model, batch=2), together) < ROUNDING


def test_a_window_is_active_exactly_in_its_steps(adapter: LoadedAdapter) -> None:
    whole = sample(apply(twin().model, adapter, FEATURES, Settings()), count=6)
    model = apply(twin().model, adapter, FEATURES, Settings(start_percent=0.3, end_percent=0.7))
    seen: list[bool] = []
    original = calls.active_prompts

    def watched(*args: Any) -> Any:
        active = original(*args)
        seen.append(bool(active.prompts))
        return active

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wrappers, "active_prompts", watched)
        part = sample(model, count=6)
    sampling = twin().model.get_model_object("model_sampling")
    start, end = (float(sampling.percent_to_sigma(percent)) for percent in (0.3, 0.7))
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", 6)[:-1]
    assert seen == [end <= float(sigma) <= start for sigma in sigmas]
    assert set(seen) == {True, False}
    assert tiny.relative(part, whole) > 1e-3


def test_a_step_at_either_end_of_a_window_lies_in_it(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the host's own numbers, for a part of the run that begins and ends on a step."""
    seen: list[bool] = []
    original = calls.active_prompts

    def watched(*args: Any) -> Any:
        active = original(*args)
        seen.append(bool(active.prompts))
        return active

    monkeypatch.setattr(wrappers, "active_prompts", watched)
    sampling = twin().model.get_model_object("model_sampling")
    levels = comfy.samplers.calculate_sigmas(sampling, "normal", 5).tolist()
    assert [levels[1], levels[3]] == [
        sampling.percent_to_sigma(percent) for percent in (0.25, 0.75)
    ]
    settings = Settings(start_percent=0.25, end_percent=0.75)
    sample(apply(twin().model, adapter, FEATURES, settings), count=5)
    assert seen == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("levels", "sigma", "factor"),
    [
        ((4.0, 2.0, 1.0, 0.0), 2.0, 0.5),
        ((4.0, 2.0, 1.0, 0.0), 2.0 * (1 - 5e-5), 0.5),
        ((4.0, 2.0, 1.0, 0.0), 2.0 * (1 + 5e-5), 0.5),
        ((4.0, 2.0, 1.0, 0.0), 2.01, 1.0),
        ((4.0, 2.0, 1.0, 0.0), 1.99, 0.5),
        ((4.0, 2.0, 1.0, 0.0), 0.1, 0.25),
        ((0.5, 1.0, 2.0, 4.0), 1.0 * (1 - 5e-5), 0.5),
        ((0.5, 1.0, 2.0, 4.0), 1.99, 0.5),
        ((0.5, 1.0, 2.0, 4.0), 3.0, 0.25),
    ],
)
def test_a_noise_level_belongs_to_its_step_even_if_it_was_rounded(
    adapter: LoadedAdapter, levels: tuple[float, ...], sigma: float, factor: float
) -> None:
    schedule = Weights(steps=(Ramp(values=(1.0, 0.5, 0.25)),))
    stack = patches.prompts_of(apply(twin().model, adapter, FEATURES, Settings(weights=schedule)))
    options = {"cond_or_uncond": [0], "sample_sigmas": torch.tensor(levels)}
    active = calls.active_prompts(stack, options, torch.tensor([sigma]), 1)
    assert [row.weight for row in active.prompts[0].rows] == [factor]


@pytest.mark.parametrize("uuids", [None, [], [1], [1, 2, 3]])
def test_where_the_host_names_other_conditionings_their_place_decides(
    adapter: LoadedAdapter, uuids: list[int] | None
) -> None:
    """Packs rewrite `cond_or_uncond` and leave the uuids as they were."""
    stack = patches.prompts_of(apply(twin().model, adapter, FEATURES, Settings()))
    options = {"cond_or_uncond": [1, 0], "uuids": uuids}
    active = calls.active_prompts(stack, options, None, 2)
    assert [row.source for row in active.prompts[0].rows] == [UNCOND, COND]


def test_a_call_with_the_models_own_options_leaves_nothing_in_them(adapter: LoadedAdapter) -> None:
    """A pack may call the model itself and pass these options, where the host passes a copy."""
    call = tiny.make_call(twin())

    def run(model: Any, sigma: float) -> Tensor:
        options = model.model_options["transformer_options"]
        t = torch.full((len(call.x),), sigma)
        inputs = {"c_crossattn": call.context, "transformer_options": options}
        return model.model.apply_model(call.x, t, **inputs)

    model = apply(twin().model, adapter, FEATURES, Settings(start_percent=0.5))
    options = model.model_options["transformer_options"]
    before = dict(options)
    assert torch.equal(run(model, 14.0), run(twin().model, 14.0))
    assert tiny.relative(run(model, 0.5), run(twin().model, 0.5)) > EFFECT
    assert options == before


def test_describing_a_call_writes_nothing_into_the_models_own_options(
    adapter: LoadedAdapter,
) -> None:
    model = apply(twin().model, adapter, FEATURES, Settings())
    options = model.model_options["transformer_options"]
    before, passed_on = dict(options), []

    def next_wrapper(*args: Any) -> list[Tensor]:
        passed_on.append(args[-1]["transformer_options"])
        return []

    latent, t = torch.zeros(1, 4, 8, 8), torch.ones(1)
    wrappers.describe(next_wrapper, None, [[{}], None], latent, t, model.model_options)
    assert options == before
    assert set(passed_on[0]) > set(before) and passed_on[0][calls.KEY] is before[calls.KEY]


def test_half_precision_in_is_half_precision_out(adapter: LoadedAdapter) -> None:
    model = apply(twin().model, adapter, FEATURES, Settings())
    slot = model.model_options["transformer_options"]["patches_replace"]["attn2"][("middle", 0, 0)]
    width = next(layer.width for layer in attention_layers(model) if layer.stage == "middle")
    # What another pack adds may be of another type.
    slot.add(lambda out, q, k, v, extra: torch.ones(out.shape))
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        q, k = torch.randn(2, 6, width).to(dtype), torch.randn(2, 8, width).to(dtype)
        extra = {
            "n_heads": 4,
            "cond_or_uncond": [1, 0],
            "activations_shape": [2, width, 2, 3],
            calls.KEY: patches.prompts_of(model),
        }
        out = slot(q, k, k, extra)
        assert out.dtype is dtype
        assert out.shape == q.shape


def test_keys_are_projected_once_for_the_same_references(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = tiny.random_features(1, seed=77)
    first = sample(apply(twin().model, adapter, features, Settings()))
    monkeypatch.setattr(
        adapter.patcher.model, "key_values", lambda *_: pytest.fail("projected again")
    )
    assert torch.equal(sample(apply(twin().model, adapter, features, Settings())), first)


def test_run_time_copies_are_gone_after_the_run(bed: Bed) -> None:
    model = bed.on(Settings(mask=torch.ones(1, 8, 8)))
    bed.run(model)
    for prompt in patches.prompts_of(model).prompts:
        if isinstance(prompt.keys, TimedKeys):
            assert not prompt.keys._levels
        else:
            assert not len(prompt.keys._moved) and not prompt.keys._uploaded
        assert prompt.mask is not None and not len(prompt.mask._moved)


def test_an_interrupted_run_leaves_nothing_behind(bed: Bed) -> None:
    model = bed.on()
    before = bed.run(model)
    interrupting = model.clone()

    def stop(args: dict[str, Any]) -> Tensor:
        raise comfy.model_management.InterruptProcessingException

    interrupting.set_model_sampler_post_cfg_function(stop)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        bed.run(interrupting)
    assert torch.equal(bed.run(bed.model), bed.plain)
    assert torch.equal(bed.run(model), before)


def test_a_copy_of_the_options_gives_the_same_picture(bed: Bed) -> None:
    """Packs deep-copy the options of a MODEL."""
    model = bed.on()
    copied = model.clone()
    copied.model_options = copy.deepcopy(model.model_options)
    assert torch.equal(bed.run(copied), bed.run(model))


class Foreign:
    """A patch of another pack, of the kind that has a side model and a state to clean."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
        self.calls.append("attend")
        return torch.zeros_like(q)

    def models(self) -> list[Any]:
        self.calls.append("models")
        return []

    def to(self, where: Any) -> Foreign:
        self.calls.append("to")
        return self

    def cleanup(self) -> None:
        self.calls.append("cleanup")


@pytest.mark.parametrize("slot", [("input", 4), ("input", 4, 0), ("middle", 0)])
def test_a_foreign_patch_keeps_its_slot(adapter: LoadedAdapter, slot: tuple[Any, ...]) -> None:
    foreign = Foreign()
    base = twin().model.clone()
    base.set_model_attn2_replace(foreign, *slot)
    alone = sample(base)
    foreign.calls.clear()
    patched = apply(base, adapter, FEATURES, Settings())
    assert tiny.relative(sample(patched), alone) > EFFECT
    assert set(foreign.calls) == {"attend", "models", "to", "cleanup"}
    assert foreign.calls.count("attend") == 3
    number = {("input", 4): 2, ("middle", 0): 6}[slot[:2]]
    there = apply(base, adapter, FEATURES, Settings(weights=blocks(f"{number}: 1")))
    assert tiny.relative(sample(there), alone) > 1e-4
    removed = patches.remove(patched)
    assert torch.equal(sample(removed), alone)
    left, own = (
        one.model_options["transformer_options"]["patches_replace"]["attn2"]
        for one in (removed, base)
    )
    assert left == own


class Moved(Foreign):
    """A patch that is another one wherever it is moved to, as those are that hold tensors."""

    def __init__(self, places: tuple[Any, ...] = ()) -> None:
        super().__init__()
        self.places = places

    def to(self, where: Any) -> Moved:
        return Moved((*self.places, where))


def test_a_foreign_patch_below_ours_is_moved(adapter: LoadedAdapter) -> None:
    base, slot = twin().model.clone(), ("input", 4, 0)
    base.set_model_attn2_replace(Moved(), *slot)
    model = apply(base, adapter, FEATURES, Settings())
    model.model_patches_to("cpu")
    model.model_patches_to(torch.float16)
    ours, theirs = (
        one.model_options["transformer_options"]["patches_replace"]["attn2"][slot]
        for one in (model, base)
    )
    assert ours.below.places == ("cpu", torch.float16)
    assert theirs.places == ()
    assert ours.slot == slot and ours.to("cpu") is not ours
    bare = apply(twin().model, adapter, FEATURES, Settings())
    alone = bare.model_options["transformer_options"]["patches_replace"]["attn2"][slot]
    assert alone.to("cpu") is alone


@pytest.mark.parametrize("slot", [("input", 4), ("middle", 0)])
def test_a_foreign_patch_for_a_whole_block_counts_after_ours_too(
    adapter: LoadedAdapter, slot: tuple[Any, ...]
) -> None:
    """The host looks for a patch of the layer first, which is ours."""
    before, after = Foreign(), Foreign()
    base = twin().model.clone()
    base.set_model_attn2_replace(before, *slot)
    first = sample(apply(base, adapter, FEATURES, Settings()))
    ours = apply(twin().model, adapter, FEATURES, Settings())
    alone = sample(ours)
    both = ours.clone()
    both.set_model_attn2_replace(after, *slot)
    assert torch.equal(sample(both), first)
    assert tiny.relative(first, alone) > 1e-4
    assert after.calls.count("attend") == 3
    assert torch.equal(sample(ours), alone)


def test_a_patch_that_wraps_ours_for_a_whole_block_ends(adapter: LoadedAdapter) -> None:
    ours = apply(twin().model, adapter, FEATURES, Settings())
    slots = ours.model_options["transformer_options"]["patches_replace"]["attn2"]
    inner, wrapped = slots[("middle", 0, 0)], ours.clone()
    wrapped.set_model_attn2_replace(lambda q, k, v, extra: inner(q, k, v, extra), "middle", 0)
    assert tiny.relative(sample(wrapped), sample(ours)) < ROUNDING


def scaled_text(out: Tensor, q: Tensor, k: Tensor, v: Tensor, extra: Any, **options: Any) -> Tensor:
    """A callback as other packs give it to the patch that owns a slot."""
    return out * options["weight"]


@pytest.mark.parametrize(
    ("options", "active"),
    [
        ({}, [True, True, True]),
        ({"sigma_start": 5.0}, [False, True, True]),
        ({"sigma_start": 5.0, "sigma_end": 2.0}, [False, True, False]),
    ],
)
def test_what_packs_add_runs_in_its_noise_levels(
    adapter: LoadedAdapter, options: dict[str, float], active: list[bool]
) -> None:
    model = apply(twin().model, adapter, FEATURES, Settings())
    slot = model.model_options["transformer_options"]["patches_replace"]["attn2"][("middle", 0, 0)]
    calls: list[float] = []

    def callback(out: Tensor, q: Tensor, k: Tensor, v: Tensor, extra: Any, **given: Any) -> Tensor:
        assert given == options
        calls.append(float(extra["sigmas"]))
        return torch.zeros_like(out)

    slot.add(callback, **options)
    q = torch.zeros(1, 6, 1280)
    for sigma in (6.0, 3.0, 1.0):
        slot(q, q, q, {"n_heads": 4, "sigmas": torch.tensor([sigma])})
    assert [sigma in calls for sigma in (6.0, 3.0, 1.0)] == active


def test_packs_can_add_to_a_patch_and_only_in_their_model(
    adapter: LoadedAdapter, other: LoadedAdapter
) -> None:
    model = apply(twin().model, adapter, FEATURES, Settings())
    alone = sample(model)

    def visited(model: Any, **options: Any) -> Any:
        copy = model.clone()
        slots = copy.model_options["transformer_options"]["patches_replace"]["attn2"]
        for patch in slots.values():
            patch.add(scaled_text, sigma_start=999.0, sigma_end=0.0, **options)
        return copy

    visitor = visited(model, weight=0.5)
    picture = sample(visitor)
    assert tiny.relative(picture, alone) > EFFECT
    assert torch.equal(sample(model), alone)
    again = visited(visitor, weight=0.5)
    assert tiny.relative(sample(again), picture) > EFFECT
    assert torch.equal(sample(visitor), picture)
    late = visited(model, weight=0.5)
    for patch in late.model_options["transformer_options"]["patches_replace"]["attn2"].values():
        patch.callbacks[0][1]["sigma_start"] = 0.0
    assert torch.equal(sample(late), alone)
    over = apply(visitor, other, MORE, Settings())
    assert tiny.relative(sample(over), picture) > EFFECT
    # Removing our references leaves the callbacks, which are not ours.
    bare = patches.remove(visitor)
    assert tiny.relative(sample(bare), plain()) > EFFECT
    assert tiny.relative(sample(bare), picture) > EFFECT
    assert torch.equal(sample(visited(bare, weight=0.0)), sample(bare))


def test_removing_leaves_the_plain_model(bed: Bed) -> None:
    both = bed.with_other(Settings(), bed.on())
    picture = bed.run(both)
    removed = patches.remove(both)
    assert torch.equal(bed.run(removed), bed.plain)
    options = removed.model_options["transformer_options"]
    assert not any(options.get("patches_replace", {}).values())
    assert torch.equal(bed.run(both), picture)
    assert torch.equal(bed.run(patches.remove(bed.model)), bed.plain)


def test_a_patch_wrapped_by_another_pack_adds_nothing_once_removed(adapter: LoadedAdapter) -> None:
    patched = apply(twin().model, adapter, FEATURES, Settings())
    slots = patched.model_options["transformer_options"]["patches_replace"]["attn2"]
    wrapped = patched.clone()
    for key, inner in list(slots.items()):
        wrapped.set_model_attn2_replace(
            lambda q, k, v, extra, inner=inner: inner(q, k, v, extra), *key
        )
    assert torch.equal(sample(wrapped), sample(patched))
    assert torch.equal(sample(patches.remove(wrapped)), plain())


def test_a_reference_applied_over_another_packs_wrapper_counts_once(
    adapter: LoadedAdapter, other: LoadedAdapter
) -> None:
    patched = apply(twin().model, adapter, FEATURES, Settings())
    wrapped = patched.clone()
    slots = patched.model_options["transformer_options"]["patches_replace"]["attn2"]
    for key, inner in list(slots.items()):
        wrapped.set_model_attn2_replace(
            lambda q, k, v, extra, inner=inner: inner(q, k, v, extra), *key
        )
    over = apply(wrapped, other, MORE, Settings())
    direct = apply(patched, other, MORE, Settings())
    assert tiny.relative(sample(over), sample(direct)) < ROUNDING
    assert torch.equal(sample(patches.remove(over)), plain())


def test_the_text_keeps_its_own_attention(adapter: LoadedAdapter) -> None:
    seen: list[Any] = []

    def override(function: Any, *args: Any, **kwargs: Any) -> Tensor:
        if kwargs["transformer_options"].get("block") == ("middle", 0):
            seen.append("attn_precision" in kwargs)
        return function(*args, **kwargs)

    model = apply(twin().model, adapter, FEATURES, Settings())
    options = model.model_options["transformer_options"]
    options["optimized_attention_override"] = override
    sample(model, count=1)
    assert seen == [True, True]  # self-attention and text; the image is ours


def test_nothing_is_held_for_sampling_but_the_model_itself(bed: Bed) -> None:
    model = bed.on()
    before = bed.run(model)
    comfy.model_management.unload_all_models()
    assert model.model_patches_models() == []
    if bed.adapter.spec.timed:  # its weights make the keys of the next run
        assert bed.adapter.patcher not in [
            one.model for one in comfy.model_management.current_loaded_models
        ]
        assert torch.equal(bed.run(model), before)
        return
    weights = bed.adapter.patcher.model.state_dict()
    saved = {key: value.clone() for key, value in weights.items()}
    try:
        for value in weights.values():
            value.fill_(float("nan"))
        assert torch.equal(bed.run(model), before)
    finally:
        for key, value in weights.items():
            value.copy_(saved[key])
