"""What stands between the host's loop and a layer: other rows, other slots, copies.

The public reports behind these tests are named in shared cases and in tests/company; here is what
the pack itself promises about them.
"""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import comfy.context_windows
import comfy.model_management
import comfy.sample
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from kit.models import tiny
from kit.models.tiny import Twins
from pack.ip_models.attention.attend import LayerEntry
from pack.ip_models.attention.call import BatchMode, Call
from pack.ip_models.attention.keyvalue import KeyValues
from pack.ip_models.attention.prompt import ImagePrompt, LayerPlace
from pack.ip_models.errors import WrongBatch
from pack.nodes.apply import BindToConditioning
from pack.nodes.host.model import patches
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones import unet, unet_patch
from pack.nodes.host.model.backbones.layers import attention_layers
from pack.nodes.host.model.bind import mark
from torch import Tensor

ROUNDING, EFFECT = 1e-5, 0.01
FEATURES = tiny.random_features(1, seed=31)
FRAMES = 6


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    return tiny.load_tensors(
        tmp_path_factory.mktemp("a"), tiny.adapter_tensors(twin(), "standard", seed=3)
    )


@pytest.fixture(scope="module")
def applied(adapter: LoadedAdapter) -> Any:
    return apply(twin().model, adapter, FEATURES, Settings())


def text(seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, 8, 768, generator=generator), {}]]


def sample(
    model: Any, batch: int = 1, cfg: float = 4.0, positive: Any = None, steps: int = 2
) -> Tensor:
    latent = torch.zeros(batch, 4, 8, 8)
    noise = comfy.sample.prepare_noise(latent, 5)
    return comfy.sample.sample(
        model,
        noise,
        steps,
        cfg,
        "euler",
        "normal",
        positive or text(1),
        text(2),
        latent,
        disable_pbar=True,
        seed=5,
    )


# Rows


