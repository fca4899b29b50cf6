"""What old nodes do otherwise than the original, on purpose: README, "What differs on purpose".

Each test says what ours do, and where the original is, that it does something else.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any

import numpy
import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from kit.models import tiny
from pack.nodes.plus.register import NODES
from plus.comparison import original, rig
from plus.comparison.data import Case, Mask, Picture, Prompt
from plus.comparison.run import call, run, sampled
from torch import Tensor

EFFECT, ROUNDING = 0.01, 1e-6
HEIGHT, WIDTH = 16, 24
STEPS = (0.02, 0.5)


def put_on(classes: Mapping[str, Any], model: Any, seed: int = 1, **more: Any) -> Any:
    values = {"image": rig.picture(Picture(seed=seed)), "clip_vision": rig.encoder("sd1"), **more}
    node = classes["IPAdapterAdvanced"]()
    return node.apply_ipadapter(model=model, ipadapter=rig.adapter("plus", "sd1"), **values)[0]


def output(model: Any) -> Tensor:
    return tiny.run_patched(model, call("sd1", 2, HEIGHT, WIDTH))


def latent(model: Any, guidance: float = 1.0, **of_prompt: Any) -> Tensor:
    positive, negative = (rig.prompt(Prompt(seed), "sd1") for seed in (1, 2))
    positive[0][1].update(of_prompt)
    noise = call("sd1", 2, HEIGHT, WIDTH).x[:1]
    to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    sigmas = torch.tensor([*(float(to_sigma(percent)) for percent in STEPS), 0.0])
    return sampled(model, noise, guidance, sigmas, positive, negative)


def unpatched() -> Any:
    return rig.twin("sd1").model.clone()


def theirs() -> Mapping[str, Any] | None:
    """The original's classes, None where there is no checkout."""
    here = all(os.environ.get(name) for name in ("IPADAPTER_PLUS", "IPADAPTER_PLUS_V1"))
    return original.classes() if here else None


def test_a_second_adapter_on_a_copy_is_not_heard_by_the_first() -> None:
    first = put_on(NODES, unpatched())
    before = output(first)
    second = put_on(NODES, first, seed=2)
    assert torch.equal(output(first), before)
    assert tiny.relative(output(second), before) > EFFECT
    if (classes := theirs()) is not None:
        with original.single_precision():
            first = put_on(classes, unpatched())
            before = output(first)
            put_on(classes, first, seed=2)
            assert tiny.relative(output(first), before) > EFFECT


def test_a_node_that_runs_again_does_not_add_twice() -> None:
    first = put_on(NODES, unpatched())
    once = output(put_on(NODES, first, seed=2))
    assert torch.equal(output(put_on(NODES, first, seed=2)), once)
    if (classes := theirs()) is not None:
        with original.single_precision():
            first = put_on(classes, unpatched())
            once = output(put_on(classes, first, seed=2))
            again = output(put_on(classes, first, seed=2))
            assert tiny.relative(again, once) > EFFECT


def test_a_mask_lies_on_the_whole_picture_though_the_prompt_has_an_area() -> None:
    left = {"area": (HEIGHT, WIDTH // 2, 0, 0), "strength": 1.0}
    nothing = latent(unpatched(), **left)
    half = rig.mask(Mask("half", 1, 8 * HEIGHT, 8 * WIDTH))
    there = latent(put_on(NODES, unpatched(), attn_mask=half), **left)
    beside = latent(put_on(NODES, unpatched(), attn_mask=1 - half), **left)
    assert tiny.relative(there, nothing) > 1000 * ROUNDING
    assert tiny.relative(beside, nothing) < ROUNDING
    if (classes := theirs()) is not None:
        with original.single_precision():
            beside = latent(put_on(classes, unpatched(), attn_mask=1 - half), **left)
        assert tiny.relative(beside, nothing) > 1000 * ROUNDING


def test_start_and_end_follow_a_schedule_that_is_patched_later() -> None:
    def patched(model: Any) -> Any:
        return ModelSamplingDiscrete().patch(model, "x0", True)[0]

    # The first step is in it by the schedule in use, and before it by the usual one.
    window = {"start_at": 0.01, "end_at": 0.4}
    before = latent(put_on(NODES, patched(unpatched()), **window), 4.0)
    assert torch.equal(latent(patched(put_on(NODES, unpatched(), **window)), 4.0), before)
    assert tiny.relative(before, latent(patched(unpatched()), 4.0)) > 1000 * ROUNDING
    if (classes := theirs()) is not None:
        with original.single_precision():
            late = latent(patched(put_on(classes, unpatched(), **window)), 4.0)
        assert tiny.relative(late, before) > 1000 * ROUNDING


def states() -> list[Any]:
    return [torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist()]


def test_random_generators_of_others_are_left_alone() -> None:
    before = states()
    for kind in ("fade", "dissolve", "gaussian", "shuffle"):
        NODES["IPAdapterNoise"]().make_noise(kind, 0.5, 3, rig.picture(Picture()))
    NODES["IPAdapterWeights"]().weights("0, 1", "random", 5)
    NODES["IPAdapterApply"]().apply_ipadapter(
        rig.adapter("plus", "sd1"),
        unpatched(),
        1.0,
        clip_vision=rig.encoder("sd1"),
        image=rig.picture(Picture()),
        noise=0.4,
    )
    assert states() == before
    if (classes := theirs()) is not None:
        classes["IPAdapterNoise"]().make_noise("fade", 0.5, 3, rig.picture(Picture()))
        assert states() != before


class Foreign:
    """A patch of another pack, which has no way to add to it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, options: Mapping[str, Any]) -> Tensor:
        self.calls += 1
        heads = options["n_heads"]
        q, k, v = (
            one.reshape(len(one), -1, heads, one.shape[-1] // heads).transpose(1, 2)
            for one in (q, k, v)
        )
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return 0.5 * out.transpose(1, 2).flatten(2)


def test_a_patch_of_another_pack_in_the_way_is_kept() -> None:
    foreign = Foreign()
    model = unpatched()
    model.set_model_attn2_replace(foreign, "input", 1)
    alone = output(model)
    assert foreign.calls == 1
    both = output(put_on(NODES, model))
    assert foreign.calls == 2 and tiny.relative(both, alone) > EFFECT
    assert tiny.relative(both, output(put_on(NODES, unpatched()))) > 1000 * ROUNDING
    if (classes := theirs()) is not None:
        with original.single_precision(), pytest.raises(AttributeError):
            put_on(classes, model)


def test_faceid_plus_for_sdxl_is_version_2_whatever_its_name() -> None:
    def picture(kind: str, classes: Mapping[str, Any]) -> Tensor:
        return run(Case("IPAdapterFaceID", {}, kind, "sdxl"), classes).output

    said = picture("FaceID plus v2", NODES)
    assert tiny.relative(picture("FaceID plus", NODES), said) < ROUNDING
    if (classes := theirs()) is not None:
        with original.single_precision():
            assert tiny.relative(picture("FaceID plus", classes), said) > EFFECT
            assert tiny.relative(picture("FaceID plus v2", classes), said) < 5 * ROUNDING


def test_a_list_of_one_frame_is_that_weight() -> None:
    assert NODES["IPAdapterWeights"]().weights("0.3, 0.9", "linear", 2, 0, 1)[0][0] == 0.3