def couple(model: Any, regions: int, announce: Callable[[dict[str, Any], list[int]], None]) -> Any:
    """Regions as attention couples make them: more rows for each positive chunk of a layer."""

    def before(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> tuple[Tensor, ...]:
        places = list(extra["cond_or_uncond"])
        extra["before"] = places
        extra["now"] = rows = [p for p in places for _ in range(1 if p == 1 else regions)]
        picked = [places.index(place) for place in rows]
        count = len(q) // len(places)
        announce(extra, rows)
        return tuple(torch.cat([t.split(count)[i] for i in picked]) for t in (q, k, v))

    def after(out: Tensor, extra: dict[str, Any]) -> Tensor:
        places, rows = extra["before"], extra["now"]
        extra["cond_or_uncond"][:] = places
        parts = out.chunk(len(rows))
        merged = {p: [one for one, r in zip(parts, rows, strict=True) if r == p] for p in places}
        return torch.cat([torch.stack(merged[place]).mean(0) for place in places])

    patched = model.clone()
    patched.set_model_attn2_patch(before)
    patched.set_model_attn2_output_patch(after)
    return patched


def listed(name: str) -> Callable[[dict[str, Any], list[int]], None]:
    return lambda extra, rows: extra.__setitem__(name, rows)


def rewritten(extra: dict[str, Any], rows: list[int]) -> None:
    extra["cond_or_uncond"][:] = rows


def untold(extra: dict[str, Any], rows: list[int]) -> None:
    """Nothing says what the rows are."""


ANNOUNCED = {
    "ppm": listed("cond_or_uncond_couple"),
    "prompt-control": listed("cond_or_uncond_hook_couple"),
    "SwarmUI": listed("swarm_cond_or_uncond_couple"),
    "another": listed("rows_of_couple"),
    "krita": rewritten,
}


@pytest.mark.parametrize("regions", [2, 3])
@pytest.mark.parametrize("who", ANNOUNCED)
def test_the_rows_of_regions_are_those_of_their_prompt(
    adapter: LoadedAdapter, who: str, regions: int
) -> None:
    """With the same prompt in every region the picture is that of the reference alone."""
    for batch, settings in (
        (1, Settings()),
        (3, Settings(batch=BatchMode.LOOP, mask=torch.rand(2, 64, 64))),
    ):
        features = tiny.random_features(2, seed=8)
        model = apply(twin().model, adapter, features, settings)
        alone = sample(model, batch)
        together = sample(couple(model, regions, ANNOUNCED[who]), batch)
        assert tiny.relative(together, alone) < ROUNDING
        assert tiny.relative(alone, sample(twin().model, batch)) > EFFECT


def test_rows_that_nothing_tells_of_are_refused_and_nothing_stays(applied: Any) -> None:
    coupled = couple(applied, 3, untold)
    with pytest.raises(WrongBatch, match=r"layer input 1 0 has 4 rows; the call has 2 \(2 cond"):
        sample(coupled)
    assert tiny.relative(sample(couple(applied, 3, listed("a_couple"))), sample(applied)) < ROUNDING
    # One prompt alone: whatever the rows are, all attend to the same.
    alone = sample(applied, cfg=1.0)
    assert tiny.relative(sample(coupled, cfg=1.0), alone) < ROUNDING
    assert tiny.relative(alone, sample(twin().model, cfg=1.0)) > EFFECT


def test_a_list_that_does_not_fit_the_rows_explains_nothing(applied: Any) -> None:
    def wrong(extra: dict[str, Any], rows: list[int]) -> None:
        extra["a_couple"] = [0, *rows]

    with pytest.raises(WrongBatch, match="do not say which are the positive ones"):
        sample(couple(applied, 3, wrong))


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_a_text_of_more_rows_is_refused(applied: Any, cfg: float) -> None:
    """As normalised attention guidance appends the rows of a further prompt."""

    def guided(model: Any) -> Any:
        patched = model.clone()

        def wrapper(call: Any, given: dict[str, Any]) -> Tensor:
            context = given["c"]["c_crossattn"]
            more = torch.cat([context, text(9)[0][0]])
            return call(given["input"], given["timestep"], **given["c"] | {"c_crossattn": more})

        patched.set_model_unet_function_wrapper(wrapper)
        return patched

    with pytest.raises(WrongBatch, match="layer input 1 0 a text of . rows for . rows of the pict"):
        sample(guided(applied), cfg=cfg)


def guided_inside(layer: Any, x: Tensor, context: Tensor, **options: Any) -> Tensor:
    """A forward that knows what the further rows of the text are for, as ComfyUI-NAG's does."""
    q, more = layer.to_q(x), len(context) - len(x)
    k, v = layer.to_k(context), layer.to_v(context)
    out = optimized_attention(q, k[: len(q)], v[: len(q)], layer.heads)
    away = optimized_attention(q[-more:], k[-more:], v[-more:], layer.heads)
    return layer.to_out(torch.cat([out[:-more], 1.5 * out[-more:] - 0.5 * away]))


@pytest.mark.parametrize("whole", [True, False])
def test_a_layer_with_a_forward_of_its_own_keeps_it(
    adapter: LoadedAdapter, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right picture: the same forward, which adds the image attention by itself."""
    network = twin().model.model.diffusion_model
    layers = {name: module for name, module in network.named_modules() if name.endswith(".attn2")}
    kept = network.forward

    def run(model: Any, forward: Callable[..., Tensor]) -> Tensor:
        def exchanged(x: Tensor, t: Tensor, context: Tensor, *rest: Any, **named: Any) -> Tensor:
            text_of_more = torch.cat([context, text(9)[0][0]])
            with monkeypatch.context() as patch:
                for layer in layers.values():
                    patch.setattr(layer, "forward", partial(forward, layer), raising=False)
                return kept(x, t, text_of_more, *rest, **named)

        with monkeypatch.context() as patch:
            if whole:
                patch.setattr(network, "forward", exchanged)
                return sample(model)
            for layer in layers.values():
                patch.setattr(layer, "forward", partial(forward, layer))
            model = model.clone()
            model.set_model_unet_function_wrapper(
                lambda call, given: call(
                    given["input"],
                    given["timestep"],
                    **given["c"]
                    | {"c_crossattn": torch.cat([given["c"]["c_crossattn"], text(9)[0][0]])},
                )
            )
            return sample(model)

    keys = adapter.key_values(FEATURES)
    pairs = keys.pairs(torch.cat([keys.uncond, keys.cond]))  # the negative prompt comes first
    place = {unet._inside(one.slot): i for i, one in enumerate(attention_layers(twin().model))}
    assert place.keys() == layers.keys()

    def with_images(layer: Any, x: Tensor, context: Tensor, **options: Any) -> Tensor:
        name = next(name for name, module in layers.items() if module is layer)
        key, value = pairs[place[name]]
        image = optimized_attention(layer.to_q(x), key, value, layer.heads)
        out = guided_inside(layer, x, context, **options)
        return out + image @ layer.to_out[0].weight.T

    wanted = run(twin().model, with_images)
    plain = run(twin().model, guided_inside)
    got = run(apply(twin().model, adapter, FEATURES, Settings()), guided_inside)
    assert tiny.relative(got, wanted) < ROUNDING
    assert tiny.relative(wanted, plain) > EFFECT
    assert not any(layer._forward_pre_hooks for layer in layers.values())


def test_a_forward_of_some_layers_is_kept_too(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = twin().model.model.diffusion_model
    layers = [one for name, one in network.named_modules() if name.endswith(".attn2")]
    runs: list[int] = []

    def twice(layer: Any, x: Tensor, **options: Any) -> Tensor:
        runs.append(1)
        return 2 * type(layer).forward(layer, x, **options)

    model = apply(twin().model, adapter, FEATURES, Settings())
    usual = sample(model)
    for layer in layers[-3:]:
        monkeypatch.setattr(layer, "forward", partial(twice, layer))
    changed = sample(model)
    assert len(runs) == 2 * 3
    assert tiny.relative(changed, usual) > EFFECT
    assert tiny.relative(changed, sample(twin().model)) > EFFECT
    # By an independent patch that does the same with the slots of these layers.
    monkeypatch.undo()
    doubled = model.clone()
    names = [name for name, _ in network.named_modules() if name.endswith(".attn2")][-3:]
    for layer in attention_layers(twin().model):
        if unet._inside(layer.slot) in names:
            out = network.get_submodule(unet._inside(layer.slot)).to_out[0]
            offset = torch.linalg.lstsq(out.weight, out.bias[:, None]).solution[:, 0]
            below = model.model_options["transformer_options"]["patches_replace"]["attn2"]
            ours = below[tuple(layer.slot)]
            doubled.set_model_attn2_replace(
                lambda q, k, v, extra, ours=ours, offset=offset: 2 * ours(q, k, v, extra) + offset,
                *layer.slot,
            )
    assert tiny.relative(sample(doubled), changed) < ROUNDING


def test_a_forward_that_shows_no_query_is_refused(
    applied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = twin().model.model.diffusion_model

    def own(layer: Any, x: Tensor, context: Tensor, **options: Any) -> Tensor:
        q = torch.nn.functional.linear(x, layer.to_q.weight)
        k, v = layer.to_k(context), layer.to_v(context)
        return layer.to_out(optimized_attention(q, k, v, layer.heads))

    layer = network.get_submodule("middle_block.1.transformer_blocks.0.attn2")
    monkeypatch.setattr(layer, "forward", partial(own, layer))
    with pytest.raises(WrongBatch, match="runs layer middle 0 0 by a forward of its own"):
        sample(applied)
    monkeypatch.undo()
    assert not layer._forward_pre_hooks and not layer.to_out._forward_pre_hooks


def test_a_batch_that_does_not_divide_is_refused(applied: Any) -> None:
    def wrapper(call: Any, given: dict[str, Any]) -> Tensor:
        named = {k: v for k, v in given["c"].items() if k != "c_crossattn"}
        fewer = given["c"]["c_crossattn"][:3]
        return call(given["input"][:3], given["timestep"][:3], c_crossattn=fewer, **named)

    patched = applied.clone()
    patched.set_model_unet_function_wrapper(wrapper)
    with pytest.raises(WrongBatch, match="passes 3 pictures to the model for 2 conditionings; 4"):
        sample(patched, batch=2)


# Slots


def foreign(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
    return 0.9 * optimized_attention(q, k, v, extra["n_heads"])


def taken(model: Any, length: int = 3) -> Any:
    patched = model.clone()
    for layer in attention_layers(twin().model):
        patched.set_model_attn2_replace(foreign, *layer.slot[:length])
    return patched


def dropped(model: Any) -> Any:
    """As packs do that begin with options of their own."""
    patched = model.clone()
    patched.model_options["transformer_options"]["patches_replace"] = {}
    return patched


@pytest.mark.parametrize("length", [2, 3])
def test_a_slot_that_is_taken_later_is_taken_again(
    adapter: LoadedAdapter, applied: Any, length: int
) -> None:
    wanted = sample(apply(taken(twin().model, length), adapter, FEATURES, Settings()))
    assert tiny.relative(sample(taken(applied, length)), wanted) < ROUNDING
    assert tiny.relative(wanted, sample(taken(twin().model, length))) > EFFECT
    assert tiny.relative(wanted, sample(applied)) > EFFECT


def test_slots_that_were_dropped_are_taken_again(applied: Any) -> None:
    assert torch.equal(sample(dropped(applied)), sample(applied))


def test_slots_copied_from_another_model_bring_no_references_along(
    adapter: LoadedAdapter, applied: Any
) -> None:
    copied, plain = twin().model.clone(), twin().model
    options = copied.model_options["transformer_options"]
    options["patches_replace"] = dict(
        applied.model_options["transformer_options"]["patches_replace"]
    )
    assert torch.equal(sample(copied), sample(plain))
    other = apply(copied, adapter, tiny.random_features(1, seed=77), Settings())
    expected = sample(apply(plain, adapter, tiny.random_features(1, seed=77), Settings()))
    assert torch.equal(sample(other), expected)


class Around:
    """A patch that keeps what stood in the slot and calls it, whole or for a share of the rows.

    It hands on options of its own, as deep a copy as can be.
    """

    def __init__(self, below: Any, shares: int) -> None:
        self.below, self.shares = below, shares

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
        parts = zip(*(t.chunk(self.shares) for t in (q, k, v)), strict=True)
        below = self.below or foreign
        return 2 * torch.cat([below(*part, copy.deepcopy(extra)) for part in parts])


def around(model: Any, shares: int) -> Any:
    patched = model.clone()
    slots = patched.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
    for layer in attention_layers(twin().model):
        slot = tuple(layer.slot)
        patched.set_model_attn2_replace(Around(slots.get(slot), shares), *slot)
        slots = patched.model_options["transformer_options"]["patches_replace"]["attn2"]
    return patched


def heard(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often each layer adds the references in one call."""
    times: list[int] = []
    original = unet_patch.add_image_attention

    def counted(text: Tensor, q: Tensor, heads: int, entries: list[LayerEntry], *rest: Any) -> Any:
        times.append(len(entries))
        return original(text, q, heads, entries, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(unet_patch, "add_image_attention", counted)
        sample(model, steps=1)
    return times


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda model: model,
    "wrapped whole": lambda model: around(model, 1),
    "wrapped, called for each half of the rows": lambda model: around(model, 2),
    "wrapped twice": lambda model: around(around(model, 1), 1),
    "taken": taken,
    "taken and wrapped": lambda model: around(taken(model), 1),
    "dropped": dropped,
    "dropped and taken as blocks": lambda model: taken(dropped(model), 2),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_every_layer_hears_every_reference_once(
    applied: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert heard(WRAPPED[how](applied), monkeypatch) == [1] * 16


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_a_patch_that_calls_ours_for_some_rows_leaves_none_out(applied: Any, cfg: float) -> None:
    def half(model: Any) -> Any:
        patched = model.clone()
        options = model.model_options["transformer_options"]
        slots = options.get("patches_replace", {}).get("attn2", {})
        for layer in attention_layers(twin().model):
            below = slots.get(tuple(layer.slot))

            def patch(q: Tensor, k: Tensor, v: Tensor, extra: Any, below: Any = below) -> Tensor:
                out = optimized_attention(q, k, v, extra["n_heads"])
                if below is not None:
                    below(q[:1], k[:1], v[:1], extra)
                return out

            patched.set_model_attn2_replace(patch, *layer.slot)
        return patched

    wanted = sample(applied, batch=2, cfg=cfg)
    assert tiny.relative(sample(half(applied), batch=2, cfg=cfg), wanted) < ROUNDING


def test_a_patch_that_calls_ours_works_on_text_and_references(applied: Any) -> None:
    """As patches do that guide what was there before."""
    doubled = twin().model.clone()
    for layer in attention_layers(twin().model):
        doubled.set_model_attn2_replace(
            lambda q, k, v, extra: 2 * optimized_attention(q, k, v, extra["n_heads"]),
            *layer.slot,
        )
    stack = patches.prompts_of(applied)
    louder = tuple(
        ImagePrompt(
            one.keys,
            {slot: place._replace(factor=2 * place.factor) for slot, place in one.layers.items()},
        )
        for one in stack.prompts
    )
    expected = patches.install(doubled, *louder)
    assert tiny.relative(sample(around(applied, 1)), sample(expected)) < ROUNDING


# Copies


def with_copied_options(model: Any) -> Any:
    copied = model.clone()
    copied.model_options = copy.deepcopy(model.model_options)
    return copied


MASK = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(3))
SETTINGS = {
    "plain": Settings(),
    "mask": Settings(mask=MASK),
    "window": Settings(0.5, 0.2, 0.8),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_copies_of_a_model_sample_the_same_picture(adapter: LoadedAdapter, name: str) -> None:
    model, plain = apply(twin().model, adapter, FEATURES, SETTINGS[name]), twin().model
    picture = sample(model, steps=4)
    assert tiny.relative(picture, sample(plain, steps=4)) > EFFECT
    for same in (with_copied_options(model), model.clone(), with_copied_options(model.clone())):
        assert torch.equal(sample(same, steps=4), picture)
    removed = patches.remove(with_copied_options(model))
    assert torch.equal(sample(removed, steps=4), sample(plain, steps=4))


def test_options_may_be_copied_in_the_middle_of_a_run(applied: Any) -> None:
    """As function wrappers of packs do; neither the run nor what is on the device is copied."""
    copied = applied.clone()

    def wrapper(call: Any, given: dict[str, Any]) -> Tensor:
        options = copy.deepcopy(given["c"]["transformer_options"])
        return call(
            given["input"], given["timestep"], **given["c"] | {"transformer_options": options}
        )

    copied.set_model_unet_function_wrapper(wrapper)
    assert torch.equal(sample(copied), sample(applied))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copied_or_saved_conditioning_keeps_its_references(
    adapter: LoadedAdapter, copied: Callable[[Any], Any]
) -> None:
    model = apply(twin().model, adapter, FEATURES, Settings(binding="a"))
    bound = mark(text(1), "a")
    picture = sample(model, positive=bound)
    assert tiny.relative(picture, sample(model)) > EFFECT
    assert torch.equal(sample(model, positive=copied(bound)), picture)


def test_a_conditioning_says_so_when_its_references_are_not_on_the_model(
    adapter: LoadedAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    model = apply(twin().model, adapter, FEATURES, Settings(binding="a"))
    with caplog.at_level(logging.WARNING, logger="ipadapter"):
        sample(model, positive=mark(text(1), "a"))
        assert not caplog.records
        sample(model, positive=mark(text(1), "b"))
    (said,) = {record.getMessage() for record in caplog.records}
    assert "bound to references that its MODEL does not carry" in said


def test_the_same_node_with_the_same_references_binds_the_same(adapter: LoadedAdapter) -> None:
    """So a conditioning that was saved works in the next session."""

    def bound(node: str, features: Any) -> Any:
        class Hidden:
            prompt, unique_id = None, node

        run = type("Run", (BindToConditioning,), {"hidden": Hidden})
        model, conditioning, _ = run.execute(
            twin().model, adapter, features, text(1), 1.0, 0.0, 1.0
        ).args
        return model, conditioning

    again = tiny.random_features(1, seed=31)
    first, second, other, moved = (
        bound("7", FEATURES),
        bound("7", again),
        bound("7", tiny.random_features(1, seed=32)),
        bound("8", FEATURES),
    )
    picture = sample(first[0], positive=first[1])
    assert torch.equal(sample(second[0], positive=first[1]), picture)
    assert tiny.relative(picture, sample(twin().model)) > EFFECT
    for stranger in (other, moved):
        unheard = sample(stranger[0], positive=first[1])
        assert torch.equal(unheard, sample(twin().model))


# Once


def test_references_that_come_again_are_projected_once(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a service that alternates between saved references loads them anew each time."""
    times: list[int] = []
    original = type(adapter)._project
    monkeypatch.setattr(
        type(adapter), "_project", lambda *args: (times.append(1), original(*args))[1]
    )
    for _ in range(3):
        for seed in (501, 502, 503):
            apply(twin().model, adapter, tiny.random_features(2, seed=seed), Settings())
    assert len(times) == 3


def test_what_all_references_share_is_kept_once(adapter: LoadedAdapter) -> None:
    features = tiny.random_features(8, seed=66)
    for mode in (BatchMode.ALL, BatchMode.LOOP):
        model = apply(twin().model, adapter, features, Settings(batch=mode))
        (prompt,) = patches.prompts_of(model).prompts
        assert isinstance(prompt.keys, KeyValues)
        assert prompt.keys.uncond.numel() * 8 == prompt.keys.cond.numel()


def test_every_reference_of_a_video_is_uploaded_once_in_a_run(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = comfy.context_windows
    handler = windows.IndexListContextHandler(
        context_schedule=windows.get_matching_context_schedule("standard_static"),
        fuse_method=windows.get_matching_fuse_method("flat"),
        context_length=2,
        context_overlap=1,
        dim=0,
    )
    features = tiny.random_features(FRAMES, seed=41)
    model = apply(twin().model, adapter, features, Settings(batch=BatchMode.LOOP)).clone()
    whole = sample(model, FRAMES)
    model.model_options["context_handler"] = handler
    stored: list[int] = []
    original = KeyValues._stored
    monkeypatch.setattr(
        KeyValues, "_stored", lambda self, row: (stored.append(row), original(self, row))[1]
    )
    assert tiny.relative(sample(model, FRAMES, steps=3), sample(model, FRAMES, steps=3)) == 0
    assert sorted(stored) == sorted(2 * [*range(FRAMES), FRAMES])  # two runs; uncond is one row
    monkeypatch.undo()
    assert tiny.relative(sample(model, FRAMES), whole) < ROUNDING


def test_what_may_be_held_is_a_part_of_the_hosts_free_memory(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 8 * 2**30

    def plenty(device: Any = None, torch_free_too: bool = False) -> Any:
        return (free, free) if torch_free_too else free

    monkeypatch.setattr(comfy.model_management, "get_free_memory", plenty)
    one = apply(twin().model, adapter, tiny.random_features(1, seed=91), Settings())
    two = apply(one, adapter, tiny.random_features(1, seed=92), Settings())
    for model, count in ((one, 1), (two, 2)):
        sample(model)
        bounds = {prompt.keys._most_bytes for prompt in patches.prompts_of(model).prompts}
        assert bounds == {free // 4 // count // 2}  # for the rows; as much for what is made of them


def test_apply_clones_the_model_once(
    adapter: LoadedAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clones: list[int] = []
    model = twin().model
    original = type(model).clone
    monkeypatch.setattr(
        type(model),
        "clone",
        lambda *args, **options: (clones.append(1), original(*args, **options))[1],
    )
    apply(model, adapter, FEATURES, Settings())
    assert clones == [1]
    tensors = tiny.adapter_tensors(twin(), "FaceID") | tiny.lora_tensors(twin())
    face = tiny.load_tensors(tmp_path, tensors, "face")
    patched = apply(model, face, tiny.random_faces(1), Settings())
    assert clones == [1, 1] and patched.patches and not model.patches
    # The LoRA is taken off and put on once through copies of the options too.
    copied = with_copied_options(patched)
    assert not patches.remove(copied).patches
    again = apply(copied, face, tiny.random_faces(1), Settings())
    assert {key: len(entries) for key, entries in again.patches.items()} == {
        key: 1 for key in patched.patches
    }


# What other backbones will need


class Changing:
    """Keys and values of a network that is asked at each noise level."""

    references, timed, own_keys = 1, False, ()

    def __init__(self, keys: KeyValues, model: object) -> None:
        self.keys, self.model, self.asked = keys, model, list[float | None]()

    def prepare(self, levels: Sequence[float]) -> None:
        """Nothing: it is asked for each level."""

    def at(self, call: Call) -> KeyValues:
        self.asked.append(call.sigma)
        return self.keys

    def models(self) -> list[object]:
        return [self.model]

    def allow(self, most_bytes: int) -> None:
        self.keys.allow(most_bytes)

    def release(self) -> None:
        self.keys.release()


def test_keys_may_come_from_a_network_that_is_asked_once_in_each_call(
    adapter: LoadedAdapter, applied: Any
) -> None:
    source = Changing(adapter.key_values(FEATURES), adapter.patcher)
    layers = {
        tuple(layer.slot): LayerPlace(i) for i, layer in enumerate(attention_layers(twin().model))
    }
    model = patches.install(twin().model, ImagePrompt(source, layers))
    assert torch.equal(sample(model, steps=3), sample(applied, steps=3))
    assert len(source.asked) == 3
    assert model.get_additional_models() == [adapter.patcher]
    assert patches.remove(model).get_additional_models() == []
